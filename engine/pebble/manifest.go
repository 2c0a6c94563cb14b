package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oolith-db/oolith/engine/internal/enginekit"
)

// errManifest is a manifest with damage in the middle.
var errManifest = errors.New("the store is corrupt; restore it from a backup: its manifest is damaged")

// checkManifest refuses a database whose manifest, the list of its tables, is damaged
// before its end. Pebble takes the first record that it cannot read for the one
// that a crash cut short: it would go on with the tables named up to there and remove the
// others, in silence. But a crash cuts only the last record short, because each is
// synced before the next is written. So a sound record behind a broken one is damage.
func checkManifest(disk vfs.FS, name string) error {
	file, err := disk.Open(name)
	if err != nil {
		return err
	}
	content, err := io.ReadAll(file)
	if err = enginekit.FirstError(err, file.Close()); err != nil {
		return err
	}
	if at := damage(content); at >= 0 {
		return fmt.Errorf("%w: file %s at byte %d", errManifest, name, at)
	}
	return nil
}

// The log format of LevelDB (its doc/log_format.md), which Pebble's manifest is written
// in: blocks of 32 KiB, in them chunks that do not cross blocks, each with a masked
// CRC-32C over the type and the payload, a length and a type.
const (
	blockSize   = 32 << 10
	chunkHeader = 4 + 2 + 1
	lastType    = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// damage returns where the first broken chunk begins that a sound one follows, or -1.
func damage(content []byte) int {
	at := 0
	for at < len(content) {
		if blockSize-at%blockSize < chunkHeader {
			at += blockSize - at%blockSize // filled with zeros
			continue
		}
		size := soundChunk(content, at)
		if size == 0 {
			break
		}
		at += size
	}
	for later := at + 1; later < len(content); later++ {
		if soundChunk(content, later) > 0 {
			return at
		}
	}
	return -1
}

// soundChunk returns the size of the chunk at a place, or 0 if there is none.
func soundChunk(content []byte, at int) int {
	rest := content[at:min(len(content), at-at%blockSize+blockSize)]
	if len(rest) < chunkHeader {
		return 0
	}
	size := chunkHeader + int(binary.LittleEndian.Uint16(rest[4:]))
	if rest[6] == 0 || rest[6] > lastType || size > len(rest) {
		return 0
	}
	sum := crc32.Checksum(rest[6:size], castagnoli)
	if sum = sum>>15 | sum<<17; sum+0xa282ead8 != binary.LittleEndian.Uint32(rest) {
		return 0
	}
	return size
}
