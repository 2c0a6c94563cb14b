package badger

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// How a batch is committed.
//
// A batch that fits into one transaction of Badger is one transaction, which also holds the last revision. The
// transaction has the next version. After the commit, readers see that version.
//
// A larger batch takes several transactions, with consecutive versions:
//
//	1  partsKey becomes 1: everything newer than this belongs together
//	2  the changes, in parts
//	3  the last revision, and partsKey becomes 0
//
// Readers go from the version before 1 to that of 3: they never see a part. If a crash comes before 3 is durable,
// partsKey stays 1, and the next start rolls back everything newer than it (undo). Without a crash this costs
// nothing: no change is written twice, and the earlier values exist anyway, because Badger keeps every visible
// version.

// Commit implements enginekit.Database. It commits valid changes atomically.
func (s *store) Commit(changes []storage.Change, revision uint64) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.health.failure(); err != nil {
		return err
	}
	cleared, shift := lastClear(changes), 0
	if cleared >= 0 {
		// Changes before a clear have no effect.
		paths, err := s.Keys()
		if err != nil {
			return err
		}
		all := make([]storage.Change, len(paths), len(paths)+len(changes))
		for i, path := range paths {
			all[i].Key = path
		}
		changes, shift = append(all, changes[cleared+1:]...), cleared+1-len(paths)
	}
	if refused := s.admit(changes); refused != nil {
		refused.Index = max(refused.Index+shift, cleared, 0)
		return refused
	}
	b := &batch{store: s, changes: changes, revision: max(revision, s.revision)}
	if err := s.guard(b.commit); err != nil {
		return err
	}
	s.revision = b.revision
	s.visible.Store(s.version)
	s.count(changes)
	return nil
}

func lastClear(changes []storage.Change) int {
	for i := len(changes) - 1; i >= 0; i-- {
		if changes[i].IsClear() {
			return i
		}
	}
	return -1
}

// count updates the hint of the number of objects.
func (s *store) count(changes []storage.Change) {
	for _, c := range changes {
		if c.Object != nil {
			s.objects.Add(1)
		} else {
			s.objects.Add(-1)
		}
	}
}

// batch is a batch that is being written.
type batch struct {
	store    *store
	changes  []storage.Change // the remaining changes
	revision uint64
}

// commit commits the batch, in one transaction if it fits.
func (b *batch) commit() error {
	txn := b.store.begin()
	defer txn.Discard()
	if err := txn.Set(revisionKey, encodeNumber(b.revision)); err != nil {
		return err
	}
	n, err := b.fill(txn)
	if err != nil {
		return err
	}
	if n < len(b.changes) {
		txn.Discard()
		return b.commitParts()
	}
	return b.store.commitNext(txn)
}

// commitParts commits the batch in several transactions.
func (b *batch) commitParts() error {
	s := b.store
	err := s.transact(func(txn *badger.Txn) error { return txn.Set(partsKey, encodeNumber(1)) })
	if err != nil {
		return err
	}
	for part := 0; err == nil && len(b.changes) > 0; part++ {
		if s.options.hooks.part != nil {
			err = s.options.hooks.part(part)
		}
		if err == nil {
			err = s.transact(func(txn *badger.Txn) error {
				n, err := b.fill(txn)
				b.changes = b.changes[n:]
				return err
			})
		}
	}
	if err == nil {
		err = s.transact(func(txn *badger.Txn) error {
			return cmp.Or(txn.Set(revisionKey, encodeNumber(b.revision)), txn.Set(partsKey, encodeNumber(0)))
		})
	}
	if err != nil {
		// Nothing may build on what was written: the next start rolls it back.
		return s.health.fail(err)
	}
	return nil
}

// fill adds changes to a transaction until it is full or all are added, and returns how many.
func (b *batch) fill(txn *badger.Txn) (n int, err error) {
	space := b.store.space
	total, size := b.extent()
	memory := make([]byte, 0, size) // holds all keys and values
	for n < total {
		c := b.changes[n]
		from := len(memory)
		memory = space.Append(memory, c.Key)
		key := memory[from:len(memory):len(memory)]
		if c.Object == nil {
			err = txn.Delete(key)
		} else {
			from = len(memory)
			memory = enginekit.AppendObject(memory, c.Key, c.Object)
			err = txn.Set(key, memory[from:len(memory):len(memory)])
		}
		if errors.Is(err, badger.ErrTxnTooBig) && n > 0 {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("key %q: %w", c.Key, err)
		}
		n++
	}
	return n, nil
}

// extent returns how many changes to try in one transaction, and their size.
func (b *batch) extent() (n, size int) {
	count, bytes := int(b.store.db.MaxBatchCount()), int(b.store.db.MaxBatchSize())
	for n < len(b.changes) && n < count && size < bytes {
		c := b.changes[n]
		size += b.store.space.Size(c.Key)
		if c.Object != nil {
			size += enginekit.ObjectSize(c.Object)
		}
		n++
	}
	return n, size
}

// annotate commits notes that are not a part of the content. They are durable when it returns. The caller holds
// writing.
func (s *store) annotate(fill func(txn *badger.Txn) error) error {
	if err := s.health.failure(); err != nil {
		return err
	}
	return s.guard(func() error {
		if err := s.transact(fill); err != nil {
			return err
		}
		s.visible.Store(s.version)
		if s.options.Durability == DurabilitySync {
			return nil
		}
		return s.db.Sync()
	})
}

// transact commits a transaction as the next version. The caller holds writing.
func (s *store) transact(fill func(txn *badger.Txn) error) error {
	txn := s.begin()
	defer txn.Discard()
	if err := cmp.Or(txn.Set(revisionKey, encodeNumber(s.revision)), fill(txn)); err != nil {
		return err
	}
	return s.commitNext(txn)
}

// begin returns a transaction. The caller fills it, and discards it in any case.
func (s *store) begin() *badger.Txn { return s.db.NewTransactionAt(latest, true) }

// commitNext commits a transaction as the next version. It returns when the transaction is as durable as requested,
// or when its outcome is unknown.
func (s *store) commitNext(txn *badger.Txn) error {
	s.version++
	done := make(chan error, 1)
	err := txn.CommitAt(s.version, func(err error) { done <- err })
	if err == nil {
		select {
		case err = <-done:
		case <-s.health.failed:
			return s.health.failure()
		}
	}
	if err == nil && s.options.Durability == DurabilitySync {
		err = s.moveMark()
	}
	if err != nil {
		return s.health.fail(err)
	}
	return s.health.failure()
}
