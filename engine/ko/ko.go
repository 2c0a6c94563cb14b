// Package ko keeps a store's objects in a directory, in a LevelDB database of the format that ko, an older adapter
// for the same objects, has always written. Such a database is opened in place, and the older software can read
// everything written here.
//
// # Format
//
// A key is the unmodified path of an object. A value is the object as JSON, in the form that encoding/json gives to a
// meta.Object:
//
//	{"created":1,"updated":0,"index":"1","path":"users/1","data":{"a":1},"revision":7}
//
// Data is included byte for byte, with the white space around it. Older entries have no revision, and may have no
// path: the key counts. An unreadable entry is an error that names its key. The database holds nothing else: this
// layer keeps its own records in separate files, whose names begin with OOLITH- and which LevelDB ignores.
//
// # Durability
//
// A write is acknowledged after the log is synced to disk: it survives a crash of the process and of the machine.
// Durability names the weaker mode.
//
// # Disk failures
//
// The first write, sync or file creation that fails on disk permanently stops the writes of the layer. That write and
// all later ones return an error that wraps the cause, and nothing more is written to the directory; see failstop.go.
// Reads continue, and never show the failed write. To read the actual content, which may include that write, close
// the layer and start it again. Writes acknowledged before the failure are kept.
//
// # Opening
//
// LevelDB silently drops damaged records of its logs, and tables that a damaged list of them does not name. Start
// first looks for such damage, and for missing files, and rejects it. It then reads the whole database once, to find
// keys that are not valid paths and revisions that other software wrote. This takes a second or less for a million
// small objects, if the disk is fast enough. Start skips it if nothing but this layer has touched the database since
// it was last closed cleanly.
//
// # Revisions
//
// The file OOLITH-KO holds the last revision. While the layer is open, it holds a number ahead of all revisions in
// use. The number is advanced (and synced) once in 65,536 revisions, before the batch that needs it; Close writes the
// exact one. No revision is therefore used twice after any crash: LastRevision is then the number ahead, and some
// revisions are skipped. Revisions that other software wrote into entries meanwhile count too.
//
// # Limits
//
// LevelDB has no range delete: Clear, and a change that clears, take a batch with a delete for each object, about 150
// bytes of memory each. Reading a directory costs its objects and a seek or two for each directory directly below it,
// but nothing for deeper levels. Finding the directories below a directory, for a pattern such as users/*/name, also
// has to pass its own objects.
package ko

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/syndtr/goleveldb/leveldb"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Durability defines when a write is acknowledged.
type Durability = enginekit.Durability

const (
	// DurabilitySync is enginekit.Sync, the default: no crash loses an acknowledged write.
	DurabilitySync = enginekit.Sync
	// DurabilityNoSync acknowledges a write when the operating system has it, like the older software. A crash of the
	// process loses nothing. A crash of the machine loses the writes that were not on disk yet, some seconds or tens
	// of seconds, and may leave a log with a hole, which Start rejects unless Recover is set. Close syncs and loses
	// nothing.
	DurabilityNoSync = enginekit.NoSync
)

// The defaults of Options.
const (
	defaultCacheSize   = 32 << 20
	defaultWriteBuffer = 4 << 20
	defaultMaxData     = 256 << 20
)

// Options configures a layer. The zero value is ready to use and durable.
//
// The memory of a layer is limited to CacheSize, three times WriteBuffer, and the indexes of at most 256 open tables,
// which are open files. In addition, a large object or batch takes about six times its size while LevelDB writes it
// and flushes it to a table.
type Options struct {
	// Durability defines when a write is acknowledged.
	Durability Durability
	// CacheSize is the size in bytes of the cache of blocks; 32 MiB if zero.
	CacheSize int64
	// WriteBuffer is the memory in bytes that holds writes before they are flushed to files. It also limits how much
	// of the log a start replays. 4 MiB if zero.
	WriteBuffer int
	// MaxData is the maximum length in bytes of one object's data. The default, 256 MiB, is also the highest value:
	// an object goes through several copies in memory.
	MaxData int
	// Recover lets Start rebuild a corrupt database from what is readable of it. See RecoveryReport for what that can
	// lose. Start then reads the whole database to find out whether it is corrupt, and leaves an intact one
	// unchanged.
	Recover bool
	// SkipInvalid skips everything that is not an object of this store: keys that are not valid paths, which Start
	// otherwise rejects, and entries that cannot be decoded, which otherwise make reads fail. Layer.Skipped names
	// them, and so does a store when it starts. Reads of several objects leave them out; Check reports each. Keys
	// that are not valid paths stay unchanged in the database, even after Clear. For an entry that cannot be decoded,
	// Get of its key fails, and Set, Del and Clear replace or remove it. Damaged files are never skipped.
	SkipInvalid bool
	// ReadOnly opens the database read-only. No file is created, changed or locked for writing, the content of the
	// log is read into memory, and every write returns storage.ErrReadOnly. Start fails if there is no database, and
	// while the directory is open for writing, here or in another process. Several read-only layers can share a
	// directory.
	ReadOnly bool
	// Logger receives LevelDB's messages about its work, at level debug, the results of a recovery, and the errors of
	// Clear and Close. Nil logs nothing: each error that matters to a caller is returned.
	Logger *slog.Logger
}

