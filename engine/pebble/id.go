package pebble

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/cockroachdb/pebble/v2"
)

// ID implements storage.Identified. The first call for a directory draws the number and returns once it is on disk.
// In a layer opened read-only, a store without a number gets another one after each Start.
func (l *Layer) ID() (id uint64, err error) {
	err = l.life.Use(func(d *database) error {
		d.idLock.Lock()
		defer d.idLock.Unlock()
		if id, err = d.number(idKey); err != nil || id != 0 {
			return l.life.Wrap("read the store's id", err)
		}
		if d.options.ReadOnly {
			id = d.unnoted
			return nil
		}
		id = rand.Uint64() | 1
		return l.life.Written(d.settled(d.db.Set(idKey, binary.LittleEndian.AppendUint64(nil, id), pebble.Sync)))
	})
	return id, err
}

// number returns a stored number, or 0 if there is none.
func (d *database) number(key []byte) (uint64, error) {
	value, closer, err := d.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if len(value) != 8 {
		return 0, cmp.Or(fmt.Errorf("it has %d bytes, expected 8", len(value)), closer.Close())
	}
	return binary.LittleEndian.Uint64(value), closer.Close()
}
