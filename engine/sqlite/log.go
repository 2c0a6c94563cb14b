package sqlite

import sqlite3 "github.com/ncruces/go-sqlite3"

// SQLite appends what is committed to the log and syncs that; when the log has some thousand pages,
// they are moved into the file and the log begins anew. SQLite would do so by itself, in the commit
// that makes the log too long, and tell nobody when it fails.

// defaultLongLog is 16 MiB of pages.
const defaultLongLog = 4096

// tend moves the log into the file when it is long. A log that a scan or another program still
// reads cannot begin anew: it is tried again after as many pages more. The lock of the writer is
// held.
func (d *database) tend() {
	if d.writer.heavy {
		d.replaceWriter()
	}
	if d.logPages < d.movedAt {
		d.movedAt = 0 // it began anew
	}
	if d.failed != nil || d.logPages-d.movedAt < d.options.longLog {
		return
	}
	d.movedAt = d.logPages
	if _, err := d.moveLog(); err != nil {
		// All that was acknowledged is in the log, so this commit is good.
		d.options.Logger.Error("sqlite: move the write-ahead log into the file", "file", d.path, "error", err)
	}
}

// moveLog moves what it can of the log into the file and syncs that; it waits for nobody. It tells
// whether the log can begin anew. A failing disk stops the writing.
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

// replaceWriter gives back the memory that a large value took. Where no other connection can be had, the one
// that there is goes on, until the next commit tries again.
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

// onLog notes how many pages the log has after a commit.
func (d *database) onLog(pages int) { d.logPages = pages }

// A log that was written without sync can be shorter than its index says after a loss of power, which costs the newest. The note
// "sync" tells of it.

// isUnsynced reports whether the note says that the log was written without sync.
func (c *conn) isUnsynced() (unsynced bool, err error) {
	err = c.note(noteUnsynced, func(*sqlite3.Stmt) error {
		unsynced = true
		return nil
	})
	return unsynced, err
}

// noteSync notes whether the log is synced from now on, before something is written to it that
// may not be.
func (d *database) noteSync() error {
	switch off := d.options.Durability == DurabilityNoSync; {
	case off && !d.unsynced:
		return d.noteDurably(noteUnsynced, "off")
	case !off && d.unsynced:
		// Of a log that begins anew nothing is left that was not synced. While another program
		// reads it, it cannot, and the note stays.
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
