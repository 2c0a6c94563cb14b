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

// The layer's own records, called notes. Numbers are 8 bytes, little-endian. A note is overwritten, and never
// deleted: an old version of it can come back after a deletion is forgotten (see release), but does not override a
// newer version.
var (
	// revisionKey holds the highest committed revision. Each transaction writes it. All tables therefore overlap (see
	// badgerOptions), and the newest existing version of the key identifies the last transaction (see mark.go).
	revisionKey = []byte{metaKind, 'r', 'e', 'v'}
	// idKey holds the identity of the store.
	idKey = []byte{metaKind, 'i', 'd'}
	// generationKey holds the generation of the objects, which clears of format version 1 increased. It is usually
	// absent, which means 0.
	generationKey = []byte{metaKind, 'g', 'e', 'n'}
	// partsKey holds 1 while a batch of several transactions is being committed, and 0 when it is complete. While it
	// is 1, everything newer than it belongs to that batch.
	partsKey = []byte{metaKind, 'p', 'a', 'r'}
	// incompleteKey holds "-" if the content is complete, else "+" and the reason why it is incomplete.
	incompleteKey = []byte{metaKind, 'i', 'n', 'c'}
	// fillerKey, after all objects, serves to fill a memtable. It is deleted.
	fillerKey = []byte{objectKind + 1, 'f', 'i', 'l'}
)

// spaceOf returns the keys of the objects of a generation.
func spaceOf(generation uint64) enginekit.Space {
	return enginekit.NewSpace(binary.BigEndian.AppendUint64([]byte{objectKind}, generation))
}

func encodeNumber(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

// decodeNumber reads a note that is a number; an empty note is 0.
func decodeNumber(name, value []byte) (uint64, error) {
	switch len(value) {
	case 0:
		return 0, nil
	case 8:
		return binary.LittleEndian.Uint64(value), nil
	}
	return 0, fmt.Errorf("the note %q has %d bytes, expected 8", name, len(value))
}
