package ko

import (
	"fmt"
	"math"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"

	"github.com/oolith-db/oolith/internal/jsonvalid"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// defaultMaxBatch bounds the bytes of one batch. It is in memory twice, and on the disk in one
// record that a start has to replay.
const defaultMaxBatch = 512 << 20

// recordOverhead is at least what a batch keeps of each change besides its key and entry: a kind,
// two lengths, and where they are.
const recordOverhead = 64

// Set implements storage.Layer. It is atomic, and as durable as the layer is configured
// to be when it returns. Revision is stored as given, without a part in LastRevision while
// the layer is open.
func (l *Layer) Set(path string, obj *meta.Object) error {
	if err := l.checkPut(path, obj); err != nil {
		return err
	}
	return l.write(false, func() error {
		var b leveldb.Batch
		b.Put([]byte(path), appendEntry(nil, path, obj))
		return l.commit(&b, 0)
	})
}

// Del implements storage.Layer. An entry that cannot be decoded is removed like any other.
func (l *Layer) Del(path string) error {
	if err := enginekit.CheckPath(path); err != nil {
		return err
	}
	return l.write(false, func() error {
		lock := l.delLocks.Of(path)
		lock.Lock()
		defer lock.Unlock()
		found, err := l.has(path)
		if err != nil {
			return l.wrap(fmt.Sprintf("read key %q", path), err)
		}
		if !found {
			return notFound(path)
		}
		var b leveldb.Batch
		b.Delete([]byte(path))
		return l.commit(&b, 0)
	})
}

// has tells whether there is an entry at path.
func (l *Layer) has(path string) (found bool, err error) {
	defer catch(&err)
	return l.db.Has([]byte(path), nil)
}

// Clear implements storage.Layer. An error can only be logged here: a store clears
// through Commit, which returns it.
func (l *Layer) Clear() {
	if !l.Active() {
		return
	}
	if err := l.Commit([]storage.Change{{Clear: true}}); err != nil {
		l.options.Logger.Error("ko: clear failed, nothing was removed", "dir", l.dir, "error", err)
	}
}

// Commit implements storage.Batcher. Keys that are no valid paths, see Options.SkipInvalid,
// survive a clear.
func (l *Layer) Commit(changes []storage.Change) error {
	size, revision, clears, err := l.measure(changes)
	if err != nil {
		return err
	}
	return l.write(clears, func() error {
		b := newBatch(size)
		if err := l.addChanges(b, changes, size); err != nil {
			return err
		}
		return l.commit(b, revision)
	})
}

// write runs a write while the layer is active, and alone when it clears.
func (l *Layer) write(clears bool, do func() error) error {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return storage.ErrNotActive
	}
	if l.options.ReadOnly {
		return storage.ErrReadOnly
	}
	if clears {
		l.writes.Lock()
		defer l.writes.Unlock()
	} else {
		l.writes.RLock()
		defer l.writes.RUnlock()
	}
	return do()
}

// measure validates the changes and returns the size of their batch, without what a clear
// adds, and their highest revision. Nothing is written before all of them are known to be good.
func (l *Layer) measure(changes []storage.Change) (size int, revision uint64, clears bool, err error) {
	for i, c := range changes {
		revision = max(revision, c.Revision)
		switch {
		case c.IsClear():
			clears = true
			err = enginekit.CheckClear(c)
		case c.Object == nil:
			err = enginekit.CheckPath(c.Key)
			size += len(c.Key) + recordOverhead
		default:
			if err = l.checkPut(c.Key, c.Object); err == nil {
				size += len(c.Key) + entrySize(c.Key, c.Object) + recordOverhead
			}
		}
		if err == nil && size > l.maxBatch {
			err = fmt.Errorf("key %q: with it the batch takes %d bytes, expected at most %d", c.Key, size, l.maxBatch)
		}
		if err != nil {
			return 0, 0, false, &storage.EntryError{Index: i, Err: err}
		}
	}
	return size, revision, clears, nil
}

