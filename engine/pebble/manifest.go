package pebble

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oolith-db/oolith/engine/internal/levelfiles"
)

// errManifest reports a manifest with damage in the middle.
var errManifest = errors.New("the store is corrupt, its manifest is damaged; restore it from a backup")

// checkManifest rejects a database whose manifest, the list of its tables, is damaged before its end. Pebble treats
// the first unreadable record as the one that a crash cut short: it would silently continue with the tables named up
// to there and remove the others. But a crash cuts only the last record short, because each record is synced before
// the next is written. A valid record after a broken one is therefore damage.
//
// If the store was closed cleanly, the manifest is complete. A broken end is then damage too, and so is a table that
// was created after everything in the manifest.
func checkManifest(disk vfs.FS, name string, closed bool) error {
	file, err := disk.Open(name)
	if err != nil {
		return err
	}
	content, err := io.ReadAll(file)
	if err = cmp.Or(err, file.Close()); err != nil {
		return err
	}
	var next uint64
	end := levelfiles.ManifestRecords(content, func(record []byte) { next = max(next, nextFile(record)) })
	at := levelfiles.Damage(content)
	if at < 0 && (next == 0 || closed && end < len(content)) {
		at = end
	}
	if at >= 0 {
		return fmt.Errorf("%w (file %s at byte %d)", errManifest, name, at)
	}
	if !closed {
		return nil
	}
	names, err := disk.List(disk.PathDir(name))
	if err != nil {
		return err
	}
	for _, table := range names {
		digits, isTable := strings.CutSuffix(table, ".sst")
		if n, err := strconv.ParseUint(digits, 10, 64); isTable && err == nil && n >= next {
			return fmt.Errorf("%w (file %s ends before the table %s was made)", errManifest, name, table)
		}
	}
	return nil
}

// The tags of the fields of an edit, up to the number of the next file. All edits begin with these fields.
const (
	tagComparator    = 1 // a string
	tagLogNumber     = 2
	tagNextFile      = 3
	tagPrevLogNumber = 9
)

// nextFile returns the number of the next file according to an edit, or 0 if the edit does not have it.
func nextFile(edit []byte) uint64 {
	for {
		tag, n := binary.Uvarint(edit)
		if n <= 0 {
			return 0
		}
		value, m := binary.Uvarint(edit[n:])
		if m <= 0 {
			return 0
		}
		edit = edit[n+m:]
		switch tag {
		case tagNextFile:
			return value
		case tagComparator:
			if value > uint64(len(edit)) {
				return 0
			}
			edit = edit[value:]
		case tagLogNumber, tagPrevLogNumber:
		default:
			return 0
		}
	}
}
