// Package sqlite keeps a store's objects in one file, an SQLite database: an ordinary table
// that any program for SQLite reads.
//
// # The file
//
// All objects are rows of the table objects; see schema.go. Beside FILE there are FILE-wal and
// FILE-shm while the store is open, which belong to it, and FILE-lock, which holds the id of a
// process and stays. To copy a store that is open, copy it with SQLite (VACUUM INTO, or .backup in
// its shell): FILE alone is only the older part of it.
//
// One layer at a time has a file; a second one is refused, in this process and in others. Other
// programs may read while it is open: they see each commit whole, and nobody waits for them. One
// that writes meanwhile is not kept away, and SQLite keeps the file sound, but a store with memory
// above the layer shows nothing of it before its next start: close the store first.
//
// # Editing by hand
//
// Every row has a checksum, so that a byte that changed on the disk is noticed. A trigger takes the
// checksum away when another program updates a row. A row without checksum is taken as it is, if
// its path and its JSON are valid. So these just work, while the store is closed:
//
//	UPDATE objects SET data = json_set(data, '$.name', 'x') WHERE path = 'users/1';
//	INSERT INTO objects (path, data) VALUES ('users/2', '{}');
//	DELETE FROM objects WHERE directory = 'users';
//
// A dump of SQLite's shell leaves the mark out that makes a file a store. In a database made of one,
// PRAGMA application_id = 1332702313 sets it.
//
// # Durability
//
// A write is acknowledged after SQLite's write-ahead log was synced to the disk: it survives
// a crash of the process and of the machine. Durability names the weaker mode.
//
// # When the disk fails or is full
//
// A write that the disk has no room for is rolled back and refused; nothing of it is kept, and the
// next one is tried again. Any other failure of a commit leaves open whether the disk kept it: it
// stops the layer's writing for good, and all later writes return an error that holds the cause.
// Reads go on. To close the layer and start it again reads the truth back. What was acknowledged
// before is kept in any case.
package sqlite

