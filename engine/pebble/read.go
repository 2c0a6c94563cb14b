package pebble

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Get implements storage.Layer.
func (l *Layer) Get(path string) (meta.Object, error) {
	if err := enginekit.CheckPath(path); err != nil {
		return meta.Object{}, err
	}
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return meta.Object{}, storage.ErrNotActive
	}
	var scratch [128]byte
	return l.lookup(path, objectKeys.Append(scratch[:0], path))
}

// lookup reads the object at path, whose key is raw. The caller holds life for reading.
func (l *Layer) lookup(path string, raw []byte) (meta.Object, error) {
	value, closer, err := l.db.Get(raw)
	if errors.Is(err, pebble.ErrNotFound) {
		return meta.Object{}, fmt.Errorf("path %q: %w", path, storage.ErrNotFound)
	}
	if err != nil {
		return meta.Object{}, l.wrap(fmt.Sprintf("read key %q", path), err)
	}
	obj, err := enginekit.Decode(path, value)
	if err = enginekit.FirstError(err, closer.Close()); err != nil {
		return meta.Object{}, l.wrap("read", err)
	}
	return obj, nil
}

// GetList implements storage.Layer.
func (l *Layer) GetList(pattern string) ([]meta.Object, error) {
	return enginekit.GetList(pattern, l.openScan)
}

// Load implements storage.EmbeddedLayer.
func (l *Layer) Load() (map[string]*meta.Object, error) {
	return enginekit.Load(l)
}

// Keys implements storage.Layer. It reads keys only, no data.
func (l *Layer) Keys() ([]string, error) {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return nil, storage.ErrNotActive
	}
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: firstObject, UpperBound: lastObject})
	if err != nil {
		return nil, l.wrap("read the keys", err)
	}
	paths, err := readPaths(it)
	if err = enginekit.FirstError(err, it.Close()); err != nil {
		return nil, l.wrap("read the keys", err)
	}
	slices.Sort(paths) // they come by directory
	return paths, nil
}

func readPaths(it *pebble.Iterator) ([]string, error) {
	paths := []string{}
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

// SizeHint implements storage.SizeHinter. It adds up what the headers of the tables on
// disk say and guesses at what is in memory, so that overwritten objects that no
// compaction has met yet count twice.
func (l *Layer) SizeHint() int {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return 0
	}
	levels, err := l.db.SSTables(pebble.WithProperties())
	if err != nil {
		return 0 // only a hint; a reader of the objects meets the error itself
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
	inMemory := l.db.Metrics().MemTable.Size / (average + memTableOverhead)
	objects := entries - min(entries, 2*deletions) + inMemory/2 // each commit notes its revision too
	return int(min(objects, 1<<30))
}

// memTableOverhead is about what an entry in memory takes besides its key and value.
const memTableOverhead = 48
