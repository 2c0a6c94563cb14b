package sqlite

import (
	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/storage"
)

var _ storage.Identified = (*Layer)(nil)

// ID implements storage.Identified. The number is the one called "id" in the table oolith.
func (l *Layer) ID() (uint64, error) {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return 0, storage.ErrNotActive
	}
	return l.db.id, nil
}

// identify notes the id of the database, if it is a new one.
func (d *database) identify() error {
	if _, found, err := d.writer.intNote(noteID); err != nil || found {
		return err
	}
	return d.writer.transact(func() error {
		return d.writer.putNote(noteID, func(s *sqlite3.Stmt) error { return s.BindInt64(2, int64(d.id)) })
	})
}
