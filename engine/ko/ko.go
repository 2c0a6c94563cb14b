// Package ko keeps a store's objects in a directory, in a LevelDB database of the format
// that ko, an older adapter for the same objects, has always written. Such a database is
// opened in place, and the older software reads back what is written here.
//
// # Format
//
// A key is the path of an object, as it is. A value is the object as JSON, in the form
// that encoding/json gives to a meta.Object:
//
//	{"created":1,"updated":0,"index":"1","path":"users/1","data":{"a":1},"revision":7}
//
// Data stands in it byte for byte, with the white space around it. Older entries have no
// revision, and may have no path: the key counts. An entry that cannot be read is an error
// that names its key. Nothing else is in the database: what this layer notes for itself is
// in files beside it, whose names begin with OOLITH- and which LevelDB ignores.
//
// # Durability
//
// A write is acknowledged after the log was synced to the disk: it survives a crash of the
// process and of the machine. Durability names the weaker mode.
//
// # When the disk fails
//
// The first write, sync or file creation that the disk refuses stops the layer's writing for
// good: the write that met it and all later ones return an error that holds the cause, and
// nothing more is written to the directory; see failstop.go. Reads go on, and show nothing of
// the write that failed. To close the layer and start it again reads the truth back, which may
// hold that write. What was acknowledged before is kept.
//
// # Opening
//
// LevelDB drops damaged records of its logs in silence, and tables that a damaged list of them does not name. Start
// looks for such damage first, and for files that are missing, and refuses it. It then reads the whole database
// once, to find keys that are no valid paths and revisions that other software wrote: a second or less for
// a million small objects, where the disk keeps up. It leaves that out when nothing but
// this layer has touched the database since it was last closed in order.
//
// # Revisions
//
// The file OOLITH-KO holds the last revision. While the layer is open it holds a number that
// is ahead of all revisions in use, moved on (and synced) once in 65,536 revisions, before
// the batch that needs it; Close writes the exact one. So no revision is used twice, whatever
// crashes: after a crash LastRevision is the number ahead, and some revisions are skipped.
// Revisions that other software wrote into entries meanwhile count too.
//
// # Limits
//
// LevelDB has no range delete: Clear, and a change that clears, take a batch with a delete for
// each object, about 150 bytes of memory each. Reading a directory costs its
// objects and a seek or two for each directory right below it, not the levels further down;
// but to find the directories below one, for a pattern such as users/*/name, also its own objects
// have to be passed.
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

// Durability says when a write is acknowledged.
type Durability = enginekit.Durability

const (
	// DurabilitySync is enginekit.Sync, the default: nothing acknowledged is lost, whatever crashes.
	DurabilitySync = enginekit.Sync
	// DurabilityNoSync acknowledges a write when the operating system has it, as the
	// older software does. A crash of the process loses nothing. A crash of the machine
	// loses what was not on the disk yet, some seconds or tens of them, and may leave a log
	// with a hole, which Start refuses until it is told to recover. Close syncs, so
	// that nothing is lost by it.
	DurabilityNoSync = enginekit.NoSync
)

// The defaults of Options.
const (
	defaultCacheSize   = 32 << 20
	defaultWriteBuffer = 4 << 20
	defaultMaxData     = 256 << 20
)

