package badger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Set implements storage.Layer. It is atomic, and as durable as the layer is configured
// to be when it returns. Revision is stored as given, without a part in LastRevision.
func (l *Layer) Set(path string, obj *meta.Object) error {
	if err := enginekit.CheckPut(path, obj, l.options.MaxData); err != nil {
		return err
	}
	return l.write(func(s *store) error {
		return s.commit([]storage.Change{{Key: path, Object: obj}}, 0)
	})
}

// Del implements storage.Layer.
func (l *Layer) Del(path string) error {
	if err := enginekit.CheckPath(path); err != nil {
		return err
	}
	return l.write(func(s *store) error {
		if _, err := s.get(path); err != nil && !errors.Is(err, storage.ErrUndecodable) {
			return err
		}
		return s.commit([]storage.Change{{Key: path}}, 0)
	})
}

// Clear implements storage.Layer. An error can only be logged here: a store clears
// through Commit, which returns it.
func (l *Layer) Clear() {
	err := l.write(func(s *store) error { return s.commit([]storage.Change{{Clear: true}}, 0) })
	if err != nil && !errors.Is(err, storage.ErrNotActive) {
		l.options.Logger.Error("badger: clear failed, nothing was removed", "error", err)
	}
}

// Commit implements storage.Batcher.
func (l *Layer) Commit(changes []storage.Change) error {
	revision, err := enginekit.CheckChanges(changes, l.options.MaxData)
	if err != nil {
		return err
	}
	return l.writing(func(s *store) error { return s.commit(changes, revision) })
}

// write calls a writer of one change. A refusal of that change is its plain error.
func (l *Layer) write(writer func(s *store) error) error { return enginekit.Alone(l.writing(writer)) }

// writing calls a writer, alone.
func (l *Layer) writing(writer func(s *store) error) error {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.store == nil {
		return storage.ErrNotActive
	}
	if l.options.ReadOnly {
		return l.store.readOnlyError()
	}
	l.store.writing.Lock()
	defer l.store.writing.Unlock()
	return writer(l.store)
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
	if l.options.ReadOnly {
		return l.readID()
	}
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
			return fmt.Errorf("%w: %s", storage.ErrIncomplete, enginekit.OneLine(reason))
		}
		return nil
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil
	}
	return err
}
