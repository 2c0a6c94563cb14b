package pebble

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Start implements storage.Layer: it makes the directory where it is missing, locks it
// and opens the database.
//
// A directory that is marked as incomplete is refused with storage.ErrIncomplete, unless
// opt.AllowIncomplete is set. A directory that is in use, that is a file, that cannot be written, that is corrupt or
// that holds something else is an error that says so.
func (l *Layer) Start(opt storage.LayerOptions) error {
	l.life.Lock()
	defer l.life.Unlock()
	if l.db != nil {
		return storage.ErrActive
	}
	dir, err := l.findDir()
	if err != nil {
		return fmt.Errorf("pebble: open %s: %w", l.dir, explain(err))
	}
	// A store that is refused gets no file, not even that of its lock. Where there is one, its store may be in
	// use and change while it is looked at: then that waits for the lock.
	files := l.options.FS
	if _, err := files.Stat(files.PathJoin(dir, lockFile)); err != nil {
		if _, err := look(files, dir); err != nil {
			return fmt.Errorf("pebble: open %s: %w", l.dir, explain(err))
		}
	}
	lock, err := enginekit.Locked("the directory", func() (*pebble.Lock, error) {
		return pebble.LockDirectory(dir, lockFS{files, l.options.ReadOnly})
	}, lockHolder)
	if err != nil {
		return fmt.Errorf("pebble: open %s: %w", l.dir, explain(err))
	}
	if err := l.open(dir, lock, opt); err != nil {
		return fmt.Errorf("pebble: open %s: %w", l.dir, explain(enginekit.FirstError(err, lock.Close())))
	}
	return nil
}

// open opens the database in a directory that is locked.
func (l *Layer) open(dir string, lock *pebble.Lock, opt storage.LayerOptions) error {
	exists, err := look(l.options.FS, dir)
	if err == nil && !exists {
		err = l.create(dir, lock)
	}
	if err != nil {
		return err
	}
	db, disk, err := l.openDatabase(dir, lock)
	if err != nil {
		return err
	}
	if !opt.AllowIncomplete {
		if err := checkComplete(db); err != nil {
			disk.release()
			l.discard(db)
			return err
		}
	}
	l.db, l.disk, l.lock = db, disk, lock
	l.unnoted = rand.Uint64() | 1
	closing := make(chan struct{})
	l.closing, l.endLong = closing, sync.OnceFunc(func() { close(closing) })
	return nil
}

// openDatabase opens the database, or nothing.
func (l *Layer) openDatabase(dir string, lock *pebble.Lock) (*pebble.DB, *failstopFS, error) {
	disk := newFailstopFS(l.options.FS)
	if l.options.ReadOnly {
		disk = newFailstopFS(readFS{l.options.FS})
	}
	cache := pebble.NewCache(l.options.CacheSize)
	defer cache.Unref() // the database holds its own reference
	db, err := pebble.Open(dir, l.pebbleOptions(disk, cache, lock))
	if err != nil {
		disk.release()
		return nil, nil, enginekit.FirstError(disk.failure(), tableError(err))
	}
	if err := disk.failure(); err != nil {
		disk.release()
		l.discard(db)
		return nil, nil, err
	}
	return db, disk, nil
}

// tableError says what to do about tables that are missing or too short, which Pebble reports one by line.
func tableError(err error) error {
	if errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), "object size mismatch") {
		return fmt.Errorf("the store is corrupt; restore it from a backup: %w", oneLine{err})
	}
	return err
}

// oneLine is an error in one line.
type oneLine struct{ error }

func (e oneLine) Error() string { return enginekit.OneLine(e.error.Error()) }
func (e oneLine) Unwrap() error { return e.error }

// discard closes a database that is not to be used, for a reason that its caller returns.
func (l *Layer) discard(db *pebble.DB) {
	if err := db.Close(); err != nil {
		l.options.Logger.Debug("pebble: close after a failed open", "error", err)
	}
}

