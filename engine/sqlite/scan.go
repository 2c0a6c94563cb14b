package sqlite

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strings"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// errOrder reports an index whose rows are out of order, duplicate, or under a wrong position.
var errOrder = errors.New("the index objects_place is damaged; see what a check of the store says")

// space makes keys of paths in the order of the index.
var space = enginekit.NewSpace([]byte("o"))

// scan is a scan in progress.
type scan struct {
	db      *database
	conn    *conn  // nil after the end, and if everything was read ahead
	release func() // frees its place
	rows    *sqlite3.Stmt
	ahead   []meta.Object // objects read in advance, if there was no place

	walk         *enginekit.Walk
	lower, upper []byte
	key, before  []byte // of the row, and of the previous one
	steps        int    // the number of visited rows
}

// Scan implements enginekit.Database, on its own connection. The write-ahead log cannot start over before the scan
// ends, and grows by everything written meanwhile. While maxScans other scans stay open, a further scan reads all of
// its objects into memory when it begins.
func (d *database) Scan(pattern string) (enginekit.Iterator, error) {
	release, err := d.readers.awaitScan()
	if err != nil {
		return nil, err
	}
	if release == nil {
		return d.List(pattern)
	}
	return d.openScan(pattern, release)
}

// openScan begins a scan in a place. The scan frees the place.
func (d *database) openScan(pattern string, release func()) (*scan, error) {
	c, err := d.readers.take()
	if err != nil {
		release()
		return nil, err
	}
	s := d.newScan(pattern)
	s.release = release
	if err = s.open(c); err != nil {
		return nil, cmp.Or(err, s.Close())
	}
	return s, nil
}

// List implements enginekit.Lister. It reads everything at once, so it waits for nothing while it has its turn.
func (d *database) List(pattern string) (enginekit.Iterator, error) {
	s := d.newScan(pattern)
	err := d.readers.read(func(c *conn) (err error) {
		defer func() {
			if c.endRead(s.rows) != nil {
				c.broken = true // closing the connection ends its transaction
			}
		}()
		if err := s.open(c); err != nil {
			return err
		}
		for more := true; more && err == nil; {
			if d.closing.Err() != nil {
				return storage.ErrNotActive
			}
			more, err = enginekit.Fill(&s.ahead, len(s.ahead)+enginekit.MaxChunk, s.step)
		}
		return err
	})
	s.conn, s.rows = nil, nil
	if err != nil && !errors.Is(err, storage.ErrNotActive) && len(s.ahead) > 0 {
		err = fmt.Errorf("%s: %w", enginekit.Scanning(s.ahead[len(s.ahead)-1].Path), err)
	}
	return s, err
}

func (d *database) newScan(pattern string) *scan {
	s := &scan{db: d, walk: space.Walk(pattern)}
	s.lower, s.upper = s.walk.Bounds()
	return s
}

// open begins to read on a connection and thereby takes the snapshot.
func (s *scan) open(c *conn) (err error) {
	s.conn = c
	defer c.guard(&err)
	if err := c.run(beginRead); err != nil {
		return err
	}
	// The transaction begins with its first read.
	return cmp.Or(c.run(getNote, noteSchema), s.seek(s.lower))
}

// seek moves to the first row that is not below a key. The key may end in the directory.
func (s *scan) seek(raw []byte) (err error) {
	directory, index, _ := strings.Cut(string(raw[1:]), "\x00")
	if s.rows != nil {
		if err := s.rows.Reset(); err != nil {
			return err
		}
	}
	s.rows, err = s.conn.bound(scanObjects, directory, index)
	return err
}

// Next implements enginekit.Iterator.
func (s *scan) Next(obj *meta.Object) (found bool, err error) {
	if s.conn != nil {
		return s.step(obj)
	}
	if len(s.ahead) == 0 {
		return false, nil
	}
	*obj, s.ahead[0] = s.ahead[0], meta.Object{}
	s.ahead = s.ahead[1:]
	return true, nil
}

// step reads the next object that matches.
func (s *scan) step(obj *meta.Object) (found bool, err error) {
	defer s.conn.guard(&err)
	for s.rows.Step() {
		s.steps++
		path := s.rows.ColumnText(pathColumn)
		if err := s.place(path); err != nil {
			return false, err
		}
		if bytes.Compare(s.key, s.upper) >= 0 {
			return false, nil
		}
		step, target := s.walk.At(s.key)
		switch step {
		case enginekit.Take:
			if *obj, err = s.conn.object(s.rows, path); err != nil {
				return false, named(path, err)
			}
			return true, nil
		case enginekit.Seek:
			if bytes.Compare(target, s.upper) >= 0 {
				return false, nil
			}
			if err := s.seek(target); err != nil {
				return false, err
			}
		}
	}
	return false, s.rows.Err()
}

// place makes the key of the row, and checks that the row is at its correct position.
func (s *scan) place(path string) error {
	if err := checkStored(path); err != nil {
		return named(path, err)
	}
	s.key, s.before = s.before, s.key
	s.key = space.Append(s.key[:0], path)
	if bytes.Compare(s.key, s.before) <= 0 || bytes.Compare(s.key, s.lower) < 0 {
		return named(path, errOrder)
	}
	return nil
}

// Close implements enginekit.Iterator. It returns the connection.
func (s *scan) Close() error {
	if s.conn == nil {
		return nil
	}
	if err := s.conn.endRead(s.rows); err != nil {
		s.conn.broken = true // closing the connection ends its transaction
	}
	s.db.readers.put(s.conn)
	s.release()
	s.conn = nil
	return nil
}

// endRead ends a transaction. The statement s, if not nil, may be in progress. Its errors were returned where they
// occurred.
func (c *conn) endRead(s *sqlite3.Stmt) (err error) {
	defer c.guard(&err)
	if s != nil {
		_ = s.Reset()
	}
	if c.db.GetAutocommit() {
		return nil
	}
	return c.run(commit)
}
