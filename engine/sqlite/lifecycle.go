package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/storage"
)

// database is an open file.
type database struct {
	path    string // absolute, without symbolic links
	options Options
	lock    *os.File
	readers *pool
	// closing is done once Close begins: long calls end.
	closing context.Context

	unsynced bool // the log was written without sync
	// revision is the highest committed revision.
	revision atomic.Uint64
	id       uint64 // set before the database is shared

	// write guards the fields below: there is one writer.
	write    sync.Mutex
	writer   *conn
	failed   error   // why no more writes are made
	refused  refusal // of the last commit
	logPages int     // of the log, after the last commit
	movedAt  int     // logPages when the log was last moved
}

// start finds the file, locks it and opens it. After an error it holds nothing.
func (d *database) start(file string, o storage.LayerOptions) (err error) {
	if d.path, err = place(file, d.options.ReadOnly); err != nil {
		return err
	}
	// No file is created beside a foreign file.
	if _, err := inspect(d.path); err != nil {
		return err
	}
	if d.options.ReadOnly {
		d.lock, err = shareFile(d.path)
	} else {
		d.lock, err = lockFile(d.path)
	}
	if err != nil {
		return err
	}
	if err := d.open(o); err != nil {
		d.failed = cmp.Or(d.failed, err) // makes Close leave the log as it is
		if closeErr := d.Close(); closeErr != nil {
			d.options.Logger.Debug("sqlite: close after a failed open", "file", d.path, "error", closeErr)
		}
		return err
	}
	return nil
}

// open opens the locked file.
func (d *database) open(o storage.LayerOptions) error {
	exists, err := inspect(d.path)
	if err == nil && !exists && !d.options.ReadOnly {
		err = create(d.path, d.options)
	}
	if err != nil {
		return err
	}
	damage := checkLog(d.path)
	if damage != nil && !errors.Is(damage, errLogShort) {
		return damage
	}
	if err := d.look(o, damage); err != nil || d.options.ReadOnly {
		return err
	}
	noteProcess(d.lock, d.options.Logger)
	d.readFrom(toRead)
	if d.writer, err = openWriter(d.path, d.options, d.onLog); err != nil {
		return err
	}
	return d.prepare(o, damage)
}

// readFrom creates the readers.
func (d *database) readFrom(mode openMode) {
	d.readers = newPool(d.closing, readers(), func() (*conn, error) { return openReader(d.path, mode, d.options) })
}

// look rejects a database that is not a proper store, and changes nothing. In read-only mode, the database is open
// afterwards. damage is the damage of the log.
func (d *database) look(o storage.LayerOptions, damage error) error {
	if err := checkJournal(d.path); err != nil {
		if d.options.ReadOnly {
			return err
		}
		return nil // SQLite rolls that transaction back
	}
	d.readFrom(toLook)
	err := d.readers.read(func(c *conn) error {
		version, err := d.readNotes(c, o, damage)
		if newest := int64(len(migrations)); err == nil && version < newest {
			if d.options.ReadOnly {
				return fmt.Errorf("its layout has version %d, expected %d; open it once to write, which changes it", version, newest)
			}
			return nil
		}
		return cmp.Or(err, c.prepareAll(readStatements))
	})
	if err != nil || d.options.ReadOnly {
		return err
	}
	return d.readers.close()
}

// readNotes reads the database's records about itself, and returns the version of its layout.
func (d *database) readNotes(c *conn, o storage.LayerOptions, damage error) (version int64, err error) {
	if version, err = checkVersion(c); err != nil {
		return 0, err
	}
	if d.unsynced, err = c.isUnsynced(); err != nil {
		return 0, err
	}
	if damage != nil && !d.unsynced {
		return 0, damage
	}
	if !o.AllowIncomplete {
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
		d.id = rand.Uint64() | 1 // stored by a start that may write
	}
	return version, err
}

// prepare prepares the writer, and migrates the database to the newest layout.
func (d *database) prepare(o storage.LayerOptions, damage error) (err error) {
	defer d.writer.guard(&err)
	version, err := d.readNotes(d.writer, o, damage)
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
	return cmp.Or(d.writer.prepareAll(readStatements), d.writer.prepareAll(writeStatements))
}

// identify stores the id of the database, if it is a new one.
func (d *database) identify() error {
	if _, found, err := d.writer.intNote(noteID); err != nil || found {
		return err
	}
	return d.writer.transact(func() error {
		return d.writer.putNote(noteID, func(s *sqlite3.Stmt) error { return s.BindInt64(2, int64(d.id)) })
	})
}

// Close implements enginekit.Database. It moves the write-ahead log into the file and syncs the file.
func (d *database) Close() (err error) {
	if d.readers != nil {
		err = d.readers.close()
	}
	if d.writer != nil {
		err = cmp.Or(err, d.closeWriter())
	}
	if d.lock != nil {
		err = cmp.Or(err, d.lock.Close())
	}
	return err
}

// closeWriter closes the last connection. After a failure it writes nothing, and the next start reads the log from
// disk.
func (d *database) closeWriter() error {
	d.write.Lock()
	defer d.write.Unlock()
	var err error
	if d.failed == nil {
		_, err = d.moveLog()
	}
	if d.failed != nil {
		err = cmp.Or(err, d.writer.keepLog())
	}
	err = cmp.Or(err, d.writer.close())
	d.writer = nil
	return err
}

// keepLog makes closing the connection leave the log unchanged.
func (c *conn) keepLog() (err error) {
	defer c.guard(&err)
	_, err = c.db.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true)
	return err
}

// interruptible runs do on a connection, and interrupts it when the context is done or the layer closes. ended
// reports such an interruption; the error then says why.
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
