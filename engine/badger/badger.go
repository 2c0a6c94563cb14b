// Package badger keeps a store's objects in a directory, in a Badger database: a log-structured merge tree, with
// optional encryption at rest.
//
// # Durability
//
// A write is acknowledged after the log is synced to disk: it survives a crash of the process and of the machine.
// Durability names the weaker mode. A single write costs one sync; writes that a store groups (storage.Batcher) share
// one. Like Badger, the layer assumes that a synced file exists after a crash of the machine, as on ext4, xfs and
// btrfs.
//
// # Values
//
// Every value is in the tree, none in Badger's value log. An object's data is therefore limited to 1023 KiB, and to
// less if MemTableSize is below 7 MiB, or the disk below 2 GiB: see Options.MaxData. A larger object is rejected with
// an error that names the limit, before anything is written. Stores of format version 1, which have larger values in
// the value log, remain readable. Overwriting or deleting such values does not reclaim their space.
//
// # Batches of any size
//
// A transaction of Badger is limited to about 15 percent of a memtable. A batch within this limit is one transaction.
// A larger one takes several, and is still atomic for readers and after any crash: see commit.go. A clear is a batch
// that deletes everything.
//
// # Encryption
//
// With a key, all information about keys and values is encrypted on disk, by AES in counter mode. This keeps the
// content of a lost disk secret. It does not prove that nobody changed the content. See key.go for the forms of a
// key, and RotateKey.
//
// # Memory
//
// The memtables take 1.3 times MemTableSize each. At most five exist for a short time: the one that takes writes,
// three that wait for the disk, and the one that is being flushed. The cache takes CacheSize. Compactions take a few
// tens of MiB in addition. Files are mapped into memory: the resident memory that an operating system shows includes
// pages of files that it can reclaim at any time.
//
// # Disk failures
//
// The first write or sync that fails on disk stops the writes of the layer: that write and all later ones return an
// error that wraps the cause. Reads continue. To read the actual content, with everything acknowledged, close the
// layer and start it again. See health.go, also for the failures that Badger itself would ignore.
//
// Badger writes through mapped memory. A full or failing disk then causes no error but a signal (SIGBUS), which ends
// the process from a goroutine where nobody can catch it. The layer therefore rejects writes when the disk is nearly
// full (Options.MinFree), and lets Badger rewrite its tables only while there is space: see room.go. These risks
// remain: another program fills the disk at the moment of a write, the disk breaks, or an assertion of Badger ends
// the process because of an internal contradiction. Damaged files, which cause most of these assertions, are detected
// before Badger opens them: see inspect.go. A process that ends in this way loses no acknowledged write.
//
// # Layout
//
// Keys begin with a byte that names their kind: 'o' for objects, 'm' for the layer's own records. An object's key is
//
//	'o' generation directory 0x00 index
//
// where the generation is a number in 8 bytes: 0, or the result of a clear of format version 1. The rest is the key
// of an enginekit.Space. enginekit.AppendObject makes the value. The files FORMAT and SYNCED beside Badger's own
// files name this layout and its version, and what must exist: see format.go and mark.go.
package badger

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Durability defines when a write is acknowledged.
type Durability = enginekit.Durability

const (
	// DurabilitySync is enginekit.Sync, the default: no crash loses an acknowledged write.
	DurabilitySync = enginekit.Sync
	// DurabilityNoSync acknowledges a write when it is in the log, in memory that the operating system writes back. A
	// crash of the process loses nothing. A crash of the machine loses the newest writes, some seconds or tens of
	// seconds. Close syncs and loses nothing.
	DurabilityNoSync = enginekit.NoSync
)

const (
	defaultCacheSize    = 64 << 20
	defaultMemTableSize = 32 << 20
	leastMemTableSize   = 1 << 20
	// defaultMaxData is the limit of Badger's tree (1 MiB), minus what is stored with the data.
	defaultMaxData = 1023 << 10
)

