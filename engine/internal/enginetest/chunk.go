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
	return appendChunk(log, append([]byte{kind}, payload...), len(payload))
}

// AppendChunkOf appends a chunk of the log of Pebble that has a number, made when some bytes of it were synced.
func AppendChunkOf(log []byte, number uint32, kind byte, synced uint64, payload string) []byte {
	body := binary.LittleEndian.AppendUint32([]byte{kind + 8}, number)
	body = binary.LittleEndian.AppendUint64(body, synced)
	return appendChunk(log, append(body, payload...), len(payload))
}

func appendChunk(log, body []byte, length int) []byte {
	sum := crc32.Checksum(body, levelfiles.Castagnoli)
	log = binary.LittleEndian.AppendUint32(log, (sum>>15|sum<<17)+0xa282ead8)
	log = binary.LittleEndian.AppendUint16(log, uint16(length))
	return append(log, body...)
}
