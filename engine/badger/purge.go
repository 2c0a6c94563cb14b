package badger

import (
	"bytes"
	"context"
	"errors"

	"github.com/dgraph-io/badger/v4"
)

// The removal of what a clear left behind: the objects of older generations. No view of today shows
// them. They go in the background, some thousands at a time, so that writers get in between; what is left
// when the store is closed goes after the next start.

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
	if err := firstError(s.failure(), s.admit(nil)); err != nil {
		return nil, err
	}
	generation := s.view.Load().generation
	err = s.guard("remove what was cleared", func() error {
		txn := s.begun()
		defer txn.Discard()
		var n int
		if n, next, err = s.addOlder(txn, generation, cursor); err != nil || n == 0 {
			return err
		}
		return s.commitNext(txn)
	})
	if err == nil {
		s.publish(generation)
	}
	return next, err
}

// addOlder adds deletes of entries before a generation to a transaction, and returns their number and where to go on.
func (s *store) addOlder(txn *badger.Txn, generation uint64, cursor []byte) (n int, next []byte, err error) {
	first, _ := spaceOf(generation).Bounds()
	reader := s.db.NewTransactionAt(s.version, false)
	defer reader.Discard()
	it := reader.NewIterator(badger.IteratorOptions{Prefix: []byte{objectKind}})
	defer it.Close()
	for it.Seek(cursor); it.Valid(); it.Next() {
		key := it.Item().KeyCopy(nil)
		if bytes.Compare(key, first) >= 0 {
			break
		}
		if n == purgeChunk {
			return n, key, nil
		}
		err := txn.Delete(key)
		if errors.Is(err, badger.ErrTxnTooBig) {
			return n, key, nil
		}
		if err != nil {
			return n, nil, s.wrap("remove what was cleared", err)
		}
		n++
	}
	return n, nil, nil
}

// purgeChunk is how many entries are removed at a time.
const purgeChunk = 4096
