// Package pebble keeps a store's objects in a directory, in a Pebble database: a
// log-structured merge tree with a write-ahead log.
//
// # Durability
//
// A write is acknowledged after the write-ahead log was synced to the disk: it survives
// a crash of the process and of the machine. Durability names the weaker mode.
//
// # When the disk fails
//
// The first write, sync or file creation that the disk refuses stops the layer's
// writing for good: the write that met it and all later ones return an error that holds
// the cause, and nothing more is written to the directory. Reads go on, from
// memory and from what is on the disk; they may show changes of the very write that
// failed, of which nobody can tell whether the disk kept it. To close the layer and
// start it again reads the truth back. What was acknowledged before is kept. The process
// is never ended, whatever Pebble itself would do: see failstop.go.
//
// # Layout
//
// Keys begin with a byte that names their kind: 'o' for objects, 'm' for what the layer
// notes about itself: the last revision, and why its content is incomplete. An object's key is
//
//	'o' directory 0x00 index
//
// so that the direct children of a directory are neighbours and the levels below it are
// elsewhere: 0x00 sorts before every byte that a path can hold. The value is
// what enginekit.AppendObject makes. The file FORMAT beside Pebble's own files
// names this layout and its version; see format.go.
package pebble

import (
	"context"
	"log/slog"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Durability says when a write is acknowledged.
type Durability = enginekit.Durability

const (
	// DurabilitySync is enginekit.Sync, the default: nothing acknowledged is lost, whatever crashes.
	DurabilitySync = enginekit.Sync
	// DurabilityNoSync acknowledges a write when it is in memory, on its way to the
	// write-ahead log. A crash of the process loses what was not handed to the
	// operating system yet, some milliseconds of writes as a rule; a crash of the machine
	// loses what that had not put on the disk yet, some seconds or tens of them. What is
	// lost is always the newest: the store comes back as it was at one instant before. Close
	// syncs, so that nothing is lost by it.
	DurabilityNoSync = enginekit.NoSync
)

// The defaults of Options.
const (
	defaultCacheSize    = 64 << 20
	defaultMemTableSize = 16 << 20
	defaultMaxData      = 512 << 20
)

// Options of a layer. The zero value is ready to use and durable.
type Options struct {
	// Durability says when a write is acknowledged.
	Durability Durability
	// ReadOnly opens the layer to read only: no file is created, changed or locked for writing, what is in the
	// write-ahead log is read into memory, and every write is storage.ErrReadOnly. Start fails where there is no
	// database, and while the directory is open to be written, here or in another process; many may read it at
	// once.
	ReadOnly bool
	// CacheSize is the memory in bytes for blocks that were read; 64 MiB when zero.
	CacheSize int64
	// MemTableSize is the memory in bytes that takes writes before they are sorted into
	// files; up to four such tables exist for a moment. It bounds what a start has to
	// replay from the write-ahead log too. 16 MiB when zero: Pebble reuses the log of a table
	// that was flushed, and to sync a file that is reused takes the disk half the work.
	MemTableSize int
	// MaxData is the greatest length in bytes of one object's data; 512 MiB when zero,
	// which is also the most that is safe: a batch of Pebble takes less than 4 GiB (2 GiB
	// on 32-bit machines), and an object goes through several copies in memory.
	MaxData int
	// Logger gets what Pebble tells of its work, at level debug, and its background
	// errors. Nil logs nothing: each error that matters to a caller is returned.
	Logger *slog.Logger
	// FS is the file system of the directory; the operating system's when nil. Tests
	// give one that keeps files in memory, injects errors or simulates power loss.
	FS vfs.FS
}

// withDefaults fills in what was left open.
func (o Options) withDefaults() Options {
	if o.CacheSize <= 0 {
		o.CacheSize = defaultCacheSize
	}
	if o.MemTableSize <= 0 {
		o.MemTableSize = defaultMemTableSize
	}
	if o.MaxData <= 0 || o.MaxData > defaultMaxData {
		o.MaxData = defaultMaxData
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	return o
}

// Layer is a persistent layer in a directory. Besides what enginekit.Layer implements it is a
// storage.AsyncBatcher, storage.Checker, storage.Compacter, storage.IncompleteMarker and storage.Identified.
type Layer struct {
	*layer
	life    *enginekit.Life[*database]
	dir     string
	options Options
}

type layer = enginekit.Layer[*database]

var (
	_ storage.AsyncBatcher     = (*Layer)(nil)
	_ storage.Checker          = (*Layer)(nil)
	_ storage.Compacter        = (*Layer)(nil)
	_ storage.IncompleteMarker = (*Layer)(nil)
	_ storage.Identified       = (*Layer)(nil)
)

// New returns a layer for a directory. Nothing is touched before Start, which creates
// the directory and its parents where they are missing, locks it and opens the database.
//
// A directory that is marked as incomplete is refused with storage.ErrIncomplete, unless
// LayerOptions.AllowIncomplete is set. A directory that is in use, that is a file, that cannot be written, that is
// corrupt or that holds something else is an error that says so.
//
// Close puts the write-ahead log on the disk and sorts what is in memory into tables, as the next start
// would do otherwise: a store that was closed has nothing in its log, where damage at the end looks like what
// a crash leaves.
func New(dir string, options Options) *Layer {
	options = options.withDefaults()
	l := &Layer{dir: dir, options: options}
	l.layer, l.life = enginekit.New(enginekit.Config[*database]{
		Name: "pebble", Place: dir, What: "the directory", Explain: explain,
		ReadOnly: options.ReadOnly, MaxData: options.MaxData, Logger: options.Logger,
		Open: func(closing context.Context, o storage.LayerOptions) (*database, error) {
			d := &database{dir: dir, options: l.options, closing: closing}
			d.options.Logger = l.life.Log()
			return d, d.start(o)
		},
	})
	return l
}

// database is the directory while it is open.
type database struct {
	dir     string
	options Options
	closing context.Context // done when Close has begun: long calls end

	db   *pebble.DB
	lock *pebble.Lock
	disk *failstopFS

	// idLock makes the drawing of the id one step.
	idLock sync.Mutex
	// unnoted is the id of a store without one that is opened to read only.
	unnoted uint64
}
