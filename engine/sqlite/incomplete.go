package sqlite

import "github.com/oolith-db/oolith/storage"

// MarkIncomplete implements storage.IncompleteMarker. It is on the disk when it returns,
// whatever Durability says, and so is all that was written before it.
func (l *Layer) MarkIncomplete(reason string) error {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return storage.ErrNotActive
	}
	d := l.db
	d.write.Lock()
	defer d.write.Unlock()
	if d.failed != nil {
		return d.failed
	}
	err := d.mark(reason)
	if err == nil || isRefusal(err) {
		return d.wrap("mark the store as incomplete", err)
	}
	return d.stop(d.wrap("mark the store as incomplete", err))
}

// mark writes or takes away the note, in a transaction that is synced.
func (d *database) mark(reason string) (err error) {
	defer d.writer.guard(&err)
	return d.noteDurably(noteIncomplete, reason)
}
