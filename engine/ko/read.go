package ko

import (
	"errors"
	"fmt"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/util"

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
	entry, err := l.lookup(path)
	if errors.Is(err, leveldb.ErrNotFound) {
		return meta.Object{}, notFound(path)
	}
	if err != nil {
		return meta.Object{}, l.wrap(fmt.Sprintf("read key %q", path), err)
	}
	obj, err := decodeEntry(path, entry)
	return obj, l.wrap("read", err)
}

// lookup reads the entry at path.
func (l *Layer) lookup(path string) (entry []byte, err error) {
	defer catch(&err)
	return l.db.Get([]byte(path), nil)
}

func notFound(path string) error { return fmt.Errorf("path %q: %w", path, storage.ErrNotFound) }

// GetList implements storage.Layer.
func (l *Layer) GetList(pattern string) ([]meta.Object, error) {
	return enginekit.GetList(pattern, l.openWalk)
}

// Load implements storage.EmbeddedLayer.
func (l *Layer) Load() (map[string]*meta.Object, error) {
	return enginekit.Load(l)
}

// Keys implements storage.Layer. LevelDB reads the entries with the keys.
func (l *Layer) Keys() ([]string, error) {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return nil, storage.ErrNotActive
	}
	paths := []string{}
	// Start has found out whether there are entries to leave out.
	skips := l.options.SkipInvalid && l.opening.undecodable.count > 0
	err := l.eachKey(func(path string, entry []byte) {
		if skips {
			if _, err := decodeEntry(path, entry); err != nil {
				return
			}
		}
		paths = append(paths, path)
	})
	if err != nil {
		return nil, l.wrap("read the keys", err)
	}
	return paths, nil
}

// eachKey calls a function for each valid path, in byte order, with its entry, which stays the database's. The caller
// holds life for reading.
func (l *Layer) eachKey(visit func(path string, entry []byte)) error {
	it := l.db.NewIterator(nil, throughOptions)
	defer it.Release()
	for it.Next() {
		path := string(it.Key())
		if enginekit.CheckPath(path) == nil {
			visit(path, it.Value())
		} else if !l.options.SkipInvalid {
			return invalidKey(path)
		}
	}
	return it.Error()
}

// sampleSize is how many objects SizeHint reads at most.
const sampleSize = 1000

// SizeHint implements storage.SizeHinter. It reads the first thousand objects and compares the
// space that they take in the tables with that of all, so that overwritten objects
// that no compaction has met yet count twice.
func (l *Layer) SizeHint() int {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return 0
	}
	hint, err := l.sizeHint()
	if err != nil {
		return 0 // only a hint; a reader of the objects meets the error itself
	}
	return hint
}

func (l *Layer) sizeHint() (hint int, err error) {
	defer catch(&err)
	it := l.db.NewIterator(nil, throughOptions)
	defer it.Release()
	for hint < sampleSize && it.Next() {
		hint++
	}
	if hint < sampleSize {
		return hint, it.Error()
	}
	sizes, err := l.db.SizeOf([]util.Range{{Limit: it.Key()}, {Limit: afterAll}})
	if err != nil || sizes[0] <= 0 {
		return hint, err
	}
	return max(hint, int(min(sampleSize*sizes[1]/sizes[0], 1<<30))), nil
}

// afterAll is behind every key.
var afterAll = []byte{0xff, 0xff, 0xff, 0xff}
