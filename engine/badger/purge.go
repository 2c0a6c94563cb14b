package badger

import (
	"bytes"
	"context"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// The removal of what a clear left behind: the objects of older generations. No view of today shows
// them. They go in the background, some thousands at a time, so that writers get in between; what
// is left when the store is closed goes after the next start.

// purgeSoon tells upkeep that there are older generations.
func (s *store) purgeSoon() {
	select {
	case s.purging <- struct{}{}:
	default: // it is told already
	}
}

// purge removes what there is of older generations. It ends early with the context's error.
func (s *store) purge(ctx context.Context) error {
	for cursor := []byte{objectKind}; cursor != nil; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if cursor, err = s.purgeSome(cursor); err != nil {
			return err
		}
	}
	return nil
}

// purgeSome removes some entries from a key on, and returns where to go on, or nil at the end.
func (s *store) purgeSome(cursor []byte) (next []byte, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := enginekit.FirstError(s.failure(), s.admit(nil)); err != nil {
		return nil, err
	}
	generation := s.view.Load().generation
	err = s.guard("remove what was cleared", func() error {
		var older [][]byte
		if older, next = s.older(generation, cursor); len(older) == 0 {
			return nil
		}
		return s.transact(func(txn *badger.Txn) error {
			for _, key := range older {
				if err := txn.Delete(key); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err == nil {
		s.publish(generation)
	}
	return next, err
}

// older returns some keys of generations before one, from a cursor on, and where to go on.
func (s *store) older(generation uint64, cursor []byte) (keys [][]byte, next []byte) {
	first, _ := spaceOf(generation).Bounds()
	most := min(purgeChunk, int(s.db.MaxBatchCount()/2))
	reader := s.db.NewTransactionAt(s.version, false)
	defer reader.Discard()
	it := reader.NewIterator(badger.IteratorOptions{Prefix: []byte{objectKind}})
	defer it.Close()
	for it.Seek(cursor); it.Valid(); it.Next() {
		key := it.Item().KeyCopy(nil)
		if bytes.Compare(key, first) >= 0 {
			break
		}
		if len(keys) == most {
			return keys, key
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// purgeChunk is how many entries are removed at a time, at most.
const purgeChunk = 4096
