package sqlite

import sqlite3 "github.com/ncruces/go-sqlite3"

// SQLite appends committed pages to the log and syncs it. When the log has some thousand pages, they are moved into
// the file and the log starts over. SQLite can do so by itself, in the commit that makes the log too long, but would
// not report a failure.

// defaultLongLog is 16 MiB of pages.
const defaultLongLog = 4096

// tend moves the log into the file if it is long. A log that a scan or another program still reads cannot start over:
// tend tries again after the same number of additional pages. The caller holds the lock of the writer.
func (d *database) tend() {
	if d.writer.heavy {
		d.replaceWriter()
	}
	if d.logPages < d.movedAt {
		d.movedAt = 0 // it has started over
	}
	if d.failed != nil || d.logPages-d.movedAt < d.options.longLog {
		return
	}
	d.movedAt = d.logPages
	if _, err := d.moveLog(); err != nil {
		// Everything acknowledged is in the log, so this commit succeeds.
		d.options.Logger.Error("sqlite: move the write-ahead log into the file", "file", d.path, "error", err)
	}
}

// moveLog moves as much of the log as possible into the file and syncs the file. It never waits. It reports whether
// the log can start over. A disk failure stops all writes.
func (d *database) moveLog() (whole bool, err error) {
	defer func() {
		if err != nil && !isNoRoom(err) && !isCode(err, sqlite3.BUSY) {
			err = d.stop(err)
		}
	}()
	defer d.writer.guard(&err)
	pages, moved, err := d.writer.db.WALCheckpoint("main", sqlite3.CHECKPOINT_PASSIVE)
	return err == nil && pages == moved, err
}

// replaceWriter releases the memory that a large value took. If no other connection can be opened, the existing one
// stays in use, until the next commit tries again.
func (d *database) replaceWriter() {
	w, err := openWriter(d.path, d.options, d.onLog)
	if err != nil {
		d.options.Logger.Warn("sqlite: open the file once more", "file", d.path, "error", err)
		return
	}
	old := d.writer
	d.writer = w
	if err := old.close(); err != nil {
		d.options.Logger.Warn("sqlite: close a connection", "file", d.path, "error", err)
	}
}

// onLog records how many pages the log has after a commit.
func (d *database) onLog(pages int) { d.logPages = pages }

// After a power failure, a log that was written without sync can be shorter than its index says, which loses the
// newest writes. The note "sync" records that a log was written this way.

// isUnsynced reports whether, according to the note, the log was written without sync.
func (c *conn) isUnsynced() (unsynced bool, err error) {
	err = c.note(noteUnsynced, func(*sqlite3.Stmt) error {
		unsynced = true
		return nil
	})
	return unsynced, err
}

// noteSync records whether the log is synced from now on, before anything possibly unsynced is written to it.
func (d *database) noteSync() error {
	switch off := d.options.Durability == DurabilityNoSync; {
	case off && !d.unsynced:
		return d.noteDurably(noteUnsynced, "off")
	case !off && d.unsynced:
		// A log that starts over contains nothing unsynced. While another program reads it, it cannot start over, and
		// the note stays.
		if _, err := d.writer.cutLog(); err != nil {
			if isCode(err, sqlite3.BUSY) {
				return nil
			}
			return err
		}
		return d.noteDurably(noteUnsynced, "")
	}
	return nil
}
