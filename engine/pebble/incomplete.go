package pebble

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// MarkIncomplete implements storage.IncompleteMarker. It is on the disk when it returns,
// whatever Durability says, and so is all that was written before it.
//
// The mark is an entry of the database and not a file beside it, so that it shares one order
// with the objects: where it is gone, what was written before is there.
func (l *Layer) MarkIncomplete(reason string) error {
	return l.life.Write(func(d *database) error {
		if reason == "" {
			return d.settled(d.db.Delete(incompleteKey, pebble.Sync))
		}
		return d.settled(d.db.Set(incompleteKey, []byte(reason), pebble.Sync))
	})
}

// checkComplete refuses a database that is marked.
func (d *database) checkComplete() error {
	reason, closer, err := d.db.Get(incompleteKey)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	err = fmt.Errorf("%w: %s", storage.ErrIncomplete, enginekit.OneLine(string(reason)))
	return cmp.Or(closer.Close(), err)
}
