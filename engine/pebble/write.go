package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// maxBatch bounds the bytes of one batch, safely below what Pebble takes on a machine of
// any width.
const maxBatch = 1 << 30

// recordOverhead is at least what a batch adds to a key and a value: a kind and two
// lengths.
const recordOverhead = 1 + 2*binary.MaxVarintLen32

// Set implements storage.Layer. It is atomic, and as durable as the layer is configured
// to be when it returns. Revision is stored as given, without a part in LastRevision.
func (l *Layer) Set(path string, obj *meta.Object) error {
	if err := enginekit.CheckPut(path, obj, l.options.MaxData); err != nil {
		return err
	}
	l.life.RLock()
	defer l.life.RUnlock()
	return l.commit(batchSize(path, obj), func(b *pebble.Batch) error { return put(b, path, obj) })
}

// Del implements storage.Layer. An entry that cannot be decoded is removed like any other.
func (l *Layer) Del(path string) error {
	if err := enginekit.CheckPath(path); err != nil {
		return err
	}
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return storage.ErrNotActive
	}
	if l.options.ReadOnly {
		return storage.ErrReadOnly
	}
	lock := l.delLocks.Of(path)
	lock.Lock()
	defer lock.Unlock()
	raw := objectKeys.Append(nil, path)
	if _, err := l.lookup(path, raw); err != nil && !errors.Is(err, storage.ErrUndecodable) {
		return err
	}
	return l.commit(0, func(b *pebble.Batch) error { return b.Delete(raw, nil) })
}

// Clear implements storage.Layer. An error can only be logged here: a store clears
// through Commit, which returns it.
func (l *Layer) Clear() {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return
	}
	if err := l.commit(0, clearObjects); err != nil {
		l.options.Logger.Error("pebble: clear failed, nothing was removed", "error", err)
	}
}

// Commit implements storage.Batcher.
func (l *Layer) Commit(changes []storage.Change) error {
	size, revision, err := l.measure(changes)
	if err != nil {
		return err
	}
	l.life.RLock()
	defer l.life.RUnlock()
	return l.commit(size, func(b *pebble.Batch) error { return addChanges(b, changes, revision) })
}

// addChanges adds changes to a batch, and the note of their highest revision.
func addChanges(b *pebble.Batch, changes []storage.Change, revision uint64) error {
	for _, c := range changes {
		if err := addChange(b, c); err != nil {
			return err
		}
	}
	if revision == 0 {
		return nil
	}
	return b.Set(revisionKey, binary.LittleEndian.AppendUint64(nil, revision), nil)
}

// measure validates the changes and returns their size in a batch and their highest
// revision. Nothing is written before all of them are known to be good.
func (l *Layer) measure(changes []storage.Change) (size int, revision uint64, err error) {
	size = 128 // the batch's own header, the mark and the revision
	for i, c := range changes {
		revision = max(revision, c.Revision)
		switch {
		case c.IsClear():
			err = enginekit.CheckClear(c)
			size += 16
		case c.Object == nil:
			err = enginekit.CheckPath(c.Key)
			size += objectKeys.Size(c.Key) + recordOverhead
		default:
			err = enginekit.CheckPut(c.Key, c.Object, l.options.MaxData)
			size += batchSize(c.Key, c.Object)
		}
		if err == nil && size > maxBatch {
			err = fmt.Errorf("key %q: with it the batch takes %d bytes, expected at most %d", c.Key, size, maxBatch)
		}
		if err != nil {
			return 0, 0, &storage.EntryError{Index: i, Err: err}
		}
	}
	return size, revision, nil
}

// addChange adds one change to a batch.
func addChange(b *pebble.Batch, c storage.Change) error {
	switch {
	case c.IsClear():
		return clearObjects(b)
	case c.Object == nil:
		op := b.DeleteDeferred(objectKeys.Size(c.Key))
		objectKeys.Append(op.Key[:0], c.Key)
		return op.Finish()
	default:
		return put(b, c.Key, c.Object)
	}
}

