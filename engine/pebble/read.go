package pebble

import (
	"cmp"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Get implements enginekit.Database.
func (d *database) Get(path string) (meta.Object, error) {
	var scratch [128]byte
	value, closer, err := d.db.Get(objectKeys.Append(scratch[:0], path))
	if errors.Is(err, pebble.ErrNotFound) {
		return meta.Object{}, storage.ErrNotFound
	}
	if err != nil {
		return meta.Object{}, err
	}
	obj, err := enginekit.Decode(path, value)
	return obj, cmp.Or(err, closer.Close())
}

// Keys implements enginekit.Database. It reads only keys, no data.
func (d *database) Keys() ([]string, error) {
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: firstObject, UpperBound: lastObject})
	if err != nil {
		return nil, err
	}
	paths, err := readPaths(it)
	return paths, cmp.Or(err, it.Close())
}

func readPaths(it *pebble.Iterator) ([]string, error) {
	var paths []string
	var scratch []byte
	for ok := it.First(); ok; ok = it.Next() {
		var path string
		var err error
		if path, scratch, err = objectKeys.Path(it.Key(), scratch); err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, it.Error()
}

// SizeHint implements storage.SizeHinter. It adds the counts in the headers of the tables on disk and an estimate of
// memory. Overwritten objects that no compaction has merged yet count twice.
func (d *database) SizeHint() int {
	levels, err := d.db.SSTables(pebble.WithProperties())
	if err != nil {
		return 0 // only a hint; reading the objects returns the error
	}
	var entries, size, deletions uint64
	for _, tables := range levels {
		for _, table := range tables {
			if table.Properties == nil {
				continue
			}
			entries += table.Properties.NumEntries
			deletions += table.Properties.NumDeletions
			size += table.Properties.RawKeySize + table.Properties.RawValueSize
		}
	}
	average := uint64(256)
	if entries > 0 {
		average = max(size/entries, 1)
	}
	inMemory := d.db.Metrics().MemTable.Size / (average + memTableOverhead)
	objects := entries - min(entries, 2*deletions) + inMemory/2 // each commit also writes the record of its revision
	return int(min(objects, 1<<30))
}

// memTableOverhead is the approximate overhead of an entry in memory besides its key and value.
const memTableOverhead = 48
