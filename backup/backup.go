// Package backup writes a store, or a part of it, into a file while the store is in use, and restores a store from
// such a file.
//
//	file, err := os.Create("monday.oolith")
//	info, err := backup.Write(ctx, store, file, backup.WriteOptions{})
//
//	target, err := engine.Open("pebble:./restored", pebble.Engine) // not started
//	info, err := backup.Restore(ctx, file, target, backup.RestoreOptions{})
//
// A backup is the content of the store at one revision, across all directories: it has all changes of a batch or
// none. Writers continue while it is made; storage.Layered.Snapshot says how long they wait at its start. A backup
// keeps paths, data, times, revisions and times to live. It contains no expired objects.
//
// # The file, version 1
//
// A header, blocks and a trailer, with nothing after it. All integers are little-endian. CRC-32C is the checksum of
// RFC 3720, appendix B.4; a uvarint is that of encoding/binary.
//
// The header:
//
//	offset  size  field
//	     0     8  0x89 'O' 'O' 'L' 'I' 'T' 'H' 0x0A
//	     8     4  version, 1
//	    12     8  revision of the snapshot
//	    20     8  time of the snapshot, Unix nanoseconds, two's complement
//	    28     2  p, the length of the pattern
//	    30     p  the pattern of the content; empty for everything
//	  30+p     4  CRC-32C of all previous bytes
//
// A block:
//
//	  0     4  n, the length of the compressed records, more than 0
//	  4     4  m, their decompressed length
//	  8     n  the records, a Zstandard frame (RFC 8878)
//	8+n     4  CRC-32C of the previous bytes of the block
//
// A decompressed block is a sequence of records of at most 256 KiB in total, or a single longer record. A record is
// one object:
//
//	uvarint, the length of the path; the path
//	uvarint, the length of the envelope; the envelope of package internal/codec, version 1, with data, times,
//	revision and expiry, under a checksum that covers the path too
//
// Paths ascend through the whole file: by the part before the last slash, then by the part after it, both compared as
// bytes.
//
// The trailer:
//
//	 0     4  0, where a block has n
//	 4     8  number of objects
//	12     8  bytes of their data
//	20    32  SHA-256 of all previous bytes of the file
//	52     8  0x0A 'H' 'T' 'I' 'L' 'O' 'O' 0x89
//
// A truncated file is always detected by its missing end. A changed byte is always detected by the SHA-256, and
// usually earlier, with its position, by the checksum of its block. Nothing protects against deliberate changes: for
// that, keep the SHA-256 of Info elsewhere.
//
// Zstandard compresses JSON as well as gzip and several times as fast in both directions, so a backup takes less time
// from a store in use. Separate blocks limit the memory of a reader and locate damage.
package backup

import (
	"errors"
	"time"
)

// The errors of reading a backup. Returned errors wrap them with details.
var (
	// ErrForeign is returned for a file that is not a backup.
	ErrForeign = errors.New("backup: this is not a backup of a store")
	// ErrVersion is returned for a backup with a version that this build does not know.
	ErrVersion = errors.New("backup: the file has an unknown version, use a newer build")
	// ErrDamaged is returned for a backup whose bytes have changed.
	ErrDamaged = errors.New("backup: the file is damaged")
	// ErrTruncated is returned for a backup that ends too early. It matches ErrDamaged too.
	ErrTruncated error = &truncated{}
	// ErrNotEmpty is returned for a target of Restore that holds objects, or that held some.
	ErrNotEmpty = errors.New("backup: the target is not empty")
	// ErrUnsuitable is returned for a target of Restore without a required optional interface.
	ErrUnsuitable = errors.New("backup: the target is not suitable for a restore")
)

type truncated struct{}

func (*truncated) Error() string { return "backup: the file is cut off" }

// Is makes errors.Is(err, ErrDamaged) true.
func (*truncated) Is(target error) bool { return target == ErrDamaged }

// Info describes a backup.
type Info struct {
	// Version is the version of the format.
	Version int
	// Revision is the revision of the snapshot: the backup includes everything up to it.
	Revision uint64
	// Taken is the time of the snapshot.
	Taken time.Time
	// Pattern is the pattern that the backup was restricted to; empty for everything.
	Pattern string
	// Objects is the number of objects.
	Objects int64
	// DataBytes is the total size of their data.
	DataBytes int64
	// Size is the size of the file in bytes.
	Size int64
	// SHA256 is the checksum at the end of the file, over all previous bytes.
	SHA256 [32]byte
}

// Step is a phase of an operation.
type Step int

const (
	// StepWrite writes a backup.
	StepWrite Step = iota + 1
	// StepVerify reads a backup before anything is changed.
	StepVerify
	// StepRestore writes the objects of a backup.
	StepRestore
)

// Progress is the progress of a step.
type Progress struct {
	Step Step
	// Objects is the number of processed objects.
	Objects int64
	// Bytes is the number of processed bytes of the file.
	Bytes int64
}
