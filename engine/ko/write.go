package ko

import (
	"fmt"
	"math"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"

	"github.com/oolith-db/oolith/internal/jsonvalid"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// defaultMaxBatch limits the bytes of one batch. A batch is in memory twice, and on disk in one record that a start
// has to replay.
const defaultMaxBatch = 512 << 20

// recordOverhead is a upper bound of what a batch keeps of each change besides its key and entry: a kind, two
// lengths, and their positions.
const recordOverhead = 64

// Commit implements enginekit.Database. Keys that are not valid paths, see Options.SkipInvalid, survive a clear.
func (d *database) Commit(changes []storage.Change, revision uint64) error {
	size, clears, err := d.measure(changes)
	if err != nil {
		return err
	}
	if clears {
		d.writes.Lock()
		defer d.writes.Unlock()
	} else {
		d.writes.RLock()
		defer d.writes.RUnlock()
	}
	if err := d.disk.failure(); err != nil {
		return err
	}
	b := newBatch(size)
	if err := d.addChanges(b, changes, size); err != nil {
		return err
	}
	err = d.revisions.reserve(revision)
	if err == nil {
		err = d.db.Write(b, &opt.WriteOptions{Sync: d.options.Durability == DurabilitySync})
	}
	if err != nil {
		return d.disk.fail(err)
	}
	d.revisions.committed(revision)
	return nil
}

// measure validates the changes and returns the size of their batch, without what a clear adds. Nothing is written
// before all changes have been validated.
func (d *database) measure(changes []storage.Change) (size int, clears bool, err error) {
	for i, c := range changes {
		switch {
		case c.IsClear():
			clears = true
		case c.Object == nil:
			size += len(c.Key) + recordOverhead
		default:
			if err = checkData(c.Key, c.Object); err == nil {
				size += len(c.Key) + entrySize(c.Key, c.Object) + recordOverhead
			}
		}
		if err == nil && size > d.maxBatch {
			err = fmt.Errorf("key %q: with it the batch takes %d bytes, expected at most %d", c.Key, size, d.maxBatch)
		}
		if err != nil {
			return 0, false, &storage.EntryError{Index: i, Err: err}
		}
	}
	return size, clears, nil
}

// newBatch returns a batch with the given capacity. Beyond it the batch grows by doubling. LevelDB's own growth
// copies a batch of many deletes again and again.
func newBatch(size int) *leveldb.Batch {
	return leveldb.MakeBatchWithConfig(&leveldb.BatchConfig{InitialCapacity: size, GrowLimit: math.MaxInt})
}

// addChanges adds changes to a batch. If one of them clears, the caller excludes other writes.
func (d *database) addChanges(b *leveldb.Batch, changes []storage.Change, size int) error {
	var entry []byte
	for i, c := range changes {
		switch {
		case c.IsClear():
			b.Reset() // nothing before it remains
			if err := d.addClear(b, i, size); err != nil {
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

// addClear adds a delete of each existing object.
func (d *database) addClear(b *leveldb.Batch, index, size int) error {
	tooLarge := false
	err := d.eachKey(func(path string, _ []byte) {
		if size += len(path) + recordOverhead; size > d.maxBatch {
			tooLarge = true
			return
		}
		b.Delete([]byte(path))
	})
	if err != nil {
		// Nothing was written, so only this change fails.
		return &storage.EntryError{Index: index, Err: fmt.Errorf("ko: read the keys to clear in %s: %w", d.dir, explain(err))}
	}
	if tooLarge {
		return &storage.EntryError{Index: index, Err: fmt.Errorf("to clear all takes a batch of %d bytes, expected at most %d; "+
			"delete parts of it first, or remove the directory of the closed store", size, d.maxBatch)}
	}
	return nil
}

// checkData accepts only data that the older software can read.
func checkData(path string, obj *meta.Object) error {
	if !jsonvalid.Grammar(obj.Data) {
		return fmt.Errorf("path %q: %w, it is not one JSON value", path, storage.ErrInvalidStorageData)
	}
	if len(obj.Data) > 2*maxNesting && nesting(obj.Data) > maxNesting {
		return fmt.Errorf("path %q: the data nests deeper than %d levels", path, maxNesting)
	}
	return nil
}

// maxNesting is the maximum nesting depth of data: encoding/json, and so the older software, reads 10,000 levels, and
// the entry around the data is one.
const maxNesting = 10000 - 1

// nesting returns the nesting depth of valid JSON.
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

// LastRevision implements enginekit.Database. After a crash it is ahead of the committed revisions, by at most
// 65,536.
func (d *database) LastRevision() (uint64, error) { return d.revisions.highest(), nil }
