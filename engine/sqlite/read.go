package sqlite

import (
	"errors"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Get implements enginekit.Database.
func (d *database) Get(path string) (obj meta.Object, err error) {
	found := false
	err = d.readers.read(func(c *conn) (err error) {
		obj, found, err = c.lookup(path)
		return err
	})
	switch {
	case errors.Is(err, storage.ErrUndecodable):
		err = named(path, err)
	case err == nil && !found:
		err = storage.ErrNotFound
	}
	return obj, err
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

// Keys implements enginekit.Database. It reads only the index of the paths, no data.
func (d *database) Keys() (paths []string, err error) {
	err = d.readers.read(func(c *conn) error {
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
	return paths, err
}

// SizeHint implements storage.SizeHinter. The number is exact; SQLite counts it by the pages of an index.
func (d *database) SizeHint() (count int) {
	err := d.readers.read(func(c *conn) error {
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
		return 0 // only a hint; reading the objects returns the error
	}
	return count
}