import (
	"context"
	"log/slog"
	"runtime"
	"strconv"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Durability says when a write is acknowledged.
type Durability = enginekit.Durability

const (
	// DurabilitySync is enginekit.Sync, the default: nothing acknowledged is lost, whatever crashes.
	DurabilitySync = enginekit.Sync
	// DurabilityNoSync acknowledges a write when the operating system has it. A crash of the
	// process loses nothing. A crash of the machine, or a loss of power, loses what was written
	// since the log was last moved into the file, some thousand pages: always the newest, so that
	// the store comes back as it was at one instant before, sound. Close syncs, so that nothing is
	// lost by it. It is SQLite's synchronous=NORMAL: OFF would be little faster, and could leave a
	// file that is corrupt.
	DurabilityNoSync = enginekit.NoSync
)

// The defaults and limits of Options.
const (
	defaultCacheSize = 64 << 20
	// SQLite runs in a memory of its own for each connection, which is reserved and not
	// taken before it is used.
	maxMemory64, maxMemory32 = 4 << 30, 128 << 20
	maxData64, maxData32     = 512 << 20, 16 << 20
	maxReaders               = 8
)

// Options of a layer. The zero value is ready to use and durable.
type Options struct {
	// Durability says when a write is acknowledged.
	Durability Durability
	// CacheSize is the memory in bytes for pages that were read or written, over all connections;
	// 64 MiB when zero. A scan that is in progress beside many others has a share on top.
	CacheSize int64
	// MaxData is the greatest length in bytes of one object's data; 512 MiB when zero, which
	// is also the most: SQLite itself takes 1,000,000,000 bytes, and several copies of them in
	// a memory of 4 GiB. On 32-bit machines it is 16 MiB.
	MaxData int
	// ReadOnly opens a file that is there to read only. No file is made, changed, or locked for
	// writing, so that the disk may be read-only, and the log of a store that was not closed is read where it is.
	// Others may do the same meanwhile; a store that writes, of this process or another, is refused while it
	// lasts, and refuses it. No other program may write to the file meanwhile. Writes are storage.ErrReadOnly.
	ReadOnly bool
	// Logger gets what no caller can be told: errors of Clear, of Close and of the moving of the
	// log into the file. Nil logs nothing.
	Logger *slog.Logger

	// vfs is the name of SQLite's file system; the operating system's when empty. Tests
	// inject errors and losses of power by it.
	vfs string
	// longLog is the length in pages after which the log is moved into the file.
	longLog int
}

// withDefaults fills in what was left open.
func (o Options) withDefaults() Options {
	if o.CacheSize <= 0 {
		o.CacheSize = defaultCacheSize
	}
	if most := mostData(); o.MaxData <= 0 || o.MaxData > most {
		o.MaxData = most
	}
	if o.longLog <= 0 {
		o.longLog = defaultLongLog
	}
	return o
}

// readers is how many connections read at a time, besides scans and a check.
func readers() int { return max(2, min(runtime.GOMAXPROCS(0), maxReaders)) }

// mostData is the greatest length of data on this machine.
func mostData() int {
	if strconv.IntSize == 32 {
		return maxData32
	}
	return maxData64
}

// memory is what a connection may take in all, and cache how much of it for pages.
func (o Options) memory() (all, cache int64) {
	all = int64(maxMemory64)
	if strconv.IntSize == 32 {
		all = maxMemory32
	}
	// What is being written or read takes a few copies.
	working := 4*int64(mostData()) + 32<<20
	cache = min(o.CacheSize/int64(readers()+1), all-working)
	return working + cache, cache
}

// Layer is a persistent layer in a file. Besides what enginekit.Layer implements it is a
// storage.Checker, storage.Compacter, storage.IncompleteMarker and storage.Identified.
type Layer struct {
	*layer
	life    *enginekit.Life[*database]
	file    string
	options Options
}

type layer = enginekit.Layer[*database]

var (
	_ storage.Checker          = (*Layer)(nil)
	_ storage.Compacter        = (*Layer)(nil)
	_ storage.IncompleteMarker = (*Layer)(nil)
	_ storage.Identified       = (*Layer)(nil)
)

// New returns a layer for a file. Nothing is touched before Start, which creates the file
// and the directories above it where they are missing, locks it and opens it, and changes one of an older layout.
//
// A file that is in use, that is a directory, that cannot be written, that is corrupt or that is of
// something else is an error of Start that says so; the last is left as it is. Close moves the write-ahead log into
// the file and syncs that.
func New(file string, options Options) *Layer {
	options = options.withDefaults()
	l := &Layer{file: file, options: options}
	l.layer, l.life = enginekit.New(enginekit.Config[*database]{
		Name: "sqlite", Place: file, What: "the file or its directory", Explain: explain,
		ReadOnly: options.ReadOnly, MaxData: options.MaxData, Logger: options.Logger,
		Open: func(closing context.Context, o storage.LayerOptions) (*database, error) {
			d := &database{options: l.options, closing: closing}
			d.options.Logger = l.life.Log()
			return d, d.start(file, o)
		},
	})
	return l
}

// ID implements storage.Identified. The number is the one called "id" in the table oolith.
func (l *Layer) ID() (id uint64, err error) {
	err = l.life.Use(func(d *database) error {
		id = d.id
		return nil
	})
	return id, err
}

// MarkIncomplete implements storage.IncompleteMarker. It is on the disk when it returns,
// whatever Durability says, and so is all that was written before it.
func (l *Layer) MarkIncomplete(reason string) error {
	return enginekit.Alone(l.life.Write(func(d *database) error {
		d.write.Lock()
		defer d.write.Unlock()
		return d.outcome("mark the store as incomplete", 0, d.mark(reason))
	}))
}

// mark writes or takes away the note, in a transaction that is synced.
func (d *database) mark(reason string) (err error) {
	defer d.writer.guard(&err)
	return d.noteDurably(noteIncomplete, reason)
}
