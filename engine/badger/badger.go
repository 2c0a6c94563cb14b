// Package badger keeps a store's objects in a directory, in a Badger database: a log-structured merge tree, with
// encryption at rest where it is asked for.
//
// # Durability
//
// A write is acknowledged after the log was synced to the disk: it survives a crash of the process and of the machine.
// Durability names the weaker mode. A single write costs a sync of its own; writes that a store groups
// (storage.Batcher) share one. Like Badger, the layer counts on that a file that was synced is found after a crash of
// the machine, as it is on ext4, xfs and btrfs.
//
// # Values
//
// Every value is in the tree, none in Badger's value log. So an object's data has at most 1023 KiB, and less where
// MemTableSize is below 7 MiB, or the disk below 2 GiB: see Options.MaxData. A larger one is refused with the limit
// before anything is written. Stores of format version 1, which had larger values in the value log, are read as they
// are; what is overwritten or deleted there gives no room back.
//
// # Batches of any size
//
// A transaction of Badger takes some 15 percent of a table in memory. A batch within that is one transaction. A larger
// one is several, and still one for readers and after any crash: see commit.go. A clear is a batch that deletes all.
//
// # Encryption
//
// With a key, everything that says something about keys and values is encrypted on the disk, by AES in counter mode.
// That keeps the content of a lost disk secret; it does not prove that nobody changed it. See key.go for the forms of a
// key, and RotateKey.
//
// # Memory
//
// The tables in memory take 1.3 times MemTableSize each, at most five of them for a moment: the one being written,
// three that wait for the disk, and the one that is on its way there. The cache takes CacheSize. Compactions take a few
// tens of MiB beside. Files are mapped into memory: what an operating system shows as resident includes pages of them
// that it can take back at any time.
//
// # When the disk fails
//
// The first write or sync that the disk refuses stops the layer's writing: that write and all later ones return an
// error that holds the cause. Reads go on. To close the layer and start it again reads the truth back, with all that
// was acknowledged. See health.go, also for the failures that Badger itself would pass over.
//
// Badger writes through mapped memory, and a disk that is full, or fails, is then no error but a signal (SIGBUS) that
// ends the process, from a goroutine where nobody can catch it. So the layer takes no write when the disk is nearly
// full (Options.MinFree), and lets Badger rewrite its tables only while there is room: see room.go. What is left is a
// disk that something else fills in the very moment of a write, a disk that breaks, and the assertions with which
// Badger ends the process when it finds a contradiction within itself. Damaged files, which lead to most of these, are
// looked for before Badger opens them: see inspect.go. A process that dies in this way loses nothing that was
// acknowledged.
//
// # Layout
//
// Keys begin with a byte that names their kind: 'o' for objects, 'm' for what the layer notes about itself. An object's
// key is
//
//	'o' generation directory 0x00 index
//
// where the generation is a number in 8 bytes: 0, or what a clear of format version 1 left. The rest is as an
// enginekit.Space has it. The value is what enginekit.AppendObject makes. The files FORMAT and SYNCED beside Badger's
// own name this layout and its version, and what must be there: see format.go and mark.go.
package badger

