package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"strings"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// errOrder is an index that has its rows out of order, twice or under another place.
var errOrder = errors.New("the index objects_place is damaged; see what a check of the store says")

// Scan implements storage.Scanner. The snapshot is taken when the loop begins, on a connection of
// its own. Memory is bounded by one chunk of objects. The write-ahead log cannot begin anew before the loop ends,
// and grows by what is written meanwhile. Beside maxScans other loops that do not end, a loop has all of its
// objects in memory instead, from its beginning on.
//
// The loop's body may call the layer, Close included. Close ends the scan with
// storage.ErrNotActive, after at most the chunk that was read already.
func (l *Layer) Scan(pattern string) iter.Seq2[meta.Object, error] {
	return enginekit.Scan(func() (*scan, error) { return l.openScan(pattern) })
}

// space makes keys of paths that are in the order of the index.
var space = enginekit.NewSpace([]byte("o"))

// scan is a scan in progress.
type scan struct {
	layer *Layer
	db    *database
	// conn is nil after the end. The scan uses it while it holds layer.life for reading; Close
	// ends it while it holds that for writing.
	conn    *conn
	release func() // gives back its place
	rows    *sqlite3.Stmt
	ahead   []meta.Object // that were read already, where there was no place

	walk         *enginekit.Walk
	lower, upper []byte
	key, before  []byte // of the row, and of the one before
	last         string // the last path read, for errors
	steps        int    // the rows that were visited
}

// openScan begins a scan in whose course a caller's code runs.
func (l *Layer) openScan(pattern string) (*scan, error) {
	if err := enginekit.CheckScanned(pattern); err != nil {
		return nil, err
	}
	db, err := l.database()
	if err != nil {
		return nil, err
	}
	release, err := db.readers.awaitScan()
	if err != nil {
		return nil, err
	}
	if release == nil {
		return l.readAll(pattern)
	}
	return l.openIn(db, pattern, release)
}

// openIn begins a scan in a place, which it gives back.
func (l *Layer) openIn(db *database, pattern string, release func()) (*scan, error) {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db != db {
		release()
		return nil, storage.ErrNotActive
	}
	s := newScan(l, pattern)
	s.release = release
	c, err := db.readers.take()
	if err != nil {
		release()
	} else if err = s.open(c); err != nil {
		s.close()
	}
	if err != nil {
		return nil, db.wrap(fmt.Sprintf("scan %q", pattern), err)
	}
	db.scans.Add(s)
	return s, nil
}

// readAll begins a scan that is over, with all of its objects in memory. It holds life all the time, and so
// waits for nobody while it has its turn.
func (l *Layer) readAll(pattern string) (*scan, error) {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return nil, storage.ErrNotActive
	}
	s := newScan(l, pattern)
	err := l.db.readers.read(func(c *conn) (err error) {
		defer func() {
			if c.endRead(s.rows) != nil {
				c.broken = true // it is closed, and its transaction ends by that
			}
		}()
		if err := s.open(c); err != nil {
			return err
		}
		for more := true; more && err == nil; {
			if l.db.closing.Err() != nil {
				return storage.ErrNotActive
			}
			more, err = enginekit.Fill(&s.ahead, len(s.ahead)+enginekit.MaxChunk, s.next)
		}
		return err
	})
	s.conn, s.rows = nil, nil
	if err != nil && !errors.Is(err, storage.ErrNotActive) {
		err = s.fail(err)
	}
	return s, err
}

func newScan(l *Layer, pattern string) *scan {
	s := &scan{layer: l, db: l.db, walk: space.Walk(pattern)}
	s.lower, s.upper = s.walk.Bounds()
	return s
}

// open begins to read on a connection, and so takes the snapshot.
func (s *scan) open(c *conn) (err error) {
	s.conn = c
	defer c.guard(&err)
	if err := c.run(beginRead); err != nil {
		return err
	}
	// The transaction begins with its first read.
	return enginekit.FirstError(c.run(getNote, noteSchema), s.seek(s.lower))
}

// seek goes to the first row that is not below a key, which may end in the directory.
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

// Read implements enginekit.Reader.
func (s *scan) Read(chunk []meta.Object, limit int) (_ []meta.Object, more bool, err error) {
	s.layer.life.RLock()
	defer s.layer.life.RUnlock()
	if s.layer.db != s.db {
		return chunk, false, storage.ErrNotActive
	}
	if s.conn == nil {
		n := min(limit-len(chunk), len(s.ahead))
		chunk = append(chunk, s.ahead[:n]...)
		s.ahead = s.ahead[n:]
		return chunk, len(s.ahead) > 0, nil
	}
	more, err = enginekit.Fill(&chunk, limit, s.next)
	return chunk, more, s.fail(err)
}

// next reads the next object that matches.
func (s *scan) next(obj *meta.Object) (found bool, err error) {
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
			s.last = path
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

// place makes the key of the row, and checks that it is where it belongs.
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

// fail says where the scan came to an end; it keeps nil.
func (s *scan) fail(err error) error {
	if err == nil {
		return nil
	}
	return s.db.wrap(enginekit.Scanning(s.last), err)
}

// End implements enginekit.Reader.
func (s *scan) End() {
	s.layer.life.RLock()
	defer s.layer.life.RUnlock()
	if s.conn == nil {
		return
	}
	s.db.scans.Remove(s)
	s.close()
}

// close gives back the connection.
func (s *scan) close() {
	if err := s.conn.endRead(s.rows); err != nil {
		s.conn.broken = true // it is closed, and its transaction ends by that
	}
	s.db.readers.put(s.conn)
	s.release()
	s.conn = nil
}

// endRead ends a transaction in which a statement, if it is not nil, may be in progress. What
// the statement met was returned where it did.
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
