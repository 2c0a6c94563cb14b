package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/cockroachdb/pebble/v2"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

var _ storage.Identified = (*Layer)(nil)

// ID implements storage.Identified. The first call for a directory draws the number, which is on
// the disk when it returns; where the layer is opened to read only, it is another one after each Start.
func (l *Layer) ID() (uint64, error) {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return 0, storage.ErrNotActive
	}
	l.idLock.Lock()
	defer l.idLock.Unlock()
	value, closer, err := l.db.Get(idKey)
	if errors.Is(err, pebble.ErrNotFound) {
		if l.options.ReadOnly {
			return l.unnoted, nil
		}
		id := rand.Uint64() | 1
		err := l.db.Set(idKey, binary.LittleEndian.AppendUint64(nil, id), pebble.Sync)
		return id, enginekit.FirstError(l.wrap("note the store's id", err), l.failure())
	}
	if err != nil {
		return 0, l.wrap("read the store's id", err)
	}
	if len(value) != 8 {
		err := fmt.Errorf("it has %d bytes, expected 8", len(value))
		return 0, l.wrap("read the store's id", enginekit.FirstError(err, closer.Close()))
	}
	id := binary.LittleEndian.Uint64(value)
	return id, l.wrap("read the store's id", closer.Close())
}
