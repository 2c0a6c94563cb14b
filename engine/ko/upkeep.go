package ko

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/syndtr/goleveldb/leveldb/iterator"
	"github.com/syndtr/goleveldb/leveldb/opt"
	ldbstorage "github.com/syndtr/goleveldb/leveldb/storage"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Check implements storage.Checker. It reads each table with its checksums, and then each entry. It reports damaged
// blocks of tables, keys that are not valid paths, and entries that are not valid objects. If a damaged block hides
// the newest version of an object, an older version counts as intact, if there is one.
func (l *Layer) Check(ctx context.Context, report func(error)) (objects int, err error) {
	damaged, err := l.checkTables(ctx, report)
	if err != nil {
		return 0, err
	}
	options := throughOptions
	if damaged {
		lenient := *throughOptions
		lenient.Strict = opt.StrictOverride | opt.StrictBlockChecksum // without StrictReader it continues after damage
		options = &lenient
	}
	var it iterator.Iterator
	held, err := l.life.Hold(func(d *database) (_ io.Closer, err error) {
		it, err = newIterator(d.db, nil, options)
		return releaser{it}, l.life.Wrap("begin a check", err)
	})
	if err != nil {
		return 0, err
	}
	defer held.End()
	return enginekit.Check(ctx, report, func() (whole int, found []error, more bool, err error) {
		err = held.Use(func() error {
			whole, found, more, err = checkEntries(it)
			return l.life.Wrap("check", err)
		})
		return whole, found, more, err
	})
}

// releaser is an iterator with a Close method.
type releaser struct{ iterator.Iterator }

func (r releaser) Close() error {
	r.Release()
	return nil
}

// checkEntries checks the next entries.
func checkEntries(it iterator.Iterator) (whole int, found []error, more bool, err error) {
	defer catch(&err)
	for size, n := 0, 0; n < enginekit.MaxChunk && size < enginekit.MaxChunkBytes; n++ {
		if !it.Next() {
			return whole, found, false, it.Error()
		}
		size += len(it.Value())
		path := string(it.Key())
		if enginekit.CheckPath(path) != nil {
			found = append(found, fmt.Errorf("key %q: %w, %w", path, storage.ErrInvalidPath, whyInvalid(path)))
		} else if _, err := decodeEntry(path, it.Value()); err != nil {
			found = append(found, err)
		} else {
			whole++
		}
	}
	return whole, found, true, nil
}

// checkTables reads all tables and reports their damage.
func (l *Layer) checkTables(ctx context.Context, report func(error)) (damaged bool, err error) {
	var tables []int64
	err = l.life.Use(func(d *database) (err error) {
		tables, err = d.liveTables()
		return l.life.Wrap("list the tables", err)
	})
	if err != nil {
		return false, err
	}
	for _, num := range tables {
		if err := ctx.Err(); err != nil {
			return damaged, err
		}
		fd := ldbstorage.FileDesc{Type: ldbstorage.TypeTable, Num: num}
		var found []error
		err := l.life.Use(func(d *database) (err error) {
			found, err = d.checkTable(fd)
			return l.life.Wrap("check "+fd.String(), err)
		})
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
func (d *database) liveTables() ([]int64, error) {
	text, err := d.db.GetProperty("leveldb.sstables")
	if err != nil {
		return nil, err
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

// checkTable reads a table and returns its damage. A table that a compaction has removed counts as intact.
func (d *database) checkTable(fd ldbstorage.FileDesc) (found []error, err error) {
	t, err := readTable(d.disk, fd)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer t.Release()
	var last []byte
	damage := func(err error) {
		place := "at its beginning"
		if len(last) > 0 {
			place = fmt.Sprintf("behind key %q", last)
		}
		found = append(found, fmt.Errorf("ko: %s in %s is damaged %s: %w", fd, d.dir, place, err))
	}
	err = t.each(func(key, _ []byte) error {
		last = append(last[:0], key[:len(key)-trailer]...)
		_, err := t.OffsetOf(key) // reads the index
		return err
	}, damage)
	if t.brokenIndex {
		damage(&corruption{errBrokenIndex})
	}
	return found, err
}

// compactionBytes is how much of the database Compact compacts at a time. Between two parts LevelDB flushes what was
// written meanwhile; otherwise writes would wait for that.
const compactionBytes = 16 << 20

// Compact implements storage.Compacter. It reads the whole database to divide it into parts. LevelDB removes the old
// files a moment later. When the context is done, or the layer is closed, it ends after the current part.
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
		err = db.db.CompactRange(util.Range{Start: from, Limit: to})
		db.compactions.Done()
		if err != nil {
			return l.life.Wrap("compact", err)
		}
		if to == nil {
			return nil
		}
		from = to
	}
}

// beginCompaction returns the key at which the part that begins at from ends, nil for the last part. The caller calls
// compactions.Done after compacting the part; Close waits for that.
func (l *Layer) beginCompaction(from []byte) (db *database, to []byte, err error) {
	err = l.life.Use(func(d *database) error {
		if err := cmp.Or(l.life.Failure(), d.disk.failure()); err != nil {
			return err
		}
		to, err = d.partEnd(from)
		if err == nil {
			db = d
			d.compactions.Add(1)
		}
		return l.life.Wrap("compact", err)
	})
	return db, to, err
}

// partEnd returns the key at which the part that begins at from ends.
func (d *database) partEnd(from []byte) (to []byte, err error) {
	defer catch(&err)
	it := d.db.NewIterator(&util.Range{Start: from}, throughOptions)
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
