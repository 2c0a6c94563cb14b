// Package levelfiles reads files of the LevelDB family (LevelDB itself and Pebble) and takes their locks: the chunks of
// their logs, the records of their manifests, and the lock of a directory, shared with others who only read.
package levelfiles

import (
	"encoding/binary"
	"hash/crc32"
)

// The log format of LevelDB (its doc/log_format.md), which its logs and manifests are written in, and
// Pebble's, which adds two longer headers: blocks of 32 KiB, in them chunks that do not cross blocks, each
// with a masked CRC-32C over the type and what follows it, a length and a type. A record is one full chunk, or
// a first one, any number of middle ones and a last one.
const (
	// LogBlock is the size of a block.
	LogBlock = 32 << 10
	// MinLogHeader is the size of the shortest header. Less than that at the end of a block is filled with
	// zeros.
	MinLogHeader = 4 + 2 + 1

	// recyclableHeader has the number of the log too, since the file may have been another log before.
	recyclableHeader = MinLogHeader + 4
	// MaxLogHeader is that of a chunk that says too how much of the log was synced when it was made.
	MaxLogHeader = recyclableHeader + 8
)

// Castagnoli is the polynomial of the checksums.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

// LogChunk is a chunk whose checksum is right. The zero value is none.
type LogChunk struct {
	Size    int    // with the header
	Payload []byte // a part of what was read
	Begins  bool   // a record
	Ends    bool   // a record
	// Synced is how many bytes of the log, at least, were on the disk when the chunk was made; 0 where
	// that is unknown.
	Synced uint64
}

// SoundChunk returns the chunk at the beginning of the rest of a block of LevelDB's format.
func SoundChunk(rest []byte) LogChunk {
	if len(rest) < MinLogHeader || rest[6] < 1 || rest[6] > 4 {
		return LogChunk{}
	}
	return soundChunk(rest, MinLogHeader, rest[6])
}

// SoundChunkOf returns the chunk at the beginning of the rest of a block of a log of Pebble, which has a
// number. A chunk of a log that the file was before is none.
func SoundChunkOf(rest []byte, log uint32) LogChunk {
	if len(rest) < recyclableHeader || rest[6] < 5 || rest[6] > 12 || binary.LittleEndian.Uint32(rest[7:]) != log {
		return LogChunk{}
	}
	if rest[6] <= 8 {
		return soundChunk(rest, recyclableHeader, rest[6]-4)
	}
	if len(rest) < MaxLogHeader {
		return LogChunk{}
	}
	c := soundChunk(rest, MaxLogHeader, rest[6]-8)
	if c.Size > 0 {
		c.Synced = binary.LittleEndian.Uint64(rest[recyclableHeader:])
	}
	return c
}

// soundChunk returns the chunk with a header of the given size and a type: 1 full, 2 first, 3 middle, 4 last.
func soundChunk(rest []byte, header int, kind byte) LogChunk {
	size := header + int(binary.LittleEndian.Uint16(rest[4:]))
	if size > len(rest) {
		return LogChunk{}
	}
	sum := crc32.Checksum(rest[6:size], Castagnoli)
	if sum = sum>>15 | sum<<17; sum+0xa282ead8 != binary.LittleEndian.Uint32(rest) {
		return LogChunk{}
	}
	return LogChunk{Size: size, Payload: rest[header:size], Begins: kind <= 2, Ends: kind == 1 || kind == 4}
}

// EndsLog reports whether the rest of a block begins with what ends a log of Pebble that was closed in
// order: a header of nothing, with the number behind the log's.
func EndsLog(rest []byte, log uint32) bool {
	return len(rest) >= recyclableHeader && binary.LittleEndian.Uint32(rest) == 0 &&
		binary.LittleEndian.Uint16(rest[4:]) == 0 && rest[6] == 5 && binary.LittleEndian.Uint32(rest[7:]) == log+1
}