// withDefaults sets the defaults.
func (o Options) withDefaults() Options {
	if o.CacheSize <= 0 {
		o.CacheSize = defaultCacheSize
	}
	if o.WriteBuffer <= 0 {
		o.WriteBuffer = defaultWriteBuffer
	}
	if o.MaxData <= 0 || o.MaxData > defaultMaxData {
		o.MaxData = defaultMaxData
	}
	return o
}

// Layer is a persistent layer in a directory. In addition to what enginekit.Layer implements, it is a
// storage.Checker, Compacter, IncompleteMarker and Skipper.
type Layer struct {
	*layer
	life    *enginekit.Life[*database]
	dir     string
	options Options
	// openDisk opens and locks the existing directory. Tests replace it.
	openDisk func(dir string) (disk, error)
	// lookAt opens the directory for an inspection before openDisk; nil in tests.
	lookAt func(dir string) (disk, error)
}

type layer = enginekit.Layer[*database]

var (
	_ storage.Checker          = (*Layer)(nil)
	_ storage.Compacter        = (*Layer)(nil)
	_ storage.IncompleteMarker = (*Layer)(nil)
	_ storage.Skipper          = (*Layer)(nil)
)

// New returns a layer for a directory. It touches nothing. Start creates the directory and its parents if they are
// missing, locks the directory, opens the database and reads it through once if necessary, see the package
// documentation.
//
// Start returns a descriptive error if the directory is in use, is a file, cannot be written, is corrupt, holds
// something else, or holds keys that are not valid paths. Close syncs the log, and waits for the current part of a
// compaction, usually some tenths of a second. It does not flush memory to tables: the log has everything, and the
// next start replays it.
func New(dir string, options Options) *Layer {
	options = options.withDefaults()
	l := &Layer{dir: dir, options: options, openDisk: openFileDisk, lookAt: openReadDisk}
	l.layer, l.life = enginekit.New(enginekit.Config[*database]{
		Name: "ko", Place: dir, What: "the directory", Explain: explain,
		ReadOnly: options.ReadOnly, MaxData: options.MaxData, Logger: options.Logger,
		Open: func(_ context.Context, o storage.LayerOptions) (*database, error) {
			d := &database{dir: dir, options: options, maxBatch: defaultMaxBatch}
			d.options.Logger = l.life.Log()
			return d, l.start(d, o)
		},
	})
	return l
}

// database is an open directory.
type database struct {
	dir     string
	options Options
	// maxBatch is the maximum length in bytes of a batch. Tests use a smaller one.
	maxBatch int

	db        *leveldb.DB
	disk      *failstop
	revisions *revisions
	// compactions counts the parts of compactions in progress, which may outlast the wait for calls.
	compactions sync.WaitGroup
	// writes is held for reading by each write, and for writing by one that clears, which reads the keys first.
	// revisions.lock is acquired after it.
	writes sync.RWMutex

	// The findings of the start.
	survey   survey
	recovery *RecoveryReport // nil if there was no recovery
}

// Skipped implements storage.Skipper. It returns the keys that Options.SkipInvalid left out when the layer was
// started, the first 100 of each kind in byte order, and their total number. It returns nothing while the layer is
// not active.
func (l *Layer) Skipped() (keys []string, count int) {
	_ = l.life.Use(func(d *database) error { // an inactive layer has skipped nothing
		if l.options.SkipInvalid {
			keys = slices.Sorted(slices.Values(slices.Concat(d.survey.invalid.first, d.survey.undecodable.first)))
			count = d.survey.invalid.count + d.survey.undecodable.count
		}
		return nil
	})
	return keys, count
}

// Recovery returns the report of the recovery by the last Start, or nil if there was none.
func (l *Layer) Recovery() (report *RecoveryReport) {
	_ = l.life.Use(func(d *database) error { // an inactive layer has recovered nothing
		if d.recovery != nil {
			copied := *d.recovery
			report = &copied
		}
		return nil
	})
	return report
}
