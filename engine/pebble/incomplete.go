package pebble

import (
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
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return storage.ErrNotActive
	}
	if err := l.failure(); err != nil {
		return err
	}
	var err error
	if reason == "" {
		err = l.db.Delete(incompleteKey, pebble.Sync)
	} else {
		err = l.db.Set(incompleteKey, []byte(reason), pebble.Sync)
	}
	return enginekit.FirstError(l.wrap("mark the store as incomplete", err), l.failure())
}

// checkComplete refuses a database that is marked.
func checkComplete(db *pebble.DB) error {
	reason, closer, err := db.Get(incompleteKey)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	err = fmt.Errorf("%w: %s", storage.ErrIncomplete, enginekit.OneLine(string(reason)))
	return enginekit.FirstError(closer.Close(), err)
}