// Options configures a layer. The zero value is ready to use and durable.
type Options struct {
	// Durability defines when a write is acknowledged.
	Durability Durability
	// ReadOnly opens an existing store read-only. None of its files is created, changed, or locked for writing, so
	// the disk may be read-only or full. If the store was not closed, its logs are copied into the directory for
	// temporary files and read there; that directory must then be writable. Several read-only layers can share a
	// store. They and a layer that writes, of this process or another, exclude each other. Writes return
	// storage.ErrReadOnly.
	ReadOnly bool
	// CacheSize is the size in bytes of the cache of blocks; 64 MiB if zero. An encrypted store uses a quarter of it
	// for the indexes of tables.
	CacheSize int64
	// MemTableSize is the size in bytes of a memtable, which holds writes before they are flushed to tables; 32 MiB
	// if zero, at least 1 MiB. It also limits how much a start replays from the log of each memtable, and the size of
	// a transaction.
	MemTableSize int64
	// MaxData is the maximum length in bytes of one object's data. The default and the maximum are 1023 KiB. It is
	// also limited to 15 percent of MemTableSize, minus 8 KiB.
	MaxData int
	// MinFree is the free space on the disk, in bytes, below which the layer rejects writes. Deletes are accepted
	// down to a quarter of it; reads need no space. It is for Badger's background writes: memtables, and tables that
	// replace others. If zero, it is 16 times MemTableSize, limited to a sixteenth of the disk or 16 MiB, whichever
	// of the two is greater. If negative, the free space is not checked. MemTableSize is limited to a sixteenth of
	// MinFree, but is at least 1 MiB.
	MinFree int64
	// SkipVerify makes Start skip the reading of all tables. If false, a table that has been damaged makes Start
	// fail. If true, Start is faster in a large store, and damage may go unnoticed: Badger treats unreadable entries
	// as absent. Check finds such damage.
	SkipVerify bool

	// Key encrypts the store: 16, 24 or 32 bytes. At most one of Key, KeyFile and KeyEnv may be set. The layer does
	// not modify it.
	Key []byte
	// KeyFile is the path of a file that holds the key, read at Start; see ParseKey for its form.
	KeyFile string
	// KeyEnv is the name of an environment variable that holds the key, read at Start; see ParseKey for its form.
	KeyEnv string

	// Logger receives Badger's messages about its work, at level debug, and its background errors. Nil logs nothing:
	// each error that matters to a caller is returned.
	Logger *slog.Logger

	// hooks are for tests.
	hooks hooks
}

// hooks are test hooks.
type hooks struct {
	// part is called before each transaction of a batch of several.
	part func(n int) error
	// undo is called before each transaction that rolls back such a batch.
	undo func()
	// upkeep is called by the background work.
	upkeep func()
	// room replaces the check of the disk.
	room func() (room, error)
	// patience replaces the time that a start waits for a database that was left behind.
	patience time.Duration
}

// withDefaults sets the defaults.
func (o Options) withDefaults() Options {
	o.CacheSize = min(cmp.Or(max(0, o.CacheSize), defaultCacheSize), 1<<50)
	o.MemTableSize = max(leastMemTableSize, min(cmp.Or(max(0, o.MemTableSize), defaultMemTableSize), 1<<30))
	o.MaxData = min(cmp.Or(max(0, o.MaxData), defaultMaxData), int(mostData(o.MemTableSize)))
	return o
}

// mostData returns the maximum data of one object that fits into a transaction.
func mostData(memTableSize int64) int64 {
	return min(defaultMaxData, maxTransaction(memTableSize)-8<<10)
}

// maxTransaction returns Badger's limit of a transaction.
func maxTransaction(memTableSize int64) int64 { return memTableSize * 15 / 100 }

// Layer is a persistent layer in a directory. Besides storage.EmbeddedLayer it implements all optional interfaces of
// package storage except storage.AsyncBatcher. Badger syncs each transaction by itself, in order, so a second one in
// flight gains nothing. Badger also cannot keep the second one off the disk if the first one failed.
type Layer struct {
	*enginekit.Layer[*store]
	life    *enginekit.Life[*store]
	dir     string
	options Options
	// left is closed when a database that Close left behind, because its disk failed, is finally closed; nil if there
	// is none. Start and Close use it, one at a time.
	left <-chan struct{}
}

var (
	_ storage.Checker          = (*Layer)(nil)
	_ storage.Compacter        = (*Layer)(nil)
	_ storage.IncompleteMarker = (*Layer)(nil)
	_ storage.Identified       = (*Layer)(nil)
)

// New returns a layer for a directory. It touches nothing. Start creates the directory and its parents if they are
// missing, locks the directory, inspects its files and opens the database.
//
// Start rejects a directory that is marked as incomplete with storage.ErrIncomplete, unless AllowIncomplete is set.
// It returns a descriptive error if the directory is in use, is a file, cannot be written, is corrupt, or holds
// something else, and if the key does not match. Close does not wait for a failing disk: see health.go.
func New(dir string, options Options) *Layer {
	l := &Layer{dir: dir, options: options.withDefaults()}
	l.Layer, l.life = enginekit.New(enginekit.Config[*store]{
		Name: "badger", Place: dir, What: "the directory", Open: l.open, Explain: explain,
		ReadOnly: options.ReadOnly, MaxData: l.options.MaxData, Logger: options.Logger,
	})
	return l
}
