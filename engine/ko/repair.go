package ko

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/syndtr/goleveldb/leveldb/cache"
	"github.com/syndtr/goleveldb/leveldb/iterator"
	"github.com/syndtr/goleveldb/leveldb/opt"
	ldbstorage "github.com/syndtr/goleveldb/leveldb/storage"
	"github.com/syndtr/goleveldb/leveldb/table"
)

// This file rebuilds damaged tables, because LevelDB's own recovery is incorrect. It sorts the keys of a table like
// user keys. It therefore fails if a table has two versions of an object, and otherwise makes an index on which
// LevelDB later panics. A database that the older software has recovered can have such tables.

// internalOrder is the order of the keys in a table: by user key, then the newest version first. It records malformed
// keys, which such an index has.
type internalOrder struct{ broken *bool }

// trailer is the length of the part of a table's key after the user key: a sequence number and a kind.
const trailer = 8

// Compare implements comparer.Comparer.
func (o internalOrder) Compare(a, b []byte) int {
	if len(a) < trailer || len(b) < trailer {
		*o.broken = true
		return bytes.Compare(a, b)
	}
	ka, va := a[:len(a)-trailer], binary.LittleEndian.Uint64(a[len(a)-trailer:])
	kb, vb := b[:len(b)-trailer], binary.LittleEndian.Uint64(b[len(b)-trailer:])
	return cmp.Or(bytes.Compare(ka, kb), cmp.Compare(vb, va))
}

// Name implements comparer.Comparer.
func (o internalOrder) Name() string { return "leveldb.InternalKeyComparator" }

// Separator implements comparer.Comparer. It makes no shorter key for the index.
func (o internalOrder) Separator(_, _, _ []byte) []byte { return nil }

// Successor implements comparer.Comparer.
func (o internalOrder) Successor(_, _ []byte) []byte { return nil }

// errBrokenIndex reports an index of a table with malformed keys.
var errBrokenIndex = errors.New("its index is broken")

// openTable is a table open for reading with all its versions, skipping damaged blocks.
type openTable struct {
	*table.Reader
	brokenIndex bool // a look-up has found a malformed key in the index
}

func (t *openTable) options() *opt.Options {
	return &opt.Options{Strict: opt.StrictBlockChecksum, Comparer: internalOrder{&t.brokenIndex}}
}

// newIndexCache keeps the index of one table, which LevelDB would otherwise read again for each look-up. Blocks with
// data are read with throughOptions, which bypass the cache.
func newIndexCache() *cache.NamespaceGetter {
	return &cache.NamespaceGetter{Cache: cache.NewCache(cache.NewLRU(math.MaxInt32))}
}

// readTable opens a table. Release closes it.
func readTable(d disk, fd ldbstorage.FileDesc) (*openTable, error) {
	file, err := d.Open(fd)
	if err != nil {
		return nil, err
	}
	t := &openTable{}
	size, err := file.Seek(0, io.SeekEnd)
	if err == nil {
		t.Reader, err = table.NewReader(file, size, fd, newIndexCache(), nil, t.options())
	}
	if err != nil {
		return nil, cmp.Or(err, file.Close())
	}
	return t, nil
}

// each calls visit for each entry, which must not keep any part of it, and damage for each unreadable block.
func (t *openTable) each(visit func(key, value []byte) error, damage func(error)) error {
	it := t.NewIterator(nil, throughOptions)
	defer it.Release()
	told := false
	if setter, ok := it.(iterator.ErrorCallbackSetter); ok {
		setter.SetErrorCallback(func(err error) {
			told = true
			damage(err)
		})
	}
	for it.Next() {
		if len(it.Key()) < trailer {
			continue
		}
		if err := visit(it.Key(), it.Value()); err != nil {
			return err
		}
	}
	err := it.Error()
	if err != nil && isCorrupt(err) {
		if !told {
			damage(err)
		}
		return nil
	}
	return err
}

// repairTables rebuilds the damaged tables from what is readable of them, and returns a line for each. A table
// without readable content is left to LevelDB, which drops it.
func repairTables(d disk) (lines []string, err error) {
	tables, err := d.List(ldbstorage.TypeTable)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(tables, func(a, b ldbstorage.FileDesc) int { return cmp.Compare(a.Num, b.Num) })
	for _, fd := range tables {
		line, err := repairTable(d, fd)
		if err != nil {
			return nil, fmt.Errorf("repair %s: %w", fd, err)
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

func repairTable(d disk, fd ldbstorage.FileDesc) (line string, err error) {
	t, err := readTable(d, fd)
	if err != nil {
		return "", err
	}
	defer t.Release()
	entries, blocks := 0, 0
	err = t.each(func(key, _ []byte) error {
		entries++
		_, err := t.OffsetOf(key) // reads the index
		return err
	}, func(error) { blocks++ })
	if err != nil || entries == 0 || blocks == 0 && !t.brokenIndex {
		return "", err
	}
	if err := rebuildTable(d, fd, t); err != nil {
		return "", err
	}
	return fmt.Sprintf("table %s: rebuilt with %d entries without %d damaged blocks", fd, entries, blocks), nil
}

// rebuildTable writes what is readable of a table into a new one and replaces the table with it.
func rebuildTable(d disk, fd ldbstorage.FileDesc, t *openTable) error {
	temporary := ldbstorage.FileDesc{Type: ldbstorage.TypeTemp, Num: fd.Num}
	file, err := d.Create(temporary)
	if err != nil {
		return err
	}
	w := table.NewWriter(file, t.options(), nil, 0)
	err = t.each(w.Append, func(error) {})
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = file.Sync()
	}
	if err = cmp.Or(err, file.Close()); err != nil {
		return err
	}
	return d.Rename(temporary, fd)
}
