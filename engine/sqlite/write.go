package sqlite

import (
	"cmp"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/storage"
)

// LastRevision implements enginekit.Database.
func (d *database) LastRevision() (uint64, error) { return d.revision.Load(), nil }

// batch is the content of one transaction.
type batch struct {
	changes []storage.Change
	// at is the index of the change in progress.
	at int
}

// apply makes the changes in a transaction.
func (b *batch) apply(c *conn) (err error) {
	for i, change := range b.changes {
		b.at = i
		switch {
		case change.IsClear():
			err = c.run(clearObjects)
		case change.Object == nil:
			err = c.run(deleteObject, change.Key)
		default:
			err = c.put(change.Key, change.Object)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// blamed returns the change that a rejection concerns: the change in progress, or the one with the most data if all
// were made.
func (b *batch) blamed(whole bool) int {
	if !whole {
		return b.at
	}
	largest, size := 0, -1
	for i, change := range b.changes {
		if change.Object != nil && len(change.Object.Data) > size {
			largest, size = i, len(change.Object.Data)
		}
	}
	return largest
}

// Commit implements enginekit.Database. If the disk has no space for the batch, or another program keeps the file
// from being written, Commit rejects the batch with an *storage.EntryError of the largest entry in doubt. Nothing of
// it is written then.
func (d *database) Commit(changes []storage.Change, revision uint64) error {
	d.write.Lock()
	defer d.write.Unlock()
	if d.failed != nil {
		return d.failed
	}
	if err := d.probe(); err != nil {
		return &storage.EntryError{Err: d.wrap("commit", err)}
	}
	b := batch{changes: changes}
	whole, err := d.attempt(&b, revision)
	if isNoRoom(err) && d.makeRoom() {
		whole, err = d.attempt(&b, revision)
	}
	d.noteRefusal(err)
	if err == nil {
		d.tend()
	}
	return d.outcome("commit", b.blamed(whole), err)
}

// outcome returns the error of a write: a rejection of a change, or an error that stops all writes.
func (d *database) outcome(doing string, blamed int, err error) error {
	switch {
	case err == nil:
		return nil
	case isRefusal(err):
		return &storage.EntryError{Index: blamed, Err: d.wrap(doing, err)}
	}
	return d.stop(err)
}

// attempt makes one transaction of a batch. After an error, whole reports whether all changes were made and the
// commit itself failed.
func (d *database) attempt(b *batch, revision uint64) (whole bool, err error) {
	defer d.writer.guard(&err)
	err = d.writer.transact(func() error {
		if err := b.apply(d.writer); err != nil {
			return err
		}
		whole = true
		if revision <= d.revision.Load() {
			return nil
		}
		return d.writer.putNote(noteRevision, func(s *sqlite3.Stmt) error { return s.BindInt64(2, int64(revision)) })
	})
	if err == nil && revision > d.revision.Load() {
		d.revision.Store(revision)
	}
	return whole, err
}

// stop permanently ends all writes and returns the reason.
func (d *database) stop(cause error) error {
	d.failed = cmp.Or(d.failed, cause)
	return d.failed
}
