package badger

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// How a batch is committed.
//
// A batch that fits into one transaction of Badger is one, with the notes that belong to it
// (revision, generation). The transaction has the next version. Then the view of readers is
// replaced by one of that version.
//
// A larger batch takes several transactions, version after version:
//
//	1  partsKey becomes 1: what is newer than this belongs together
//	2  the changes, in parts
//	3  the notes that belong to the batch, and partsKey becomes 0
//
// Readers go from the view before 1 to the view of 3: they never see a part. A crash before 3 is
// durable leaves partsKey at 1, and the next start takes back all that is newer than it (undo).
// That costs nothing while all goes well: no change is written twice, and the values before are
// there anyway, since Badger keeps every version that a view can show.
//
// A clear increases the generation that is part of each object's key, so that it takes the same
// time whatever the store holds. What was there before is removed in the background (purge.go).

// commit commits changes that are valid, atomically. The caller holds writing.
func (s *store) commit(changes []storage.Change, revision uint64) error {
	if err := s.failure(); err != nil {
		return err
	}
	if err := s.admit(changes); err != nil {
		return err
	}
	if len(changes) == 0 && revision <= s.revision {
		return nil
	}
	generation := s.view.Load().generation
	cleared := lastClear(changes) + 1
	if cleared > 0 {
		// What stands before a clear comes to nothing.
		changes, generation = changes[cleared:], generation+1
	}
	b := &batch{
		store:      s,
		changes:    changes,
		objects:    spaceOf(generation),
		revision:   max(revision, s.revision),
		generation: generation,
		cleared:    cleared > 0,
	}
	if err := s.guard("commit", b.commit); err != nil {
		return err
	}
	s.revision = b.revision
	s.publish(generation)
	s.count(changes, cleared > 0)
	if cleared > 0 {
		s.purgeSoon()
	}
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

// count keeps the hint at the number of objects.
func (s *store) count(changes []storage.Change, cleared bool) {
	if cleared {
		s.objects.Store(0)
	}
	var n int64
	for _, c := range changes {
		if c.Object != nil {
			n++
		} else {
			n--
		}
	}
	s.objects.Add(n)
}

// batch is a batch on its way into the database.
type batch struct {
	store      *store
	changes    []storage.Change // that are left
	objects    enginekit.Space
	revision   uint64
	generation uint64
	cleared    bool
}

// commit commits the batch, in one transaction if it fits.
func (b *batch) commit() error {
	whole := len(b.changes) // to be
	txn := b.store.begin()
	defer txn.Discard()
	if err := b.addNotes(txn); err != nil {
		return b.store.wrap("make a batch", err)
	}
	n, err := b.fill(txn)
	if err != nil {
		return b.store.wrap("make a batch", err)
	}
	if n < whole {
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
			return enginekit.FirstError(b.addNotes(txn), txn.Set(partsKey, encodeNumber(0)))
		})
	}
	if err != nil {
		// What is written is not to be built on: it is taken back by the next start.
		s.health.fail(err)
	}
	return err
}

// addNotes adds what the batch changes beside objects.
func (b *batch) addNotes(txn *badger.Txn) error {
	if err := txn.Set(revisionKey, encodeNumber(b.revision)); err != nil {
		return err
	}
	if b.cleared {
		return txn.Set(generationKey, encodeNumber(b.generation))
	}
	return nil
}

// maxPart bounds the bytes of one transaction, most of which can be values of the value log, which
// Badger does not count.
const maxPart = 32 << 20

// fill adds changes to a transaction until it is full or all are added, and returns how many.
func (b *batch) fill(txn *badger.Txn) (n int, err error) {
	total, size := b.extent()
	memory := make([]byte, 0, size) // of all keys and values
	for n < total {
		c := b.changes[n]
		from := len(memory)
		memory = b.objects.Append(memory, c.Key)
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
		b.store.noteLogged(len(memory) - from)
		n++
	}
	return n, nil
}

// extent returns how many changes are worth trying in one transaction, and their size.
func (b *batch) extent() (n, size int) {
	limit := int(b.store.db.MaxBatchCount())
	for n < len(b.changes) && n < limit && (n == 0 || size < maxPart) {
		c := b.changes[n]
		size += b.objects.Size(c.Key)
		if c.Object != nil {
			size += enginekit.ObjectSize(c.Object)
		}
		n++
	}
	return n, size
}

// noteLogged notes a value that goes to the value log.
func (s *store) noteLogged(size int) {
	if int64(size) >= s.options.ValueThreshold {
		s.inLog.Add(int64(size))
	}
}

// annotate commits notes that are not a part of the content. They are durable when it returns.
// The caller holds writing.
func (s *store) annotate(doing string, fill func(txn *badger.Txn) error) error {
	if err := s.failure(); err != nil {
		return err
	}
	return s.guard(doing, func() error {
		if err := s.transact(fill); err != nil {
			return err
		}
		s.publish(s.view.Load().generation)
		if s.options.Durability == DurabilitySync {
			return nil
		}
		return s.wrap(doing, s.db.Sync())
	})
}

// transact commits a transaction as the next version. The caller holds writing.
func (s *store) transact(fill func(txn *badger.Txn) error) error {
	txn := s.begin()
	defer txn.Discard()
	if err := enginekit.FirstError(txn.Set(revisionKey, encodeNumber(s.revision)), fill(txn)); err != nil {
		return s.wrap("make a transaction", err)
	}
	return s.commitNext(txn)
}

// begin returns a transaction to be filled, and to be discarded in any case.
func (s *store) begin() *badger.Txn { return s.db.NewTransactionAt(latest, true) }

// commitNext commits a transaction as the next version. It returns when the transaction is as
// durable as is asked for, or when nobody can tell any more.
func (s *store) commitNext(txn *badger.Txn) error {
	s.version++
	done := make(chan error, 1)
	if err := txn.CommitAt(s.version, func(err error) { done <- err }); err != nil {
		s.health.fail(err)
		return s.failure()
	}
	select {
	case err := <-done:
		if err != nil {
			s.health.fail(err)
		}
	case <-s.health.failed:
	}
	return s.failure()
}
