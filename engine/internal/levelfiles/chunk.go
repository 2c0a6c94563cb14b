// Package levelfiles reads files of the LevelDB family (LevelDB itself and Pebble) and takes their locks: the chunks
// of their logs, the records of their manifests, and the lock of a directory, shared by read-only users.
package levelfiles

import (
	"encoding/binary"
	"hash/crc32"
)

// The log format of LevelDB (its doc/log_format.md), used by its logs and manifests, and by Pebble's manifests. It
// has blocks of 32 KiB, with chunks that do not cross blocks. Each chunk has a masked CRC-32C over the type and the
// payload, a length and a type. A record is one full chunk, or a first one, any number of middle ones and a last one.
const (
	// LogBlock is the size of a block.
	LogBlock = 32 << 10
	// MinLogHeader is the size of the shortest header. If less space is left at the end of a block, it is padded with
	// zeros.
	MinLogHeader = 4 + 2 + 1
)

// Castagnoli is the polynomial of the checksums.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

// LogChunk is a chunk with a correct checksum. The zero value means that there is none.
type LogChunk struct {
	Size    int    // including the header
	Payload []byte // a part of the input
	Begins  bool   // a record
	Ends    bool   // a record
}

// SoundChunk returns the chunk at the start of the rest of a block of LevelDB's format.
func SoundChunk(rest []byte) LogChunk {
	if len(rest) < MinLogHeader || rest[6] < 1 || rest[6] > 4 {
		return LogChunk{}
	}
	size := MinLogHeader + int(binary.LittleEndian.Uint16(rest[4:]))
	if size > len(rest) {
		return LogChunk{}
	}
	sum := crc32.Checksum(rest[6:size], Castagnoli)
	if sum = sum>>15 | sum<<17; sum+0xa282ead8 != binary.LittleEndian.Uint32(rest) {
		return LogChunk{}
	}
	kind := rest[6] // 1 full, 2 first, 3 middle, 4 last
	return LogChunk{Size: size, Payload: rest[MinLogHeader:size], Begins: kind <= 2, Ends: kind == 1 || kind == 4}
}
