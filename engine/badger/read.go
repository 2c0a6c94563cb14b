package badger

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"

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
	if l.store == nil {
		return meta.Object{}, storage.ErrNotActive
	}
	return l.store.get(path)
}

// get reads the object at a path, as of the view of now.
func (s *store) get(path string) (obj meta.Object, err error) {
	err = s.guard("read", func() error {
		s.reading.RLock()
		defer s.reading.RUnlock()
		v := s.view.Load()
		var scratch [128]byte
		return s.lookup(v.objects.Append(scratch[:0], path), v.version, func(value []byte) error {
			var err error
			obj, err = enginekit.Decode(path, value) // of nothing, where Badger cannot read the value
			return err
		})
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return meta.Object{}, fmt.Errorf("path %q: %w", path, storage.ErrNotFound)
	}
	if err != nil {
		return meta.Object{}, s.wrap(fmt.Sprintf("read key %q", path), err)
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
	s, err := l.openScan("")
	if err != nil {
		return nil, err
	}
	defer s.End()
	paths := []string{}
	for more := true; more; {
		if paths, more, err = s.readPaths(paths); err != nil {
			return nil, err
		}
	}
	slices.Sort(paths) // they come by directory
	return paths, nil
}

// SizeHint implements storage.SizeHinter. It is what the tables and logs held at Start, overwritten and
// removed objects among them, and what was put and deleted since.
func (l *Layer) SizeHint() int {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.store == nil {
		return 0
	}
	return int(max(0, min(l.store.objects.Load(), 1<<30)))
}
