package badger

import (
	"bytes"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Get implements enginekit.Database. It reads what is visible now.
func (s *store) Get(path string) (obj meta.Object, err error) {
	err = s.guard(func() error {
		s.reading.RLock()
		defer s.reading.RUnlock()
		var scratch [128]byte
		found, err := s.lookup(s.space.Append(scratch[:0], path), s.visible.Load(), func(value []byte, _ uint64) error {
			obj, err = enginekit.Decode(path, value) // the value is empty if Badger cannot read it
			return err
		})
		if err == nil && !found {
			err = storage.ErrNotFound
		}
		return err
	})
	return obj, err
}

// Keys implements enginekit.Database. It reads only keys, no data.
func (s *store) Keys() (paths []string, err error) {
	err = s.eachObject(nil, func(path string, _ *badger.Item) (bool, error) {
		paths = append(paths, path)
		return true, s.ended()
	})
	return paths, err
}

// ended returns an error once Close has begun.
func (s *store) ended() error {
	if s.stopping.Err() != nil {
		return storage.ErrNotActive
	}
	return nil
}

// eachObject visits the objects, without their data, from a key on, or all if there is none, while the function
// returns true. Writes continue meanwhile.
func (s *store) eachObject(from []byte, visit func(path string, item *badger.Item) (more bool, err error)) error {
	return s.guard(func() error {
		cursor := s.newCursor(nil)
		defer cursor.Close()
		lower, upper := s.space.Bounds()
		if from == nil {
			from = lower
		}
		var scratch []byte
		for raw := cursor.Seek(from); raw != nil && bytes.Compare(raw, upper) < 0; raw = cursor.Next() {
			path, rest, err := s.space.Path(raw, scratch)
			scratch = rest
			if err != nil {
				return err
			}
			if more, err := visit(path, cursor.it.Item()); !more || err != nil {
				return err
			}
		}
		return nil
	})
}

// Scan implements enginekit.Database.
func (s *store) Scan(pattern string) (it enginekit.Iterator, err error) {
	err = s.guard(func() error {
		lower, _ := s.space.Walk(pattern).Bounds()
		it = guarded{s.space.Iterate(pattern, s.newCursor(lower)), s}
		return nil
	})
	return it, err
}

// guarded is a scan with guard.
type guarded struct {
	enginekit.Iterator
	store *store
}

func (g guarded) Next(obj *meta.Object) (found bool, err error) {
	err = g.store.guard(func() error {
		found, err = g.Iterator.Next(obj)
		return err
	})
	return found, err
}

func (g guarded) Close() error { return g.store.guard(g.Iterator.Close) }

// cursor is an enginekit.Cursor over everything visible when it is created.
type cursor struct {
	store   *store
	version uint64
	txn     *badger.Txn
	it      *badger.Iterator
}

// newCursor returns a cursor over the keys with a prefix.
func (s *store) newCursor(prefix []byte) *cursor {
	s.scanLock.Lock()
	defer s.scanLock.Unlock()
	c := &cursor{store: s, version: s.visible.Load()}
	c.txn = s.db.NewTransactionAt(c.version, false)
	c.it = c.txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
	s.scans[c] = struct{}{}
	return c
}

func (c *cursor) Err() error { return nil } // Badger has no error here: see inspect.go

func (c *cursor) Seek(key []byte) []byte {
	c.it.Seek(key)
	return c.key()
}

func (c *cursor) Next() []byte {
	c.it.Next()
	return c.key()
}

func (c *cursor) key() []byte {
	if !c.it.Valid() {
		return nil
	}
	return c.it.Item().Key()
}

// Value returns the value, which is valid until the cursor moves: Badger has copied it, or it is in the value log,
// whose files are never removed.
func (c *cursor) Value() (value []byte, err error) {
	err = c.it.Item().Value(func(v []byte) error {
		value = v
		return nil
	})
	return value, err
}

func (c *cursor) Close() error {
	c.it.Close()
	c.txn.Discard()
	c.store.scanLock.Lock()
	defer c.store.scanLock.Unlock()
	delete(c.store.scans, c)
	return nil
}
