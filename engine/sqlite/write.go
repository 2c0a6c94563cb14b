package sqlite

import (
	"errors"
	"fmt"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Set implements storage.Layer. It is atomic, and as durable as the layer is configured
// to be when it returns. Revision is stored as given, without a part in LastRevision.
func (l *Layer) Set(path string, obj *meta.Object) error {
	if err := enginekit.CheckPut(path, obj, l.options.MaxData); err != nil {
		return err
	}
	return enginekit.Alone(l.write([]storage.Change{{Key: path, Object: obj}}))
}

// Del implements storage.Layer.
func (l *Layer) Del(path string) error {
	if err := enginekit.CheckPath(path); err != nil {
		return err
	}
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return storage.ErrNotActive
	}
	return enginekit.Alone(l.db.commit(batch{deleted: path}))
}

// Clear implements storage.Layer. An error can only be logged here: a store clears
// through Commit, which returns it.
func (l *Layer) Clear() {
	err := enginekit.Alone(l.write([]storage.Change{{Clear: true}}))
	if err != nil && !errors.Is(err, storage.ErrNotActive) {
		l.options.Logger.Error("sqlite: clear failed, nothing was removed", "error", err)
	}
}

// Commit implements storage.Batcher. A disk that has no room for the batch, and another program
// that keeps the file from being written, are refusals: an *storage.EntryError, of the largest
// entry in doubt.
func (l *Layer) Commit(changes []storage.Change) error {
	if _, err := enginekit.CheckChanges(changes, l.options.MaxData); err != nil {
		return err
	}
	return l.write(changes)
}

// write commits changes that are valid.
func (l *Layer) write(changes []storage.Change) error {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return storage.ErrNotActive
	}
	if len(changes) == 0 {
		return nil
	}
	return l.db.commit(batch{changes: changes})
}

// LastRevision implements storage.Batcher.
func (l *Layer) LastRevision() (uint64, error) {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return 0, storage.ErrNotActive
	}
	return l.db.revision.Load(), nil
}

// batch is what one transaction does.
type batch struct {
	changes []storage.Change
	deleted string // or the path of a delete that has to find something
	// at is the change that is being made.
	at int
}

// apply makes the changes in a transaction and returns their highest revision.
func (b *batch) apply(c *conn) (revision uint64, err error) {
	if b.deleted != "" {
		if err := c.run(deleteObject, b.deleted); err != nil {
			return 0, err
		}
		if c.db.Changes() == 0 {
			return 0, fmt.Errorf("path %q: %w", b.deleted, storage.ErrNotFound)
		}
		return 0, nil
	}
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
			return 0, err
		}
		revision = max(revision, change.Revision)
	}
	return revision, nil
}

// blamed is the change that a refusal concerns: the one that was being made, or the one with the
// most data when all were.
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

// commit commits a batch. What it refuses is a *storage.EntryError, and nothing of it was written.
// Any other error stops the writing, but for storage.ErrNotFound of a delete.
func (d *database) commit(b batch) error {
	d.write.Lock()
	defer d.write.Unlock()
	if d.failed != nil {
		return d.failed
	}
	if err := d.probe(); err != nil {
		return &storage.EntryError{Err: d.wrap("commit", err)}
	}
	whole, err := d.attempt(&b)
	if isNoRoom(err) && d.makeRoom() {
		whole, err = d.attempt(&b)
	}
	switch d.noteRefusal(err); {
	case err == nil:
		d.tend()
		return nil
	case errors.Is(err, storage.ErrNotFound):
		return err
	case isRefusal(err):
		return &storage.EntryError{Index: b.blamed(whole), Err: d.wrap("commit", err)}
	}
	return d.stop(d.wrap("commit", err))
}

// attempt makes one transaction of a batch. On an error whole tells whether all changes were made
// and the commit itself failed.
func (d *database) attempt(b *batch) (whole bool, err error) {
	defer d.writer.guard(&err)
	var revision uint64
	err = d.writer.transact(func() (err error) {
		if revision, err = b.apply(d.writer); err != nil || revision <= d.revision.Load() {
			whole = err == nil
			return err
		}
		whole = true
		return d.writer.putNote(noteRevision, func(s *sqlite3.Stmt) error { return s.BindInt64(2, int64(revision)) })
	})
	if err == nil && revision > d.revision.Load() {
		d.revision.Store(revision)
	}
	return whole, err
}

// stop ends the writing for good and returns why.
func (d *database) stop(cause error) error {
	d.failed = fmt.Errorf("sqlite: the store in %s takes no more writes since a commit failed; "+
		"see to the disk, then close the store and start it again: %w", d.path, cause)
	return d.failed
}
