package sqlite

import (
	"cmp"
	"fmt"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// The names in the table oolith.
const (
	noteSchema     = "schema"     // the version of the layout
	noteRevision   = "revision"   // the highest ever committed
	noteIncomplete = "incomplete" // why the content is incomplete
	noteUnsynced   = "sync"       // "off" if the log was written without sync: see log.go
	noteID         = "id"         // identifies the store
	noteProbe      = "probe"      // exists only within a transaction: see room.go
)

// intNote reads a number of the table oolith.
func (c *conn) intNote(name string) (value int64, found bool, err error) {
	err = c.note(name, func(s *sqlite3.Stmt) error {
		found = true
		if s.ColumnType(0) != sqlite3.INTEGER {
			return fmt.Errorf("%q of the table oolith is %q, expected an integer", name, s.ColumnText(0))
		}
		value = s.ColumnInt64(0)
		return nil
	})
	return value, found, err
}

// checkComplete rejects a database that is marked as incomplete.
func checkComplete(c *conn) error {
	return c.note(noteIncomplete, func(s *sqlite3.Stmt) error {
		return enginekit.Incomplete(s.ColumnText(0))
	})
}

// note calls read for the value of a name, if it exists.
func (c *conn) note(name string, read func(*sqlite3.Stmt) error) error {
	s, err := c.bound(getNote, name)
	if err != nil {
		return err
	}
	if s.Step() {
		err = read(s)
	}
	return finish(s, err)
}

// putNote sets the value of a name, which bind binds as the second parameter.
func (c *conn) putNote(name string, bind func(*sqlite3.Stmt) error) error {
	s, err := c.bound(putNote, name)
	if err == nil {
		err = bind(s)
	}
	if err != nil {
		return err
	}
	return s.Exec()
}

// noteDurably sets a note, or removes it if the text is empty. When it returns, the note and everything written
// before it are on disk, regardless of Durability.
func (d *database) noteDurably(name, text string) error {
	w := d.writer
	if err := w.setSync(DurabilitySync); err != nil {
		return err
	}
	err := w.transact(func() error {
		if text == "" {
			return w.run(deleteNote, name)
		}
		return w.putNote(name, func(s *sqlite3.Stmt) error { return s.BindText(2, text) })
	})
	return cmp.Or(err, w.setSync(d.options.Durability))
}