// Options of a layer. The zero value is ready to use and durable.
//
// The memory of a layer is bounded by CacheSize, three times WriteBuffer, and the indexes of
// at most 256 open tables, which are files that are open. Above that, a large object or batch takes
// about six times its size while LevelDB writes it and sorts it into a table.
type Options struct {
	// Durability says when a write is acknowledged.
	Durability Durability
	// CacheSize is the memory in bytes for blocks that were read; 32 MiB when zero.
	CacheSize int64
	// WriteBuffer is the memory in bytes that takes writes before they are sorted into
	// files. It bounds what a start has to replay from the log too. 4 MiB when zero.
	WriteBuffer int
	// MaxData is the greatest length in bytes of one object's data; 256 MiB when zero,
	// which is also the most that is taken: an object goes through several copies in memory.
	MaxData int
	// Recover lets Start rebuild a database that is corrupt from what is readable of it.
	// See RecoveryReport for what that can lose. Start then reads the whole database to find
	// out whether it is corrupt, and leaves one alone that is not.
	Recover bool
	// SkipInvalid leaves out what is no object of this store: keys that are no valid paths, which Start
	// refuses otherwise, and entries that cannot be decoded, which are errors for who reads them otherwise. Layer.Skipped
	// names them, and so does a store when it starts. No read of several objects shows them; Check reports
	// each. Keys that are no valid paths stay in the database untouched, also by Clear; an entry that cannot be decoded
	// is an error of Get of its key, and Set, Del and Clear replace and remove it. Damaged files are never skipped.
	SkipInvalid bool
	// ReadOnly opens the database to read only: no file is made, changed or locked for writing, what is in the log is
	// read into memory, and every write is storage.ErrReadOnly. Start fails where there is no database, and while
	// the directory is open to be written, here or in another process; many may read it at once.
	ReadOnly bool
	// Logger gets what LevelDB tells of its work, at level debug, what a recovery did, and the
	// errors of Clear and Close. Nil logs nothing: each error that matters to a caller is returned.
	Logger *slog.Logger
}

// withDefaults fills in what was left open.
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

// Layer is a persistent layer in a directory. Besides what enginekit.Layer implements it is a
// storage.Checker, Compacter, IncompleteMarker and Skipper.
type Layer struct {
	*layer
	life    *enginekit.Life[*database]
	dir     string
	options Options
	// openDisk opens and locks the directory, which exists. Tests put another in its place.
	openDisk func(dir string) (disk, error)
	// lookAt opens the directory to look at it before openDisk; nil in tests.
	lookAt func(dir string) (disk, error)
}

type layer = enginekit.Layer[*database]

var (
	_ storage.Checker          = (*Layer)(nil)
	_ storage.Compacter        = (*Layer)(nil)
	_ storage.IncompleteMarker = (*Layer)(nil)
	_ storage.Skipper          = (*Layer)(nil)
)

// New returns a layer for a directory. Nothing is touched before Start, which creates
// the directory and its parents where they are missing, locks it,
// opens the database and reads it through once where that is needed, for which see the
// package.
//
// A directory that is in use, that is a file, that cannot be written, that is corrupt, that
// holds something else or that holds keys which are no valid paths is an error of Start that says so. Close
// puts the log on the disk, and waits for the part that a compaction is at, some tenths of a second as a rule. It sorts nothing
// into tables: the log has it, and the next start replays that.
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

// database is the directory while it is open.
type database struct {
	dir     string
	options Options
	// maxBatch is the greatest length in bytes of a batch. Tests have less.
	maxBatch int

	db        *leveldb.DB
	disk      *failstop
	revisions *revisions
	// compactions counts the parts of them under way, which go on while calls are waited for.
	compactions sync.WaitGroup
	// writes is held for reading by each write, and for writing by one that clears, which
	// reads the keys first. revisions.lock is taken after it.
	writes sync.RWMutex

	// What the start found out.
	survey   survey
	recovery *RecoveryReport // nil when there was nothing to recover
}

// Skipped implements storage.Skipper: it returns the keys that Options.SkipInvalid left out when the layer was
// started, the first 100 of each kind in byte order, and how many there are. It is empty while the layer is
// not active.
func (l *Layer) Skipped() (keys []string, count int) {
	_ = l.life.Use(func(d *database) error { // one that is not active has left out nothing
		if l.options.SkipInvalid {
			keys = slices.Sorted(slices.Values(slices.Concat(d.survey.invalid.first, d.survey.undecodable.first)))
			count = d.survey.invalid.count + d.survey.undecodable.count
		}
		return nil
	})
	return keys, count
}

// Recovery returns what the recovery of the last Start did, or nil when there was none.
func (l *Layer) Recovery() (report *RecoveryReport) {
	_ = l.life.Use(func(d *database) error { // one that is not active has recovered nothing
		if d.recovery != nil {
			copied := *d.recovery
			report = &copied
		}
		return nil
	})
	return report
}