// put encodes an object right into the memory of a batch.
func put(b *pebble.Batch, path string, obj *meta.Object) error {
	op := b.SetDeferred(objectKeys.Size(path), enginekit.ObjectSize(obj))
	objectKeys.Append(op.Key[:0], path)
	enginekit.AppendObject(op.Value[:0], path, obj)
	return op.Finish()
}

func clearObjects(b *pebble.Batch) error { return b.DeleteRange(firstObject, lastObject, nil) }

func batchSize(path string, obj *meta.Object) int {
	return objectKeys.Size(path) + enginekit.ObjectSize(obj) + recordOverhead
}

// commit applies one batch atomically, and durably where that is asked for. The caller
// holds life for reading.
func (l *Layer) commit(size int, fill func(*pebble.Batch) error) error {
	b, err := l.apply(size, fill)
	if err != nil {
		return err
	}
	return l.await(b)
}

// apply gives a batch its place in the write-ahead log and makes it visible. The caller
// holds life for reading, until await has returned.
func (l *Layer) apply(size int, fill func(*pebble.Batch) error) (*pebble.Batch, error) {
	if l.db == nil {
		return nil, storage.ErrNotActive
	}
	if err := l.failure(); err != nil {
		return nil, err
	}
	b := l.db.NewBatchWithSize(size)
	err := addMark(b, l.disk.synced.Load())
	if err == nil {
		err = fill(b)
	}
	if err != nil {
		return nil, l.wrap("make a batch", enginekit.FirstError(err, b.Close()))
	}
	if l.options.Durability == DurabilityNoSync {
		err = l.db.Apply(b, pebble.NoSync)
	} else {
		err = l.db.ApplyNoSyncWait(b, pebble.Sync)
	}
	if err != nil {
		return nil, l.wrap("commit", err)
	}
	return b, nil
}

// await returns when an applied batch is as durable as is asked for.
func (l *Layer) await(b *pebble.Batch) error {
	if l.options.Durability == DurabilitySync {
		if err := b.SyncWait(); err != nil {
			return l.wrap("commit", err)
		}
	}
	// A disk that failed meanwhile has taken nothing more, although Pebble was told that
	// all is well; see failstopFS.
	if err := l.failure(); err != nil {
		return err
	}
	return l.wrap("commit", b.Close())
}

// failure returns why the layer takes no more writes, or nil.
func (l *Layer) failure() error {
	if l.options.ReadOnly {
		return storage.ErrReadOnly
	}
	cause := l.disk.failure()
	if cause == nil {
		return nil
	}
	return fmt.Errorf("pebble: the store in %s takes no more writes since its disk failed; "+
		"see to the disk, then close the store and start it again: %w", l.dir, cause)
}

// LastRevision implements storage.Batcher.
func (l *Layer) LastRevision() (uint64, error) {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return 0, storage.ErrNotActive
	}
	value, closer, err := l.db.Get(revisionKey)
	if err == pebble.ErrNotFound {
		return 0, nil
	}
	if err != nil {
		return 0, l.wrap("read the last revision", err)
	}
	if len(value) != 8 {
		err := fmt.Errorf("it has %d bytes, expected 8", len(value))
		return 0, l.wrap("read the last revision", enginekit.FirstError(err, closer.Close()))
	}
	revision := binary.LittleEndian.Uint64(value)
	return revision, l.wrap("read the last revision", closer.Close())
}

// wrap names the directory and what was being done; it keeps nil.
func (l *Layer) wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	if pebble.IsCorruptionError(err) {
		return fmt.Errorf("pebble: %s in %s: the store is corrupt, restore it from a backup: %w", doing, l.dir, oneLine{err})
	}
	return fmt.Errorf("pebble: %s in %s: %w", doing, l.dir, err)
}
