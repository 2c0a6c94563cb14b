package badger

import (
	"bytes"
	"errors"

	"github.com/dgraph-io/badger/v4"
)

// undo rolls back an incomplete batch of several transactions that a crash left: see commit.go. If a crash interrupts
// undo itself, the next start repeats it. It runs before anything else reads the database.
func (s *store) undo() error {
	before, err := s.partsVersion()
	if err != nil || before == 0 {
		return err
	}
	s.log.Info("badger: an unfinished batch is taken back", "dir", s.dir)
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.revision, err = s.note(revisionKey, before); err != nil {
		return err
	}
	for cursor := []byte{}; cursor != nil; {
		if s.options.hooks.undo != nil {
			s.options.hooks.undo()
		}
		err := s.transact(func(txn *badger.Txn) error {
			var err error
			cursor, err = s.undoSome(txn, before, cursor)
			return err
		})
		if err != nil {
			return err
		}
	}
	return s.transact(func(txn *badger.Txn) error { return txn.Set(partsKey, encodeNumber(0)) })
}

// partsVersion returns the version of partsKey if its value is 1, else 0.
func (s *store) partsVersion() (version uint64, err error) {
	_, err = s.lookup(partsKey, latest, func(value []byte, written uint64) error {
		open, err := decodeNumber(partsKey, value)
		if open != 0 {
			version = written
		}
		return err
	})
	return version, err
}

// undoSome puts the values that the keys from a cursor on had before a version into a transaction. It returns where
// to continue, or nil at the end.
func (s *store) undoSome(txn *badger.Txn, before uint64, cursor []byte) (next []byte, err error) {
	reader := s.db.NewTransactionAt(s.version, false)
	defer reader.Discard()
	it := reader.NewIterator(badger.IteratorOptions{AllVersions: true, SinceTs: before})
	defer it.Close()
	var last []byte
	size := 0
	for it.Seek(cursor); it.Valid(); it.Next() {
		key := it.Item().Key()
		if bytes.Equal(key, last) || bytes.Equal(key, partsKey) || bytes.Equal(key, revisionKey) {
			continue // seen, or written by each transaction
		}
		last = it.Item().KeyCopy(nil)
		if int64(size) > s.db.MaxBatchSize() {
			return last, nil
		}
		value, err := s.valueAt(last, before)
		if err != nil {
			return nil, err
		}
		if value == nil {
			err = txn.Delete(last)
		} else {
			err = txn.Set(last, value)
		}
		if errors.Is(err, badger.ErrTxnTooBig) {
			return last, nil
		}
		if err != nil {
			return nil, err
		}
		size += len(value)
	}
	return nil, nil
}

// valueAt returns a copy of the value of a key at a version; nil if it is absent.
func (s *store) valueAt(key []byte, version uint64) (value []byte, err error) {
	_, err = s.lookup(key, version, func(found []byte, _ uint64) error {
		value = append([]byte{}, found...)
		return nil
	})
	return value, err
}
