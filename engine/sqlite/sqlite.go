// Package sqlite keeps a store's objects in one file, an SQLite database: an ordinary table that any program for
// SQLite can read.
//
// # The file
//
// All objects are rows of the table objects; see schema.go. While the store is open, FILE-wal and FILE-shm exist
// beside FILE and belong to it. FILE-lock holds the id of a process and stays. To copy an open store, copy it with
// SQLite (VACUUM INTO, or .backup in its shell): FILE alone has only the older part of the content.
//
// A file can be open in one layer at a time; a second layer is rejected, in this process and in others. Other
// programs may read while the file is open: they see each commit atomically, and neither side waits for the other.
// Other programs that write are not excluded. SQLite keeps the file intact, but a store with memory above the layer
// shows their changes only after its next start: close the store first.
//
// # Editing by hand
//
// Every row has a checksum, so a byte that changes on disk is detected. If another program updates a row, a trigger
// removes the checksum. A row without a checksum is accepted if its path and its JSON are valid. While the store is
// closed, these statements therefore work:
//
//	UPDATE objects SET data = json_set(data, '$.name', 'x') WHERE path = 'users/1';
//	INSERT INTO objects (path, data) VALUES ('users/2', '{}');
//	DELETE FROM objects WHERE directory = 'users';
//
// A dump of SQLite's shell lacks the mark that makes a file a store. In a database made from a dump, PRAGMA
// application_id = 1332702313 sets it.
//
// # Durability
//
// A write is acknowledged after SQLite's write-ahead log is synced to disk: it survives a crash of the process and of
// the machine. Durability names the weaker mode.
//
// # Failing and full disks
//
// A write that does not fit on the disk is rolled back and rejected: nothing of it is kept, and the next write is
// attempted normally. After any other failure of a commit, it is unknown whether the disk kept the commit. Such a
// failure permanently stops the writes of the layer: all later writes return an error that wraps the cause. Reads
// continue. To read the actual content, close the layer and start it again. Writes acknowledged before the failure
// are kept in any case.
package sqlite

import (
	"context"
	"log/slog"
	"runtime"
	"strconv"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Durability defines when a write is acknowledged.
type Durability = enginekit.Durability

const (
	// DurabilitySync is enginekit.Sync, the default: no crash loses an acknowledged write.
	DurabilitySync = enginekit.Sync
	// DurabilityNoSync acknowledges a write when the operating system has it. A crash of the process loses nothing. A
	// crash of the machine, or a power failure, loses the writes since the log was last moved into the file, some
	// thousand pages. Only the newest writes are lost: the store comes back intact, in its state at one earlier
	// instant. Close syncs and loses nothing. The mode is SQLite's synchronous=NORMAL: OFF would be only slightly
	// faster, and could corrupt the file.
	DurabilityNoSync = enginekit.NoSync
)

// The defaults and limits of Options.
const (
	defaultCacheSize = 64 << 20
	// SQLite runs in its own memory for each connection, which is reserved and taken only when it is used.
	maxMemory64, maxMemory32 = 4 << 30, 128 << 20
	maxData64, maxData32     = 512 << 20, 16 << 20
	maxReaders               = 8
)

// Options configures a layer. The zero value is ready to use and durable.
type Options struct {
	// Durability defines when a write is acknowledged.
	Durability Durability
	// CacheSize is the memory in bytes for pages that were read or written, over all connections; 64 MiB if zero. A
	// scan that runs concurrently with many others has an additional share.
	CacheSize int64
	// MaxData is the maximum length in bytes of one object's data. The default, 512 MiB, is also the highest value:
	// SQLite itself is limited to 1,000,000,000 bytes, and to several copies of them in a memory of 4 GiB. On 32-bit
	// machines it is 16 MiB.
	MaxData int
	// ReadOnly opens an existing file read-only. No file is created, changed, or locked for writing, so the disk may
	// be read-only, and the log of a store that was not closed is read in place. Several read-only layers can share a
	// file. They and a store that writes, of this process or another, exclude each other. No other program may write
	// to the file meanwhile. Writes return storage.ErrReadOnly.
	ReadOnly bool
	// Logger receives errors that no caller receives: errors of Clear, of Close and of moving the log into the file.
	// Nil logs nothing.
	Logger *slog.Logger

	// vfs is the name of SQLite's file system; the operating system's if empty. Tests use it to inject errors and
	// power failures.
	vfs string
	// longLog is the length in pages after which the log is moved into the file.
	longLog int
}

// withDefaults sets the defaults.
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

// readers returns how many connections read at the same time, besides scans and a check.
func readers() int { return max(2, min(runtime.GOMAXPROCS(0), maxReaders)) }

// mostData returns the maximum length of data on this machine.
func mostData() int {
	if strconv.IntSize == 32 {
		return maxData32
	}
	return maxData64
}

// memory returns how much memory a connection may take in total, and how much of it for pages.
func (o Options) memory() (all, cache int64) {
	all = int64(maxMemory64)
	if strconv.IntSize == 32 {
		all = maxMemory32
	}
	// A value that is written or read takes a few copies.
	working := 4*int64(mostData()) + 32<<20
	cache = min(o.CacheSize/int64(readers()+1), all-working)
	return working + cache, cache
}

// Layer is a persistent layer in a file. In addition to what enginekit.Layer implements, it is a storage.Checker,
// storage.Compacter, storage.IncompleteMarker and storage.Identified.
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

// New returns a layer for a file. It touches nothing. Start creates the file and the directories above it if they are
// missing, locks and opens the file, and migrates an older layout.
//
// Start returns a descriptive error if the file is in use, is a directory, cannot be written, is corrupt, or belongs
// to something else. It leaves a foreign file unchanged. Close moves the write-ahead log into the file and syncs the
// file.
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

// ID implements storage.Identified. The number is the entry "id" of the table oolith.
func (l *Layer) ID() (id uint64, err error) {
	err = l.life.Use(func(d *database) error {
		id = d.id
		return nil
	})
	return id, err
}

// MarkIncomplete implements storage.IncompleteMarker. When it returns, the mark and everything written before it are
// on disk, regardless of Durability.
func (l *Layer) MarkIncomplete(reason string) error {
	return enginekit.Alone(l.life.Write(func(d *database) error {
		d.write.Lock()
		defer d.write.Unlock()
		return d.outcome("mark the store as incomplete", 0, d.mark(reason))
	}))
}

// mark writes or removes the note, in a transaction that is synced.
func (d *database) mark(reason string) (err error) {
	defer d.writer.guard(&err)
	return d.noteDurably(noteIncomplete, reason)
}
