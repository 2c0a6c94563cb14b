package sqlite

import (
	"cmp"
	"errors"

	sqlite3 "github.com/ncruces/go-sqlite3"
)

// The functions below run while the lock of the writer is held.

// refusal is the reason why the last commit was rejected.
type refusal int

const (
	notRefused refusal = iota
	forRoom            // the disk is full
	forOther           // another program was writing
)

// isRefusal reports whether an error means for certain that nothing was written, although the disk works. A
// transaction that failed before or during the writing of its pages was rolled back, and its pages in the log lack
// the mark of a commit.
func isRefusal(err error) bool {
	var failed *undoError
	return (isNoRoom(err) || isCode(err, sqlite3.BUSY)) && !errors.As(err, &failed)
}

// noteRefusal records how a commit ended. The store repeats a rejected group without one of its changes, possibly
// several times. The repetitions must not each wait for the other program.
func (d *database) noteRefusal(err error) {
	was := d.refused
	switch {
	case err == nil:
		d.refused = notRefused
	case isNoRoom(err):
		d.refused = forRoom
	case isCode(err, sqlite3.BUSY):
		d.refused = forOther
	default:
		return
	}
	if (was == forOther) != (d.refused == forOther) {
		wait := patience
		if d.refused == forOther {
			wait = 0
		}
		if err := d.writer.db.BusyTimeout(wait); err != nil {
			d.options.Logger.Warn("sqlite: set the time to wait for others", "file", d.path, "error", err)
		}
	}
}

// probe finds out with a transaction of one page whether a full disk is still full, before a group is prepared in
// vain.
func (d *database) probe() error {
	if d.refused != forRoom {
		return nil
	}
	err := d.writer.writePage()
	if isRefusal(err) && d.makeRoom() {
		err = d.writer.writePage()
	}
	if isRefusal(err) {
		return err
	}
	return nil // the group will meet any other error again
}

// writePage makes a transaction that writes a page and changes no content.
func (c *conn) writePage() (err error) {
	defer c.guard(&err)
	return c.transact(func() error {
		put := c.putNote(noteProbe, func(s *sqlite3.Stmt) error { return s.BindNull(2) })
		return cmp.Or(put, c.run(deleteNote, noteProbe))
	})
}

// makeRoom moves the log into the file, and reports whether the log's space can be reused.
func (d *database) makeRoom() bool {
	if d.logPages == 0 {
		return false
	}
	moved, err := d.moveLog()
	return err == nil && moved
}
