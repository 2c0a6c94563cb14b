package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/engine/internal/enginekit"
	"github.com/oolith-db/oolith/storage"
)

// database is the file while it is open.
type database struct {
	path    string // absolute, without symbolic links
	options Options
	lock    *os.File
	readers *pool

	// closing is done when Close has begun: long calls end.
	closing context.Context
	cancel  context.CancelFunc

	// revision is the highest that was committed.
	revision atomic.Uint64
	id       uint64 // set before the database is shared

	// write guards the fields below: there is one writer.
	write    sync.Mutex
	writer   *conn
	failed   error   // why nothing more is written
	refused  refusal // of the last commit
	logPages int     // of the log, after the last commit
	movedAt  int     // logPages when the log was moved the last time

	// scans are those in progress.
	scans enginekit.Scans[*scan]
}

// Start implements storage.Layer: it makes the file where it is missing, locks it and opens it,
// and changes one of an older layout.
//
// A file that is in use, that is a directory, that cannot be written, that is corrupt or that is of
// something else is an error that says so; the last is left as it is.
func (l *Layer) Start(opt storage.LayerOptions) error {
	l.life.Lock()
	defer l.life.Unlock()
	if l.db != nil {
		return storage.ErrActive
	}
	db, err := l.open(opt)
	if err != nil {
		return fmt.Errorf("sqlite: open %s: %w", l.file, explain(err))
	}
	l.db = db
	return nil
}

// open finds the file, locks it and opens it.
func (l *Layer) open(opt storage.LayerOptions) (*database, error) {
	path, err := place(l.file)
	if err != nil {
		return nil, err
	}
	// Nothing is left beside a file that is not ours.
	if _, err := inspect(path); err != nil {
		return nil, err
	}
	lock, err := lockFile(path, l.options.Logger)
	if err != nil {
		return nil, err
	}
	db := &database{path: path, options: l.options, lock: lock}
	if err := db.open(opt); err != nil {
		if closeErr := db.close(); closeErr != nil {
			l.options.Logger.Debug("sqlite: close after a failed open", "file", path, "error", closeErr)
		}
		return nil, err
	}
	return db, nil
}

// open opens the file, whose lock is held.
func (d *database) open(opt storage.LayerOptions) error {
	d.closing, d.cancel = context.WithCancel(context.Background())
	d.readers = newPool(d.closing, readers(), func() (*conn, error) { return openReader(d.path, d.options) })
	exists, err := inspect(d.path)
	if err == nil && !exists {
		err = create(d.path, d.options)
	}
	if err != nil {
		return err
	}
	damage := checkLog(d.path)
	if damage != nil && !errors.Is(damage, errLogDamaged) {
		return damage
	}
	if d.writer, err = openWriter(d.path, d.options, d.onLog); err != nil {
		return err
	}
	if err := d.prepare(opt, damage); err != nil {
		return err
	}
	return d.readers.read(func(c *conn) error {
		// A table or an index that is gone shows here.
		for _, sql := range []string{getObject, scanObjects, checkObjects, listPaths, countObjects} {
			if _, err := c.prepare(sql); err != nil {
				return fmt.Errorf("its tables are not those of a store: %w", err)
			}
		}
		return nil
	})
}

// prepare makes the writer ready, on a database of the newest layout. The damage is of the log.
func (d *database) prepare(opt storage.LayerOptions, damage error) (err error) {
	defer d.writer.guard(&err)
	version, err := checkVersion(d.writer)
	if err == nil {
		err = d.noteSync(damage)
	}
	if err != nil {
		return err
	}
	if !opt.AllowIncomplete {
		if err := checkComplete(d.writer); err != nil {
			return err
		}
	}
	if err := migrate(d.writer, migrations, version); err != nil {
		return err
	}
	revision, _, err := d.writer.intNote(noteRevision)
	if err != nil {
		return err
	}
	d.revision.Store(uint64(revision))
	if err := d.identify(); err != nil {
		return err
	}
	for _, sql := range []string{putObject, deleteObject, clearObjects, putNote, deleteNote} {
		if _, err := d.writer.prepare(sql); err != nil {
			return fmt.Errorf("its tables are not those of a store: %w", err)
		}
	}
	return nil
}

// Close implements storage.Layer. It waits for calls in progress, of which it interrupts the long
// ones, ends scans in progress with storage.ErrNotActive at their next object that is not read yet,
// moves the write-ahead log into the file and syncs that. It may be called from inside a scan's
// loop.
func (l *Layer) Close() {
	l.interrupt()
	l.life.Lock()
	defer l.life.Unlock()
	if l.db == nil {
		return
	}
	if err := l.db.close(); err != nil {
		l.options.Logger.Error("sqlite: close", "file", l.db.path, "error", err)
	}
	l.db = nil
}

// interrupt ends the long calls.
func (l *Layer) interrupt() {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db != nil {
		l.db.cancel()
	}
}

// close closes what is open. No call is in progress.
func (d *database) close() error {
	d.cancel()
	d.scans.End((*scan).close)
	errs := []error{d.readers.close()}
	if d.writer != nil {
		errs = append(errs, d.closeWriter())
	}
	return enginekit.FirstError(append(errs, d.lock.Close())...)
}

// closeWriter closes the last connection. After a failure nothing more is written, and the next
// start reads the log from the disk.
func (d *database) closeWriter() error {
	d.write.Lock()
	defer d.write.Unlock()
	var err error
	if d.failed == nil {
		_, err = d.moveLog()
	}
	if d.failed != nil {
		err = enginekit.FirstError(err, d.writer.keepLog())
	}
	err = enginekit.FirstError(err, d.writer.close())
	d.writer = nil
	return err
}

// keepLog makes the close leave the log alone.
func (c *conn) keepLog() (err error) {
	defer c.guard(&err)
	_, err = c.db.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true)
	return err
}

// interruptible runs do on a connection, interrupted when the context is done or the layer closes.
// That has ended it is told beside the error that says so.
func (d *database) interruptible(ctx context.Context, c *conn, do func() error) (ended bool, err error) {
	during, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.closing, cancel)()
	if d.closing.Err() == nil {
		c.db.SetInterrupt(during)
		err = do()
		c.db.SetInterrupt(context.Background())
		if !isCode(err, sqlite3.INTERRUPT) {
			return false, err
		}
	}
	if d.closing.Err() != nil {
		return true, storage.ErrNotActive
	}
	return true, context.Cause(ctx)
}
