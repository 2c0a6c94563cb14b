// Package backup writes a whole store, or a part of it, into a file while the store is in use, and
// makes a store of such a file.
//
//	file, err := os.Create("monday.oolith")
//	info, err := backup.Write(ctx, store, file, backup.WriteOptions{})
//
//	target, err := engine.Open("pebble:./restored", pebble.Engine) // made, and not started
//	info, err := backup.Restore(ctx, file, target, backup.RestoreOptions{})
//
// A backup is the content of the store at one revision, across all directories: of a batch it
// has all changes or none. Writers go on while it is made; see storage.Layered.Snapshot for what they wait.
// It keeps paths, data, times, revisions and times to live. What had expired is left out.
//
// # The file, version 1
//
// A header, blocks, a trailer, and nothing behind it. All integers are little-endian. CRC-32C is the
// checksum of RFC 3720, appendix B.4; a uvarint is that of encoding/binary.
//
// The header:
//
//	offset  size  field
//	     0     8  0x89 'O' 'O' 'L' 'I' 'T' 'H' 0x0A
//	     8     4  version, 1
//	    12     8  revision of the snapshot
//	    20     8  when it was taken, Unix nanoseconds, two's complement
//	    28     2  p, the length of the pattern
//	    30     p  the pattern of what is in it; empty for everything
//	  30+p     4  CRC-32C of all bytes before
//
// A block:
//
//	  0     4  n, the length of the packed records, more than 0
//	  4     4  m, their length unpacked
//	  8     n  the records, a frame of Zstandard (RFC 8878)
//	8+n     4  CRC-32C of the bytes of the block before
//
// Unpacked, a block is one record after the other, of 256 KiB together at most, or one that is longer.
// A record is one object:
//
//	uvarint, the length of the path; the path
//	uvarint, the length of the envelope; the envelope of package internal/codec, version 1, which holds
//	data, times, revision and the time it expires at, under a checksum that covers the path too
//
// The paths ascend through the whole file: by the part before the last slash, then by the part behind it,
// both compared as bytes.
//
// The trailer:
//
//	 0     4  0, where a block has n
//	 4     8  number of objects
//	12     8  bytes of their data
//	20    32  SHA-256 of all bytes of the file before
//	52     8  0x0A 'H' 'T' 'I' 'L' 'O' 'O' 0x89
//
// So a file that is cut off anywhere is noticed by its missing end, and a byte that changed anywhere by
// the SHA-256, and nearly always at once, with its place, by the checksum of its block. Nothing here
// protects against somebody who changes a file on purpose: keep the SHA-256 of Info elsewhere for that.
//
// Zstandard packs JSON as well as gzip and several times as fast, in both directions, which is what a
// backup of a store in use takes away from others. Blocks of their own bound the memory of a
// reader, and tell where a file is damaged.
package backup

import (
	"errors"
	"time"
)

// The errors of reading a backup, which the returned ones wrap with the particulars.
var (
	// ErrForeign is a file that is no backup.
	ErrForeign = errors.New("backup: this is not a backup of a store")
	// ErrVersion is a backup in a version that this build does not know.
	ErrVersion = errors.New("backup: the file has an unknown version, use a newer build")
	// ErrDamaged is a backup whose bytes are not those that were written.
	ErrDamaged = errors.New("backup: the file is damaged")
	// ErrTruncated is a backup that ends too early. It is ErrDamaged too.
	ErrTruncated error = &truncated{}
	// ErrNotEmpty is a target of Restore that holds objects, or that held some.
	ErrNotEmpty = errors.New("backup: the target is not empty")
	// ErrUnsuitable is a target of Restore that lacks an optional interface which it needs.
	ErrUnsuitable = errors.New("backup: the target is not suitable for a restore")
)

type truncated struct{}

func (*truncated) Error() string { return "backup: the file is cut off" }

// Is makes errors.Is(err, ErrDamaged) true.
func (*truncated) Is(target error) bool { return target == ErrDamaged }

// Info says what is in a backup.
type Info struct {
	// Version is that of the format.
	Version int
	// Revision is that of the snapshot: everything up to it is in the backup.
	Revision uint64
	// Taken is when that was.
	Taken time.Time
	// Pattern is what the backup was restricted to; empty for everything.
	Pattern string
	// Objects is the number of objects.
	Objects int64
	// DataBytes is the length of their data in all.
	DataBytes int64
	// Size is the length of the file in bytes.
	Size int64
	// SHA256 is the checksum at the end of the file, over all that is before it.
	SHA256 [32]byte
}

// Step is what is being done.
type Step int

const (
	// StepWrite is the writing of a backup.
	StepWrite Step = iota + 1
	// StepVerify is the reading of one, before anything is touched.
	StepVerify
	// StepRestore is the writing of its objects.
	StepRestore
)

// Progress is how far a step is.
type Progress struct {
	Step Step
	// Objects is how many objects the step has behind it.
	Objects int64
	// Bytes is how many bytes of the file it has behind it.
	Bytes int64
}
