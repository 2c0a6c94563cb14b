package sqlite

import (
	"math/rand/v2"

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

// identify reads the id of the database, or draws it.
func (d *database) identify() error {
	id, found, err := d.writer.intNote(noteID)
	if err != nil || found {
		d.id = uint64(id)
		return err
	}
	d.id = rand.Uint64() | 1
	return d.writer.transact(func() error {
		return d.writer.putNote(noteID, func(s *sqlite3.Stmt) error { return s.BindInt64(2, int64(d.id)) })
	})
}