// newBatch returns a batch with room for a size. Beyond it grows by doubling, where LevelDB's own
// way copies a batch of many deletes again and again.
func newBatch(size int) *leveldb.Batch {
	return leveldb.MakeBatchWithConfig(&leveldb.BatchConfig{InitialCapacity: size, GrowLimit: math.MaxInt})
}

// addChanges adds changes to a batch. The caller is alone when one of them clears.
func (l *Layer) addChanges(b *leveldb.Batch, changes []storage.Change, size int) error {
	var entry []byte
	for i, c := range changes {
		switch {
		case c.IsClear():
			b.Reset() // nothing before it remains
			if err := l.addClear(b, i, size); err != nil {
				return err
			}
		case c.Object == nil:
			b.Delete([]byte(c.Key))
		default:
			entry = appendEntry(entry[:0], c.Key, c.Object)
			b.Put([]byte(c.Key), entry)
		}
	}
	return nil
}

// addClear adds a delete of each object that is there.
func (l *Layer) addClear(b *leveldb.Batch, index, size int) error {
	tooLarge := false
	err := l.eachKey(func(path string, _ []byte) {
		if size += len(path) + recordOverhead; size > l.maxBatch {
			tooLarge = true
			return
		}
		b.Delete([]byte(path))
	})
	if err != nil {
		// Nothing was written, so it is this change alone that fails.
		return &storage.EntryError{Index: index, Err: l.wrap("read the keys to clear", err)}
	}
	if tooLarge {
		return &storage.EntryError{Index: index, Err: fmt.Errorf("to clear all takes a batch of %d bytes, expected at most %d; "+
			"delete parts of it first, or remove the directory of the closed store", size, l.maxBatch)}
	}
	return nil
}

// checkPut accepts what can be stored.
func (l *Layer) checkPut(path string, obj *meta.Object) error {
	if err := enginekit.CheckPut(path, obj, l.options.MaxData); err != nil {
		return err
	}
	if !jsonvalid.Grammar(obj.Data) {
		return fmt.Errorf("path %q: %w: it is not one JSON value", path, storage.ErrInvalidStorageData)
	}
	if len(obj.Data) > 2*maxNesting && nesting(obj.Data) > maxNesting {
		return fmt.Errorf("path %q: the data nests deeper than %d levels", path, maxNesting)
	}
	return nil
}

// maxNesting is how deep data may nest: encoding/json, and so the older software, reads
// 10,000 levels, and the entry around the data is one.
const maxNesting = 10000 - 1

// nesting is how deep valid JSON nests.
func nesting(data []byte) int {
	depth, deepest := 0, 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			depth--
		case '"':
			for i++; data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		}
	}
	return deepest
}

// commit writes a batch atomically, and durably where that is asked for. The caller holds life
// and writes.
func (l *Layer) commit(b *leveldb.Batch, revision uint64) error {
	if err := l.failure(); err != nil {
		return err
	}
	if err := l.revisions.reserve(revision); err != nil {
		return l.stop("make room for revisions", err)
	}
	if err := l.db.Write(b, &opt.WriteOptions{Sync: l.options.Durability == DurabilitySync}); err != nil {
		return l.stop("commit", err)
	}
	l.revisions.committed(revision)
	return nil
}

// stop ends the writing of the layer after a failed commit.
func (l *Layer) stop(doing string, err error) error {
	l.disk.fail(err)
	return l.wrap(doing, err)
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
	return fmt.Errorf("ko: the store in %s takes no more writes since one failed; "+
		"see to the disk, then close the store and start it again: %w", l.dir, cause)
}

// LastRevision implements storage.Batcher. After a crash it is ahead of what was committed, by
// at most 65,536.
func (l *Layer) LastRevision() (uint64, error) {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return 0, storage.ErrNotActive
	}
	return l.revisions.highest(), nil
}
