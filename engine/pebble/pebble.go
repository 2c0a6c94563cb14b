// Package pebble keeps a store's objects in a directory, in a Pebble database: a log-structured merge tree with a
// write-ahead log.
//
// # Durability
//
// A write is acknowledged after the write-ahead log is synced to disk: it survives a crash of the process and of the
// machine. Durability names the weaker mode.
//
// # Disk failures
//
// The first write, sync or file creation that fails on disk permanently stops the writes of the layer. That write and
// all later ones return an error that wraps the cause, and nothing more is written to the directory. Reads continue,
// from memory and from disk. They may show changes of the failed write, and it is unknown whether the disk kept it.
// To read the actual content, close the layer and start it again. Writes acknowledged before the failure are kept.
// The process is never ended, whatever Pebble itself would do: see failstop.go.
//
// # Layout
//
// Keys begin with a byte that names their kind: 'o' for objects, 'm' for the layer's own records: the last revision,
// and the reason why its content is incomplete. An object's key is
//
//	'o' directory 0x00 index
//
// The direct children of a directory are therefore neighbours, and the levels below are elsewhere: 0x00 sorts before
// every byte that a path can hold. enginekit.AppendObject makes the value. The file FORMAT beside Pebble's own files
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

// Durability defines when a write is acknowledged.
type Durability = enginekit.Durability

const (
	// DurabilitySync is enginekit.Sync, the default: no crash loses an acknowledged write.
	DurabilitySync = enginekit.Sync
	// DurabilityNoSync acknowledges a write when it is in memory, on its way to the write-ahead log. A crash of the
	// process loses the writes not yet passed to the operating system, usually some milliseconds. A crash of the
	// machine loses the writes that the operating system has not yet written to disk, some seconds or tens of
	// seconds. Only the newest writes are lost: the store comes back in its state at one earlier instant. Close syncs
	// and loses nothing.
	DurabilityNoSync = enginekit.NoSync
)

// The defaults of Options.
const (
	defaultCacheSize    = 64 << 20
	defaultMemTableSize = 16 << 20
	defaultMaxData      = 512 << 20
)

// Options configures a layer. The zero value is ready to use and durable.
type Options struct {
	// Durability defines when a write is acknowledged.
	Durability Durability
	// ReadOnly opens the layer read-only. No file is created, changed or locked for writing, the content of the
	// write-ahead log is read into memory, and every write returns storage.ErrReadOnly. Start fails if there is no
	// database, and while the directory is open for writing, here or in another process. Several read-only layers can
	// share a directory.
	ReadOnly bool
	// CacheSize is the size in bytes of the cache of blocks; 64 MiB if zero.
	CacheSize int64
	// MemTableSize is the size in bytes of a memtable, which holds writes before they are flushed to tables. Up to
	// four exist for a short time. It also limits how much of the write-ahead log a start replays. 16 MiB if zero:
	// Pebble reuses the log of a flushed memtable, and a sync of a reused file takes the disk half the work.
	MemTableSize int
	// MaxData is the maximum length in bytes of one object's data; 512 MiB if zero, which is also the highest safe
	// value: a batch of Pebble is limited to 4 GiB (2 GiB on 32-bit machines), and an object goes through several
	// copies in memory.
	MaxData int
	// Logger receives Pebble's messages about its work, at level debug, and its background errors. Nil logs nothing:
	// each error that matters to a caller is returned.
	Logger *slog.Logger
	// FS is the file system of the directory; the operating system's if nil. Tests pass one that keeps files in
	// memory, injects errors or simulates power loss.
	FS vfs.FS
}

// withDefaults sets the defaults.
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

// Layer is a persistent layer in a directory. In addition to what enginekit.Layer implements, it is a
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

// New returns a layer for a directory. It touches nothing. Start creates the directory and its parents if they are
// missing, locks the directory and opens the database.
//
// A directory that is marked as incomplete is rejected with storage.ErrIncomplete, unless
// LayerOptions.AllowIncomplete is set. Start returns a descriptive error if the directory is in use, is a file,
// cannot be written, is corrupt, or holds something else.
//
// Close syncs the write-ahead log and flushes memory to tables, as the next start would otherwise do. The log of a
// closed store is therefore empty. Otherwise, damage at the end of the log would look like the effect of a crash.
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

// database is an open directory.
type database struct {
	dir     string
	options Options
	closing context.Context // done once Close begins: long calls end

	db   *pebble.DB
	lock *pebble.Lock
	disk *failstopFS

	// idLock makes drawing the id atomic.
	idLock sync.Mutex
	// unnoted is the id of a store without a stored one that is opened read-only.
	unnoted uint64
}
