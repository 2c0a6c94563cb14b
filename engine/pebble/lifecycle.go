package pebble

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// start finds, locks and opens the directory. After an error it holds nothing.
func (d *database) start(o storage.LayerOptions) error {
	dir, err := d.findDir()
	if err != nil {
		return err
	}
	// A rejected store gets no file, not even the lock file. If there is a lock file, the store may be in use and
	// change during the inspection: the inspection then waits for the lock.
	files := d.options.FS
	if _, err := files.Stat(files.PathJoin(dir, lockFile)); err != nil {
		if _, err := look(files, dir); err != nil {
			return err
		}
	}
	d.lock, err = enginekit.Locked("the directory", func() (*pebble.Lock, error) {
		return pebble.LockDirectory(dir, lockFS{files, d.options.ReadOnly})
	}, lockHolder)
	if err != nil {
		return err
	}
	if err := d.open(dir, o); err != nil {
		return cmp.Or(err, d.lock.Close())
	}
	return nil
}

// open opens the database in a locked directory.
func (d *database) open(dir string, o storage.LayerOptions) error {
	exists, err := look(d.options.FS, dir)
	if err == nil && !exists {
		err = d.create(dir)
	}
	if err == nil {
		err = d.openDatabase(dir)
	}
	if err != nil {
		return err
	}
	if !o.AllowIncomplete {
		if err := d.checkComplete(); err != nil {
			d.disk.release()
			d.discard()
			return err
		}
	}
	d.unnoted = rand.Uint64() | 1
	return nil
}

// openDatabase opens the database. After an error it holds nothing.
func (d *database) openDatabase(dir string) (err error) {
	d.disk = newFailstopFS(d.options.FS)
	if d.options.ReadOnly {
		d.disk = newFailstopFS(readFS{d.options.FS})
	}
	cache := pebble.NewCache(d.options.CacheSize)
	defer cache.Unref() // the database holds its own reference
	d.db, err = pebble.Open(dir, d.pebbleOptions(cache))
	if err != nil {
		d.disk.release()
		return cmp.Or(d.disk.failure(), tableError(err))
	}
	if err := d.disk.failure(); err != nil {
		d.disk.release()
		d.discard()
		return err
	}
	return nil
}

// tableError adds advice to an error about tables that are missing or too short, which Pebble reports one by line.
func tableError(err error) error {
	if errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), "object size mismatch") {
		return fmt.Errorf("the store is corrupt; restore it from a backup: %w", oneLine{err})
	}
	return err
}

// oneLine is an error whose text is one line.
type oneLine struct{ error }

func (e oneLine) Error() string { return enginekit.OneLine(e.error.Error()) }
func (e oneLine) Unwrap() error { return e.error }

// discard closes a database that cannot be used. The caller returns the reason.
func (d *database) discard() {
	if err := d.db.Close(); err != nil {
		d.options.Logger.Debug("pebble: close after a failed open", "error", err)
	}
}

func (d *database) pebbleOptions(cache *pebble.Cache) *pebble.Options {
	log := logger{to: d.options.Logger, disk: d.disk}
	o := &pebble.Options{
		FS:            d.disk,
		ReadOnly:      d.options.ReadOnly,
		Lock:          d.lock,
		Cache:         cache,
		Logger:        log,
		EventListener: log.events(),
		// The version is explicit, so a newer Pebble does not change the files by itself.
		FormatMajorVersion: pebble.FormatValueSeparation,
		MemTableSize:       uint64(d.options.MemTableSize),
		// With the default of 2, writers wait whenever a memtable is flushed.
		MemTableStopWritesThreshold: 4,
		CompactionConcurrencyRange:  func() (int, int) { return 1, max(1, min(runtime.GOMAXPROCS(0), 3)) },
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // a look-up of an absent key reads no data
	}
	return o
}

// Close implements enginekit.Database.
func (d *database) Close() error {
	d.disk.release()
	flushed := d.flush()
	return cmp.Or(d.db.Close(), d.disk.failure(), flushed, d.lock.Close())
}

// flush writes the memtables to tables.
func (d *database) flush() error {
	if d.options.ReadOnly || d.disk.failure() != nil || d.db.Metrics().WAL.BytesIn == 0 {
		return nil
	}
	return d.db.Flush()
}

// findDir returns the canonical name of the directory, by which a second store in this process is detected. It
// creates the directory unless the layer is opened read-only.
func (d *database) findDir() (string, error) {
	files := d.options.FS
	real := files == vfs.Default
	switch {
	case d.dir == "":
		return "", errors.New("the path of the directory is empty")
	case d.options.ReadOnly && real:
		return enginekit.FindDir(d.dir)
	case d.options.ReadOnly:
		return d.dir, nil
	case real:
		return enginekit.PrepareDir(d.dir, enginekit.SyncDir)
	}
	return d.dir, makeDir(files, d.dir)
}

// makeDir is enginekit.MakeDir for another file system.
func makeDir(disk vfs.FS, dir string) error {
	if _, err := disk.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := disk.PathDir(dir)
	if parent != dir {
		if err := makeDir(disk, parent); err != nil {
			return err
		}
	}
	return cmp.Or(disk.MkdirAll(dir, 0o755), syncDir(disk, parent))
}

// lockHolder reports who has the directory's lock. Pebble has no sentinel error for a holder in the same process.
func lockHolder(err error) enginekit.Holder {
	switch {
	case errors.Is(err, errHeld), strings.Contains(err.Error(), "held by current process"):
		return enginekit.Here
	case errors.Is(err, syscall.EAGAIN):
		return enginekit.Anywhere
	}
	return enginekit.Nobody
}

// explain adds advice to an error.
func explain(err error) error {
	if pebble.IsCorruptionError(err) {
		return fmt.Errorf("the store is corrupt; restore it from a backup: %w", oneLine{err})
	}
	return err
}
