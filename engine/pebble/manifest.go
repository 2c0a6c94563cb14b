package pebble

import (
	"errors"
	"fmt"
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

// damage returns where the first broken chunk begins that a sound one follows, or -1.
func damage(content []byte) int {
	at := 0
	for at < len(content) {
		if enginekit.LogBlock-at%enginekit.LogBlock < enginekit.MinLogHeader {
			at += enginekit.LogBlock - at%enginekit.LogBlock // filled with zeros
			continue
		}
		size := chunkAt(content, at)
		if size == 0 {
			break
		}
		at += size
	}
	for later := at + 1; later < len(content); later++ {
		if chunkAt(content, later) > 0 {
			return at
		}
	}
	return -1
}

// chunkAt returns the size of the chunk at a place, or 0 if there is none.
func chunkAt(content []byte, at int) int {
	return enginekit.SoundChunk(content[at:min(len(content), at-at%enginekit.LogBlock+enginekit.LogBlock)]).Size
}