func (l *Layer) pebbleOptions(disk *failstopFS, cache *pebble.Cache, lock *pebble.Lock) *pebble.Options {
	log := logger{to: l.options.Logger, disk: disk}
	o := &pebble.Options{
		FS:            disk,
		ReadOnly:      l.options.ReadOnly,
		Lock:          lock,
		Cache:         cache,
		Logger:        log,
		EventListener: log.events(),
		// Named, so that a newer Pebble does not change the files on its own.
		FormatMajorVersion: pebble.FormatValueSeparation,
		MemTableSize:       uint64(l.options.MemTableSize),
		// With the default of 2, writers wait whenever one table of memory is flushed.
		MemTableStopWritesThreshold: 4,
		CompactionConcurrencyRange:  func() (int, int) { return 1, max(1, min(runtime.GOMAXPROCS(0), 3)) },
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // a look-up of an absent key reads nothing
	}
	return o
}

// Close implements storage.Layer. It waits for calls in progress, ends scans, checks and
// compactions in progress with storage.ErrNotActive (a scan at its next object that is not read
// yet), and puts the write-ahead log on the disk. It may be called from inside a scan's loop.
//
// It sorts what is in memory into a table, MemTableSize at most for each table in memory, as the next start
// would do otherwise: a store that was closed has nothing in its log, where damage at the end looks like what
// a crash leaves.
func (l *Layer) Close() {
	l.life.RLock()
	if l.db != nil {
		l.endLong()
	}
	l.life.RUnlock()
	l.life.Lock()
	defer l.life.Unlock()
	if l.db == nil {
		return
	}
	l.disk.release()
	l.scans.End((*scan).close)
	err := l.flush()
	err = enginekit.FirstError(l.db.Close(), l.disk.failure(), err)
	if err = enginekit.FirstError(err, l.lock.Close()); err != nil {
		l.options.Logger.Error("pebble: close", "dir", l.dir, "error", err)
	}
	l.db, l.disk, l.lock = nil, nil, nil
	l.closing, l.endLong = nil, nil
}

// flush sorts what was written into tables.
func (l *Layer) flush() error {
	if l.options.ReadOnly || l.disk.failure() != nil || l.db.Metrics().WAL.BytesIn == 0 {
		return nil
	}
	return l.db.Flush()
}

// findDir returns the one true name of the directory, which it makes unless it is opened to read only.
func (l *Layer) findDir() (string, error) {
	switch {
	case !l.options.ReadOnly:
		return prepareDir(l.options.FS, l.dir)
	case l.options.FS == vfs.Default:
		return enginekit.FindDir(l.dir)
	}
	return l.dir, nil
}

// prepareDir makes the directory with its parents, each of them durable, and returns its
// one true name, by which a second store in this process is noticed.
func prepareDir(disk vfs.FS, dir string) (string, error) {
	if dir == "" {
		return "", errors.New("the path of the directory is empty")
	}
	if disk == vfs.Default {
		absolute, err := filepath.Abs(dir)
		if err != nil {
			return "", err
		}
		dir = absolute
	}
	if err := makeDir(disk, dir); err != nil {
		return "", err
	}
	if disk == vfs.Default {
		return filepath.EvalSymlinks(dir)
	}
	return dir, nil
}

// makeDir makes a directory, parents first, and syncs the parent of each that it made.
func makeDir(disk vfs.FS, dir string) error {
	info, err := disk.Stat(dir)
	if err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s is a file, expected a directory", dir)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := disk.PathDir(dir)
	if parent != dir {
		if err := makeDir(disk, parent); err != nil {
			return err
		}
	}
	if err := disk.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return syncDir(disk, parent)
}

// lockHolder says who has the directory's lock. Within one process Pebble has no sentinel for it.
func lockHolder(err error) enginekit.Holder {
	switch {
	case errors.Is(err, errHeld), strings.Contains(err.Error(), "held by current process"):
		return enginekit.Here
	case errors.Is(err, syscall.EAGAIN):
		return enginekit.Anywhere
	}
	return enginekit.Nobody
}

// explain says what to do about an error of opening.
func explain(err error) error {
	if pebble.IsCorruptionError(err) {
		return fmt.Errorf("the store is corrupt; restore it from a backup: %w", oneLine{err})
	}
	return enginekit.Explain("the directory", err)
}
