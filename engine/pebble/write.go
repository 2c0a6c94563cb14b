package pebble

import (
	"cmp"
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// maxBatch limits the bytes of one batch. It is safely below Pebble's limit on machines of any word size.
const maxBatch = 1 << 30

// recordOverhead is a upper bound of what a batch adds to a key and a value: a kind and two lengths.
const recordOverhead = 1 + 2*binary.MaxVarintLen32

// Commit implements enginekit.Database.
func (d *database) Commit(changes []storage.Change, revision uint64) error {
	b, err := d.apply(changes, revision)
	if err != nil {
		return err
	}
	return d.await(b)
}

// CommitAsync implements storage.AsyncBatcher. When it returns, the batch has its position in the write-ahead log and
// is visible to reads. It is durable when wait returns. Close waits for wait.
func (l *Layer) CommitAsync(changes []storage.Change) (wait func() error, err error) {
	revision, err := l.life.Check(changes)
	if err != nil {
		return nil, err
	}
	d, err := l.life.Enter()
	if err != nil {
		return nil, err
	}
	var b *pebble.Batch
	if err = l.life.Failure(); err == nil {
		b, err = d.apply(changes, revision)
		err = l.life.Written(err)
	}
	if err != nil {
		l.life.Leave()
		return nil, err
	}
	return func() error {
		defer l.life.Leave()
		return l.life.Written(d.await(b))
	}, nil
}

// addChanges adds changes and the record of their highest revision to a batch.
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

// measure returns the size of changes in a batch. It fails if one of them makes the batch too large.
func measure(changes []storage.Change) (size int, err error) {
	size = 128 // the batch's own header and the revision
	for i, c := range changes {
		switch {
		case c.IsClear():
			size += 16
		case c.Object == nil:
			size += objectKeys.Size(c.Key) + recordOverhead
		default:
			size += objectKeys.Size(c.Key) + enginekit.ObjectSize(c.Object) + recordOverhead
		}
		if size > maxBatch {
			err := fmt.Errorf("key %q: with it the batch takes %d bytes, expected at most %d", c.Key, size, maxBatch)
			return 0, &storage.EntryError{Index: i, Err: err}
		}
	}
	return size, nil
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

// put encodes an object directly into the memory of a batch.
func put(b *pebble.Batch, path string, obj *meta.Object) error {
	op := b.SetDeferred(objectKeys.Size(path), enginekit.ObjectSize(obj))
	objectKeys.Append(op.Key[:0], path)
	enginekit.AppendObject(op.Value[:0], path, obj)
	return op.Finish()
}

func clearObjects(b *pebble.Batch) error { return b.DeleteRange(firstObject, lastObject, nil) }

// apply gives a batch its position in the write-ahead log and makes it visible.
func (d *database) apply(changes []storage.Change, revision uint64) (*pebble.Batch, error) {
	size, err := measure(changes)
	if err == nil {
		err = d.disk.failure()
	}
	if err != nil {
		return nil, err
	}
	b := d.db.NewBatchWithSize(size)
	if err := addChanges(b, changes, revision); err != nil {
		return nil, cmp.Or(err, b.Close())
	}
	if d.options.Durability == DurabilityNoSync {
		return b, d.db.Apply(b, pebble.NoSync)
	}
	return b, d.db.ApplyNoSyncWait(b, pebble.Sync)
}

// await returns once an applied batch is as durable as requested.
func (d *database) await(b *pebble.Batch) error {
	if d.options.Durability == DurabilitySync {
		if err := b.SyncWait(); err != nil {
			return err
		}
	}
	return d.settled(b.Close())
}

// settled returns the error of a write. It fails even if Pebble reports success, because a disk that has failed in
// the meantime takes no more data, and failstopFS hides that from Pebble.
func (d *database) settled(err error) error { return cmp.Or(d.disk.failure(), err) }

// LastRevision implements enginekit.Database.
func (d *database) LastRevision() (uint64, error) { return d.number(revisionKey) }
