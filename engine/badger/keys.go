package badger

import (
	"encoding/binary"
	"fmt"

	"github.com/oolith-db/oolith/storage/enginekit"
)

const (
	objectKind = 'o'
	metaKind   = 'm'
)

// What the layer notes about itself. Numbers are 8 bytes, little-endian. A note is overwritten, and never deleted: an
// old version of it can come back after a deletion was forgotten (see release), but not prevail over a newer one.
var (
	// revisionKey holds the highest revision that was committed. Each transaction writes it, so that all tables overlap
	// (see badgerOptions), and the newest version that there is says which transaction was the last (see mark.go).
	revisionKey = []byte{metaKind, 'r', 'e', 'v'}
	// idKey holds what tells the store from others.
	idKey = []byte{metaKind, 'i', 'd'}
	// generationKey holds the generation of the objects, which clears of format version 1 increased; mostly it is absent, for 0.
	generationKey = []byte{metaKind, 'g', 'e', 'n'}
	// partsKey holds 1 while a batch of several transactions is being committed, 0 when it is complete. While it is 1,
	// everything that is newer than it belongs to that batch.
	partsKey = []byte{metaKind, 'p', 'a', 'r'}
	// incompleteKey holds why the content is only a part; "-" when it is whole, else "+" and the reason.
	incompleteKey = []byte{metaKind, 'i', 'n', 'c'}
	// fillerKey, behind all objects, is there to fill a table in memory. It is deleted.
	fillerKey = []byte{objectKind + 1, 'f', 'i', 'l'}
)

// spaceOf returns the keys of the objects of a generation.
func spaceOf(generation uint64) enginekit.Space {
	return enginekit.NewSpace(binary.BigEndian.AppendUint64([]byte{objectKind}, generation))
}

func encodeNumber(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

// decodeNumber reads a note that is a number; nothing is 0.
func decodeNumber(name, value []byte) (uint64, error) {
	switch len(value) {
	case 0:
		return 0, nil
	case 8:
		return binary.LittleEndian.Uint64(value), nil
	}
	return 0, fmt.Errorf("the note %q has %d bytes, expected 8", name, len(value))
}
