package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// mostFaults is the maximum number of faults of the file's structure in a check.
const mostFaults = 1000

// Check implements storage.Checker. On one snapshot, it has SQLite examine the whole file, including the order of its
// tables and the consistency of its indexes (integrity_check), and then reads each object.
//
// A damaged page makes the objects on it unreadable: each is reported with its key, if the index of the paths can be
// read. Reads and writes continue meanwhile; the write-ahead log grows by everything written.
func (l *Layer) Check(ctx context.Context, report func(error)) (objects int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	// Only one check runs at a time. It waits before it holds anything.
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

// check is a check in progress: a scan in the order of the paths.
type check struct {
	*scan
	objects int     // intact ones, of the last step
	found   []error // by it
	from    string  // the start of the next paths
	singly  bool    // read the next objects one by one
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

// orFound records an error as a finding, unless the check was interrupted.
func (c *check) orFound(err error) error {
	if err == nil || isCode(err, sqlite3.INTERRUPT) {
		return err
	}
	c.note(err)
	return nil
}

func (c *check) note(err error) { c.found = append(c.found, c.db.wrap("check", err)) }

// read checks the next objects and reports whether there are more.
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
		c.singly = true // readSingly finds the position of the error
		return true, nil
	}
	return full && n > 0, nil
}

// passed records that a path was read. The position never moves back, however damaged the index is.
func (c *check) passed(path string) {
	// The smallest text after path.
	c.from = max(c.from, path+"\x00")
}

// count counts an intact object, or records what is wrong with it.
func (c *check) count(path string, err error) {
	if err = cmp.Or(err, checkStored(path)); err != nil {
		c.note(named(path, err))
		return
	}
	c.objects++
}

// readSingly reads the next objects one by one by their paths, because something after them cannot be read.
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

// pathsFrom reads the next paths from their index alone. After an error it also returns the paths that could be read.
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
