package enginetest

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/oolith-db/oolith/engine/internal/levelfiles"
)

// The types of the chunks of LevelDB's log format.
const (
	FullChunk   = 1
	FirstChunk  = 2
	MiddleChunk = 3
	LastChunk   = 4
)

// AppendChunk appends a chunk of LevelDB's log format.
func AppendChunk(log []byte, kind byte, payload string) []byte {
	body := append([]byte{kind}, payload...)
	sum := crc32.Checksum(body, levelfiles.Castagnoli)
	log = binary.LittleEndian.AppendUint32(log, (sum>>15|sum<<17)+0xa282ead8)
	log = binary.LittleEndian.AppendUint16(log, uint16(len(payload)))
	return append(log, body...)
}
