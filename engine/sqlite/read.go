package sqlite

import (
	"fmt"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Get implements storage.Layer.
func (l *Layer) Get(path string) (obj meta.Object, err error) {
	if err := enginekit.CheckPath(path); err != nil {
		return meta.Object{}, err
	}
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return meta.Object{}, storage.ErrNotActive
	}
	found := false
	err = l.db.readers.read(func(c *conn) (err error) {
		obj, found, err = c.lookup(path)
		return err
	})
	if err != nil {
		return meta.Object{}, l.db.wrap(fmt.Sprintf("read key %q", path), err)
	}
	if !found {
		return meta.Object{}, fmt.Errorf("path %q: %w", path, storage.ErrNotFound)
	}
	return obj, nil
}

// lookup reads the object at a path.
func (c *conn) lookup(path string) (obj meta.Object, found bool, err error) {
	s, err := c.bound(getObject, path)
	if err != nil {
		return meta.Object{}, false, err
	}
	if found = s.Step(); found {
		obj, err = c.object(s, path)
	}
	return obj, found, finish(s, err)
}

// GetList implements storage.Layer.
func (l *Layer) GetList(pattern string) ([]meta.Object, error) {
	return enginekit.GetList(pattern, l.readAll)
}

// Load implements storage.EmbeddedLayer.
func (l *Layer) Load() (map[string]*meta.Object, error) {
	return enginekit.Load(l)
}

// Keys implements storage.Layer. It reads the index of the paths only, no data.
func (l *Layer) Keys() ([]string, error) {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return nil, storage.ErrNotActive
	}
	paths := []string{}
	err := l.db.readers.read(func(c *conn) error {
		s, err := c.bound(listPaths, "")
		if err != nil {
			return err
		}
		for err == nil && s.Step() {
			path := s.ColumnText(0)
			paths = append(paths, path)
			err = named(path, checkStored(path))
		}
		return finish(s, err)
	})
	if err != nil {
		return nil, l.db.wrap("read the keys", err)
	}
	return paths, nil
}

// SizeHint implements storage.SizeHinter. The number is exact; SQLite counts it by the pages
// of an index.
func (l *Layer) SizeHint() (count int) {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return 0
	}
	err := l.db.readers.read(func(c *conn) error {
		s, err := c.prepare(countObjects)
		if err != nil {
			return err
		}
		if s.Step() {
			count = s.ColumnInt(0)
		}
		return finish(s, nil)
	})
	if err != nil {
		return 0 // only a hint; a reader of the objects meets the error itself
	}
	return count
}
