package badger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/internal/codec"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Set implements storage.Layer. It is atomic, and as durable as the layer is configured
// to be when it returns. Revision is stored as given, without a part in LastRevision.
func (l *Layer) Set(path string, obj *meta.Object) error {
	if err := l.checkPut(path, obj); err != nil {
		return err
	}
	return l.write(func(s *store) error {
		return s.commit([]storage.Change{{Key: path, Object: obj}}, 0)
	})
}

// Del implements storage.Layer.
func (l *Layer) Del(path string) error {
	if err := checkPath(path); err != nil {
		return err
	}
	return l.write(func(s *store) error {
		if _, err := s.get(path); err != nil {
			return err
		}
		return s.commit([]storage.Change{{Key: path}}, 0)
	})
}

// Clear implements storage.Layer. An error can only be logged here: a store clears
// through Commit, which returns it.
func (l *Layer) Clear() {
	err := l.write(func(s *store) error { return s.commit([]storage.Change{{}}, 0) })
	if err != nil && !errors.Is(err, storage.ErrNotActive) {
		l.options.Logger.Error("badger: clear failed, nothing was removed", "error", err)
	}
}

// Commit implements storage.Batcher.
func (l *Layer) Commit(changes []storage.Change) error {
	revision, err := l.checkChanges(changes)
	if err != nil {
		return err
	}
	l.life.RLock()
	defer l.life.RUnlock()
	if l.store == nil {
		return storage.ErrNotActive
	}
	l.store.writing.Lock()
	defer l.store.writing.Unlock()
	return l.store.commit(changes, revision)
}

// write calls a writer of one change. A refusal of that change is its plain error.
func (l *Layer) write(writer func(s *store) error) error {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.store == nil {
		return storage.ErrNotActive
	}
	l.store.writing.Lock()
	defer l.store.writing.Unlock()
	err := writer(l.store)
	if refused, ok := errors.AsType[*storage.EntryError](err); ok {
		return refused.Err
	}
	return err
}

// LastRevision implements storage.Batcher.
func (l *Layer) LastRevision() (uint64, error) {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.store == nil {
		return 0, storage.ErrNotActive
	}
	l.store.writing.Lock()
	defer l.store.writing.Unlock()
	return l.store.revision, nil
}

// ID implements storage.Identified. The first call for a directory draws the number, which is on
// the disk when it returns.
func (l *Layer) ID() (id uint64, err error) {
	err = l.write(func(s *store) error {
		id, err = s.note(idKey, latest)
		if err != nil || id != 0 {
			return s.wrap("read the store's id", err)
		}
		id = rand.Uint64() | 1
		return s.annotate("note the store's id", func(txn *badger.Txn) error { return txn.Set(idKey, encodeNumber(id)) })
	})
	return id, err
}

// MarkIncomplete implements storage.IncompleteMarker. It is on the disk when it returns,
// whatever Durability says, and so is all that was written before it.
func (l *Layer) MarkIncomplete(reason string) error {
	return l.write(func(s *store) error {
		return s.annotate("mark the store as incomplete", func(txn *badger.Txn) error {
			mark := []byte("-")
			if reason != "" {
				mark = []byte("+" + reason)
			}
			return txn.Set(incompleteKey, mark)
		})
	})
}

// checkComplete refuses a database that is marked.
func (s *store) checkComplete() error {
	err := s.lookup(incompleteKey, latest, func(mark []byte) error {
		if reason, marked := strings.CutPrefix(string(mark), "+"); marked {
			return fmt.Errorf("%w: %s", storage.ErrIncomplete, clean(reason))
		}
		return nil
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil
	}
	return err
}

// checkChanges validates changes and returns their highest revision. Nothing is written before all of
// them are known to be good.
func (l *Layer) checkChanges(changes []storage.Change) (revision uint64, err error) {
	for i, c := range changes {
		revision = max(revision, c.Revision)
		switch {
		case c.IsClear():
		case c.Object == nil:
			err = checkPath(c.Key)
		default:
			err = l.checkPut(c.Key, c.Object)
		}
		if err != nil {
			return 0, &storage.EntryError{Index: i, Err: err}
		}
	}
	return revision, nil
}

// checkPut accepts what can be stored.
func (l *Layer) checkPut(path string, obj *meta.Object) error {
	if err := checkPath(path); err != nil {
		return err
	}
	if obj == nil || len(obj.Data) == 0 {
		return fmt.Errorf("path %q: %w", path, storage.ErrInvalidStorageData)
	}
	if len(obj.Data) > min(l.options.MaxData, codec.MaxData) {
		return fmt.Errorf("path %q: the data has %d bytes, expected at most %d", path, len(obj.Data), l.options.MaxData)
	}
	return nil
}
