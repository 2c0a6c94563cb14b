package sqlite

import (
	"cmp"
	"context"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// Compact implements storage.Compacter. It rewrites the file without free pages, with the rows of each table side by
// side (VACUUM), and truncates it to its length.
//
// Reads continue meanwhile. Writes wait until it is done, because SQLite has one writer: seconds to tens of seconds
// for a gigabyte. While it runs, it needs twice the space of the file: once beside it, in FILE-wal, and once in the
// directory for temporary files (SQLITE_TMPDIR, or the system's). A scan in progress keeps FILE from becoming
// shorter: that happens when the log is next moved. The context, and Close, end the compaction with nothing changed.
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

// shorten moves the whole log into the file and truncates both, unless the log is still being read.
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

// cutLog never waits: while it waited, others could not write.
func (c *conn) cutLog() (pages int, err error) {
	defer c.guard(&err)
	if err := c.db.BusyTimeout(0); err != nil {
		return 0, err
	}
	pages, _, err = c.db.WALCheckpoint("main", sqlite3.CHECKPOINT_TRUNCATE)
	return pages, cmp.Or(err, c.db.BusyTimeout(patience))
}
