package ko

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"
	ldbstorage "github.com/syndtr/goleveldb/leveldb/storage"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Check implements storage.Checker. It reads each table with its checksums, and then each
// entry. It reports the blocks of tables that are damaged, keys that are no valid paths, and
// entries that are no objects. Where a damaged block hides the newest version of an object,
// an older one counts as whole, if there is one.
func (l *Layer) Check(ctx context.Context, report func(error)) (objects int, err error) {
	damaged, err := l.checkTables(ctx, report)
	if err != nil {
		return 0, err
	}
	options := throughOptions
	if damaged {
		lenient := *throughOptions
		lenient.Strict = opt.StrictOverride | opt.StrictBlockChecksum // without StrictReader it reads on
		options = &lenient
	}
	s, err := l.openScan(nil, options)
	if err != nil {
		return 0, err
	}
	defer s.End()
	return enginekit.Check(ctx, report, s.check)
}

// check checks the next entries.
func (s *scan) check() (whole int, found []error, more bool, err error) {
	s.layer.life.RLock()
	defer s.layer.life.RUnlock()
	if s.ended {
		return 0, nil, false, storage.ErrNotActive
	}
	for size, n := 0, 0; n < enginekit.MaxChunk && size < enginekit.MaxChunkBytes; n++ {
		if !s.it.Next() {
			return whole, found, false, s.fail(s.it.Error())
		}
		size += len(s.it.Value())
		path := string(s.it.Key())
		s.last = path
		if enginekit.CheckPath(path) != nil {
			found = append(found, fmt.Errorf("key %q: %w: %w", path, storage.ErrInvalidPath, whyInvalid(path)))
		} else if _, err := decodeEntry(path, s.it.Value()); err != nil {
			found = append(found, err)
		} else {
			whole++
		}
	}
	return whole, found, true, nil
}

// checkTables reads all tables and reports their damage.
func (l *Layer) checkTables(ctx context.Context, report func(error)) (damaged bool, err error) {
	tables, err := l.liveTables()
	if err != nil {
		return false, err
	}
	for _, num := range tables {
		if err := ctx.Err(); err != nil {
			return damaged, err
		}
		found, err := l.checkTable(ldbstorage.FileDesc{Type: ldbstorage.TypeTable, Num: num})
		for _, err := range found {
			report(err)
		}
		if err != nil {
			return damaged, err
		}
		damaged = damaged || len(found) > 0
	}
	return damaged, nil
}

// liveTables returns the numbers of the tables in use.
func (l *Layer) liveTables() ([]int64, error) {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return nil, storage.ErrNotActive
	}
	text, err := l.db.GetProperty("leveldb.sstables")
	if err != nil {
		return nil, l.wrap("list the tables", err)
	}
	var tables []int64
	for line := range strings.Lines(text) {
		var num, size int64
		// The lines between are titles of the levels.
		if n, _ := fmt.Sscanf(line, "%d:%d[", &num, &size); n == 2 {
			tables = append(tables, num)
		}
	}
	return tables, nil
}

// checkTable reads a table and returns its damage. One that a compaction has removed is sound.
func (l *Layer) checkTable(fd ldbstorage.FileDesc) (found []error, err error) {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return nil, storage.ErrNotActive
	}
	t, err := readTable(l.disk, fd)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, l.wrap("check "+fd.String(), err)
	}
	defer t.Release()
	var last []byte
	damage := func(err error) {
		place := "at its beginning"
		if len(last) > 0 {
			place = fmt.Sprintf("behind key %q", last)
		}
		found = append(found, fmt.Errorf("ko: %s in %s: damaged %s: %w", fd, l.dir, place, err))
	}
	err = t.each(func(key, _ []byte) error {
		last = append(last[:0], key[:len(key)-trailer]...)
		_, err := t.OffsetOf(key) // reads the index
		return err
	}, damage)
	if t.brokenIndex {
		damage(&corruption{errBrokenIndex})
	}
	return found, l.wrap("check "+fd.String(), err)
}

// compactionBytes is how much of the database Compact takes on at a time. Between two parts
// LevelDB sorts what was written meanwhile, which writes would wait for otherwise.
const compactionBytes = 16 << 20

// Compact implements storage.Compacter. It reads the whole database to divide it into parts.
// LevelDB removes the old files a moment later.
// When the context is done, or the layer is closed, it ends with the part that it is at.
func (l *Layer) Compact(ctx context.Context) error {
	var from []byte
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		db, to, err := l.beginCompaction(from)
		if err != nil {
			return err
		}
		err = db.CompactRange(util.Range{Start: from, Limit: to})
		l.compactions.Done()
		if err != nil {
			return l.wrap("compact", err)
		}
		if to == nil {
			return nil
		}
		from = to
	}
}

// beginCompaction returns the key at which the part that begins at a key ends, nil for the
// last one. The caller tells compactions when it is compacted, which Close waits for.
func (l *Layer) beginCompaction(from []byte) (db *leveldb.DB, to []byte, err error) {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return nil, nil, storage.ErrNotActive
	}
	if err := l.failure(); err != nil {
		return nil, nil, err
	}
	if to, err = l.partEnd(from); err != nil {
		return nil, nil, l.wrap("compact", err)
	}
	l.compactions.Add(1)
	return l.db, to, nil
}

// partEnd returns the key at which the part that begins at a key ends. The caller holds life for
// reading.
func (l *Layer) partEnd(from []byte) (to []byte, err error) {
	defer catch(&err)
	it := l.db.NewIterator(&util.Range{Start: from}, throughOptions)
	defer it.Release()
	size := 0
	for to == nil && it.Next() {
		if size > compactionBytes {
			to = bytes.Clone(it.Key())
		}
		size += len(it.Key()) + len(it.Value())
	}
	return to, it.Error()
}
