package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
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

	image    *image // what is read; nil for the file itself
	unsynced bool   // the log was written without sync

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
	path, err := place(l.file, l.options.ReadOnly)
	if err != nil {
		return nil, err
	}
	// Nothing is left beside a file that is not ours.
	if _, err := inspect(path); err != nil {
		return nil, err
	}
	db := &database{path: path, options: l.options}
	if l.options.ReadOnly {
		db.lock, err = shareFile(path)
	} else {
		db.lock, err = lockFile(path)
	}
	if err != nil {
		return nil, err
	}
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
	exists, err := inspect(d.path)
	if err == nil && !exists && !d.options.ReadOnly {
		err = create(d.path, d.options)
	}
	if err != nil {
		return err
	}
	damage := checkLog(d.path)
	if damage != nil && !errors.Is(damage, errLogDamaged) {
		return damage
	}
	if err := d.look(opt, damage); err != nil || d.options.ReadOnly {
		return err
	}
	noteProcess(d.lock, d.options.Logger)
	d.readFrom(nil)
	if d.writer, err = openWriter(d.path, d.options, d.onLog); err != nil {
		return err
	}
	if err = d.prepare(opt, damage); err != nil {
		d.failed = err // so that Close leaves the log as it is
	}
	return err
}

// readFrom makes the readers those of the file, or of an image of it.
func (d *database) readFrom(image *image) {
	d.image = image
	d.readers = newPool(d.closing, readers(), func() (*conn, error) { return openReader(d.path, image, d.options) })
}

// look refuses a database that is no store as it should be, by an image of it, and so touches nothing. A
// database that is opened to read only is open then. The damage is of the log.
func (d *database) look(opt storage.LayerOptions, damage error) error {
	if err := checkJournal(d.path); err != nil {
		if d.options.ReadOnly {
			return err
		}
		return nil // SQLite takes that transaction back
	}
	image, err := openImage(d.path)
	if err != nil {
		return err
	}
	d.readFrom(image)
	if damage == nil {
		damage = image.checkIndex(d.path)
	}
	err = d.readers.read(func(c *conn) error {
		version, err := d.readNotes(c, opt, damage)
		if newest := int64(len(migrations)); err == nil && version < newest {
			if d.options.ReadOnly {
				return fmt.Errorf("its layout has version %d, expected %d: open it once to write, which changes it", version, newest)
			}
			return nil
		}
		return enginekit.FirstError(err, c.prepareAll(readStatements))
	})
	if err != nil {
		return err
	}
	if d.options.ReadOnly {
		d.failed = fmt.Errorf("sqlite: %s: %w", d.path, storage.ErrReadOnly)
		return nil
	}
	return d.closeReaders()
}

// readNotes reads what the database notes about itself, and returns the version of its layout.
func (d *database) readNotes(c *conn, opt storage.LayerOptions, damage error) (version int64, err error) {
	if version, err = checkVersion(c); err != nil {
		return 0, err
	}
	if d.unsynced, err = c.isUnsynced(); err != nil {
		return 0, err
	}
	if damage != nil && !d.unsynced {
		return 0, damage
	}
	if !opt.AllowIncomplete {
		if err := checkComplete(c); err != nil {
			return 0, err
		}
	}
	revision, _, err := c.intNote(noteRevision)
	if err != nil {
		return 0, err
	}
	d.revision.Store(uint64(revision))
	id, found, err := c.intNote(noteID)
	if d.id = uint64(id); !found {
		d.id = rand.Uint64() | 1 // noted by a start that may write
	}
	return version, err
}

// prepare makes the writer ready, and the database one of the newest layout.
func (d *database) prepare(opt storage.LayerOptions, damage error) (err error) {
	defer d.writer.guard(&err)
	version, err := d.readNotes(d.writer, opt, damage)
	if err != nil {
		return err
	}
	if err := d.noteSync(); err != nil {
		return err
	}
	if err := migrate(d.writer, migrations, version); err != nil {
		return err
	}
	if err := d.identify(); err != nil {
		return err
	}
	return enginekit.FirstError(d.writer.prepareAll(readStatements), d.writer.prepareAll(writeStatements))
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
	errs := []error{d.closeReaders()}
	if d.writer != nil {
		errs = append(errs, d.closeWriter())
	}
	if d.lock != nil {
		errs = append(errs, d.lock.Close())
	}
	return enginekit.FirstError(errs...)
}

// closeReaders closes the readers, and the image that they read.
func (d *database) closeReaders() error {
	var errs []error
	if d.readers != nil {
		errs = append(errs, d.readers.close())
	}
	if d.image != nil {
		errs = append(errs, d.image.close())
	}
	return enginekit.FirstError(errs...)
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
