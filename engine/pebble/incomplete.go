package pebble

import (
	"cmp"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// MarkIncomplete implements storage.IncompleteMarker. When it returns, the mark and everything written before it are
// on disk, regardless of Durability.
//
// The mark is an entry of the database instead of a separate file, so it shares one order with the objects: once the
// mark is removed, everything written before is stored.
func (l *Layer) MarkIncomplete(reason string) error {
	return l.life.Write(func(d *database) error {
		if reason == "" {
			return d.settled(d.db.Delete(incompleteKey, pebble.Sync))
		}
		return d.settled(d.db.Set(incompleteKey, []byte(reason), pebble.Sync))
	})
}

// checkComplete rejects a database that is marked as incomplete.
func (d *database) checkComplete() error {
	reason, closer, err := d.db.Get(incompleteKey)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	err = enginekit.Incomplete(string(reason))
	return cmp.Or(closer.Close(), err)
}
