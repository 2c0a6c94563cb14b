package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// mostFaults is how many faults of the file's structure a check tells of.
const mostFaults = 1000

// Check implements storage.Checker. On one snapshot it has SQLite examine the whole file, with the
// order of its tables and what its indexes say of them (integrity_check), and then reads each
// object.
//
// A damaged page takes the objects on it along: each is reported with its key, as long as the index
// of the paths can be read. Reads and writes go on meanwhile; the write-ahead log grows by what is
// written.
func (l *Layer) Check(ctx context.Context, report func(error)) (objects int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	// There is one at a time. It waits before it holds anything.
	var db *database
	if err := l.life.Use(func(d *database) error { db = d; return nil }); err != nil {
		return 0, err
	}
	release, err := db.readers.await(ctx, db.readers.checks)
	if err != nil {
		return 0, err
	}
	c := &check{}
	held, err := l.life.Hold(func(d *database) (_ io.Closer, err error) {
		if d != db {
			release()
			return nil, storage.ErrNotActive
		}
		c.scan, err = d.openScan("", release)
		return c.scan, l.life.Wrap("begin a check", err)
	})
	if err != nil {
		return 0, err
	}
	defer held.End()
	next := c.structure
	return enginekit.Check(ctx, report, func() (whole int, found []error, more bool, err error) {
		c.objects, c.found = 0, c.found[:0]
		err = held.Use(func() error {
			ended, err := db.interruptible(ctx, c.conn, func() (err error) {
				defer c.conn.guard(&err)
				more, err = next()
				return err
			})
			if ended {
				more = false
				return err
			}
			return l.life.Wrap("check", err)
		})
		next = c.read
		return c.objects, c.found, more, err
	})
}

// check is a check in progress: a scan that goes by the paths.
type check struct {
	*scan
	objects int     // whole ones, of the last step
	found   []error // by it
	from    string  // where the next paths begin
	singly  bool    // the next objects are read one by one
}

// structure has SQLite examine the file.
func (c *check) structure() (more bool, err error) {
	s, err := c.conn.prepare(fmt.Sprintf(`PRAGMA integrity_check(%d)`, mostFaults))
	if err != nil {
		return false, err
	}
	for s.Step() {
		if text := s.ColumnText(0); text != "ok" {
			c.note(fmt.Errorf("SQLite finds: %s", enginekit.OneLine(text)))
		}
	}
	return true, c.orFound(finish(s, nil))
}

// orFound notes an error as a finding, unless the check was interrupted.
func (c *check) orFound(err error) error {
	if err == nil || isCode(err, sqlite3.INTERRUPT) {
		return err
	}
	c.note(err)
	return nil
}

func (c *check) note(err error) { c.found = append(c.found, c.db.wrap("check", err)) }

// read checks the next objects and tells whether there are more.
func (c *check) read() (more bool, err error) {
	if c.singly {
		return c.readSingly()
	}
	s, err := c.conn.bound(checkObjects, c.from)
	if err != nil {
		return false, err
	}
	n := 0
	for size := 0; n < enginekit.MaxChunk && size < enginekit.MaxChunkBytes && s.Step(); n++ {
		path := s.ColumnText(pathColumn)
		c.passed(path)
		obj, err := c.conn.object(s, path)
		c.count(path, err)
		size += len(obj.Data)
	}
	full := s.Busy()
	if err := finish(s, nil); err != nil {
		if isCode(err, sqlite3.INTERRUPT) {
			return false, err
		}
		c.singly = true // its place is found there
		return true, nil
	}
	return full && n > 0, nil
}

// passed notes that a path was read. It never goes back, however damaged the index is.
func (c *check) passed(path string) {
	// The least of the texts that follow it.
	c.from = max(c.from, path+"\x00")
}

// count counts an object that is whole, or notes what is wrong with it.
func (c *check) count(path string, err error) {
	if err = enginekit.FirstError(err, checkStored(path)); err != nil {
		c.note(named(path, err))
		return
	}
	c.objects++
}

// readSingly reads the next objects each by its path, behind which something cannot be read.
func (c *check) readSingly() (more bool, err error) {
	c.singly = false
	paths, err := c.conn.pathsFrom(c.from, enginekit.FirstChunk)
	for _, path := range paths {
		c.passed(path)
		_, found, err := c.conn.lookup(path)
		if isCode(err, sqlite3.INTERRUPT) {
			return false, err
		}
		if err == nil && !found {
			err = errors.New("the index of the paths has it, the table has not")
		}
		c.count(path, err)
	}
	if err != nil {
		return false, c.orFound(fmt.Errorf("behind key %q no path can be read: %w", strings.TrimSuffix(c.from, "\x00"), err))
	}
	return len(paths) > 0, nil
}

// pathsFrom reads the next paths, by their index alone. Those that could be read come with the
// error.
func (c *conn) pathsFrom(from string, limit int) (paths []string, err error) {
	s, err := c.bound(listPaths, from)
	if err != nil {
		return nil, err
	}
	for len(paths) < limit && s.Step() {
		paths = append(paths, s.ColumnText(0))
	}
	return paths, finish(s, nil)
}