import (
	"log/slog"
	"time"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Durability says when a write is acknowledged.
type Durability = enginekit.Durability

const (
	// DurabilitySync is enginekit.Sync, the default: nothing acknowledged is lost, whatever crashes.
	DurabilitySync = enginekit.Sync
	// DurabilityNoSync acknowledges a write when it is in the log, in memory that the operating system writes back. A
	// crash of the process loses nothing. A crash of the machine loses the newest writes, some seconds or tens of them.
	// Close syncs, so that nothing is lost by it.
	DurabilityNoSync = enginekit.NoSync
)

const (
	defaultCacheSize    = 64 << 20
	defaultMemTableSize = 32 << 20
	leastMemTableSize   = 1 << 20
	// defaultMaxData is what Badger takes into the tree (1 MiB), less what is stored with it.
	defaultMaxData = 1023 << 10
)

// Options of a layer. The zero value is ready to use and durable.
type Options struct {
	// Durability says when a write is acknowledged.
	Durability Durability
	// ReadOnly opens a store that is there to read only. No file of it is made, changed, or locked for writing, so that
	// the disk may be read-only or full. Where the store was not closed, its logs are read by way of a copy in the
	// directory for temporary files, which needs to be there then. Others may read too meanwhile; a layer that writes,
	// of this process or another, is refused while it lasts, and refuses it. Writes are storage.ErrReadOnly.
	ReadOnly bool
	// CacheSize is the memory in bytes for blocks that were read; 64 MiB when zero. In an encrypted store a quarter of
	// it is for the indexes of tables.
	CacheSize int64
	// MemTableSize is the memory in bytes that takes writes before they are sorted into files; 32 MiB when zero, at
	// least 1 MiB. It also bounds what a start has to replay from the log of each such table, and what one transaction
	// takes.
	MemTableSize int64
	// MaxData is the greatest length in bytes of one object's data: 1023 KiB when zero and at most, and at most 15
	// percent of MemTableSize, less 8 KiB.
	MaxData int
	// MinFree is the room in bytes on the disk below which the layer takes no writes; deletes are taken down to a
	// quarter of it; reads need none. It is for what Badger writes in the background: what is in memory, and tables
	// that replace others. When zero it is 16 times MemTableSize, but at most a sixteenth of the disk or else 16 MiB;
	// when negative, it is not looked at. MemTableSize is at most a sixteenth of it, or else 1 MiB.
	MinFree int64
	// SkipVerify leaves out the reading of all tables at Start. Without it, a table that was damaged since is an error
	// of Start. With it, Start is quicker in a large store, and the damage may go unnoticed: Badger takes what it
	// cannot read for absent. Check finds it.
	SkipVerify bool

	// Key encrypts the store: 16, 24 or 32 bytes. At most one of Key, KeyFile and KeyEnv may be set. It is not changed.
	Key []byte
	// KeyFile is the path of a file that holds the key, read at Start; see ParseKey for its form.
	KeyFile string
	// KeyEnv is the name of an environment variable that holds the key, read at Start; see ParseKey for its form.
	KeyEnv string

	// Logger gets what Badger tells of its work, at level debug, and its background errors. Nil logs nothing: each
	// error that matters to a caller is returned.
	Logger *slog.Logger

	// hooks are for tests.
	hooks hooks
}

// hooks let tests in.
type hooks struct {
	// part is called before each transaction of a batch that takes several.
	part func(n int) error
	// undo is called before each transaction that takes such a batch back.
	undo func()
	// upkeep is called by what works in the background.
	upkeep func()
	// room replaces the look at the disk.
	room func() (room, error)
	// patience replaces how long a start waits for a database that was left behind.
	patience time.Duration
}

// withDefaults fills in what was left open.
func (o Options) withDefaults() Options {
	o.CacheSize = bounded(o.CacheSize, defaultCacheSize, 1, 1<<50)
	o.MemTableSize = bounded(o.MemTableSize, defaultMemTableSize, leastMemTableSize, 1<<30)
	o.MaxData = int(bounded(int64(o.MaxData), defaultMaxData, 1, mostData(o.MemTableSize)))
	return o
}

// mostData is the most data of one object that fits into a transaction.
func mostData(memTableSize int64) int64 {
	return min(defaultMaxData, maxTransaction(memTableSize)-8<<10)
}

// maxTransaction is what Badger allows a transaction.
func maxTransaction(memTableSize int64) int64 { return memTableSize * 15 / 100 }

// bounded returns an option that is set, or else its default, within bounds.
func bounded(value, otherwise, least, most int64) int64 {
	if value <= 0 {
		value = otherwise
	}
	return max(least, min(value, most))
}

// Layer is a persistent layer in a directory. Besides storage.EmbeddedLayer it implements all optional interfaces of
// package storage but storage.AsyncBatcher: Badger syncs each transaction by itself, in order, so that a second one
// that is under way gains nothing, and it cannot keep the second one from the disk when the first one failed.
type Layer struct {
	*enginekit.Layer[*store]
	life    *enginekit.Life[*store]
	dir     string
	options Options
	// left is closed when a database that could not be closed, because its disk refused it, is closed after all; nil
	// when there is none. Start and Close use it, one at a time.
	left <-chan struct{}
}

var (
	_ storage.EmbeddedLayer    = (*Layer)(nil)
	_ storage.Batcher          = (*Layer)(nil)
	_ storage.Scanner          = (*Layer)(nil)
	_ storage.SizeHinter       = (*Layer)(nil)
	_ storage.Checker          = (*Layer)(nil)
	_ storage.Compacter        = (*Layer)(nil)
	_ storage.IncompleteMarker = (*Layer)(nil)
	_ storage.Identified       = (*Layer)(nil)
	_ storage.ReadOnlyLayer    = (*Layer)(nil)
)

// New returns a layer for a directory. Nothing is touched before Start, which makes the directory and its parents where
// they are missing, locks it, looks through its files and opens the database.
//
// Start refuses a directory that is marked as incomplete with storage.ErrIncomplete, unless AllowIncomplete is set. A
// directory that is in use, that is a file, that cannot be written, that is corrupt or that holds something else is an
// error that says so, and so is a key that does not fit. Close does not wait for a disk that fails: see health.go.
func New(dir string, options Options) *Layer {
	l := &Layer{dir: dir, options: options.withDefaults()}
	l.Layer, l.life = enginekit.New(enginekit.Config[*store]{
		Name: "badger", Place: dir, What: "the directory", Open: l.open, Explain: explain,
		ReadOnly: options.ReadOnly, MaxData: l.options.MaxData, Logger: options.Logger,
	})
	return l
}
