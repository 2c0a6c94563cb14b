package sqlite

import (
	"cmp"
	"context"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// Compact implements storage.Compacter: it writes the file anew without the pages that are free,
// with the rows of each table side by side (VACUUM), and cuts it to its length.
//
// Reads go on meanwhile. Writes wait until it is done, as SQLite has one writer: for a gigabyte
// that is some seconds to tens of them. It takes twice the room of the file for as long as it
// lasts, once beside it, in FILE-wal, and once in the directory for temporary files (SQLITE_TMPDIR,
// or the system's). A scan that is under way keeps FILE from becoming shorter: that happens when
// the log is moved the next time. The context, and Close, end it with nothing changed.
func (l *Layer) Compact(ctx context.Context) error {
	return enginekit.Alone(l.life.Use(func(d *database) error {
		d.write.Lock()
		defer d.write.Unlock()
		if err := cmp.Or(ctx.Err(), l.life.Failure()); err != nil {
			return err
		}
		ended, err := d.interruptible(ctx, d.writer, d.writer.vacuum)
		switch {
		case ended:
			return err
		case isCorrupt(err):
			return d.wrap("compact", err)
		case err == nil:
			err = d.shorten()
		}
		return l.life.Written(d.outcome("compact", 0, err))
	}))
}

func (c *conn) vacuum() (err error) {
	defer c.guard(&err)
	return c.db.Exec(`VACUUM`)
}

// shorten moves the whole log into the file and cuts both, unless something still reads the log.
func (d *database) shorten() error {
	pages, err := d.writer.cutLog()
	if isCode(err, sqlite3.BUSY) {
		_, err = d.moveLog()
		return err
	}
	if err == nil {
		d.logPages, d.movedAt = pages, 0
	}
	return err
}

// cutLog waits for nobody: while it does, others could not write.
func (c *conn) cutLog() (pages int, err error) {
	defer c.guard(&err)
	if err := c.db.BusyTimeout(0); err != nil {
		return 0, err
	}
	pages, _, err = c.db.WALCheckpoint("main", sqlite3.CHECKPOINT_TRUNCATE)
	return pages, enginekit.FirstError(err, c.db.BusyTimeout(patience))
}
