package pebble

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Check implements storage.Checker. It reads every entry from one consistent snapshot, then lets Pebble compare its
// levels.
//
// A damaged block of a table makes its objects unreadable, and possibly those up to the end of the table. They are
// one report, which says between which keys nothing can be read. Reads and writes continue meanwhile. Close ends the
// check with storage.ErrNotActive, or waits for it while it compares the levels.
func (l *Layer) Check(ctx context.Context, report func(error)) (objects int, err error) {
	c := &check{}
	held, err := l.life.Hold(func(d *database) (_ io.Closer, err error) {
		c.db = d.db
		c.it, err = d.db.NewIter(&pebble.IterOptions{})
		return c.it, l.life.Wrap("begin a check", err)
	})
	if err != nil {
		return 0, err
	}
	defer held.End()
	objects, err = enginekit.Check(ctx, report, func() (whole int, found []error, more bool, err error) {
		c.objects, c.found = 0, c.found[:0]
		err = held.Use(func() error {
			more, err = c.read()
			return l.life.Wrap("check", err)
		})
		return c.objects, c.found, more, err
	})
	if err = cmp.Or(err, ctx.Err()); err != nil {
		return objects, err
	}
	switch _, err := l.LastRevision(); {
	case errors.Is(err, storage.ErrNotActive):
		return objects, err
	case err != nil:
		report(err)
	}
	if c.gaps > 0 {
		return objects, nil // the levels cannot be read from end to end
	}
	return objects, l.checkLevels(report)
}

// checkLevels reports what Pebble finds between its levels: entries out of order, and newer entries below older ones.
func (l *Layer) checkLevels(report func(error)) error {
	var wrong error
	err := l.life.Use(func(d *database) error {
		wrong = l.life.Wrap("check the levels", d.db.CheckLevels(&pebble.CheckLevelsStats{}))
		return nil
	})
	if wrong != nil {
		report(wrong)
	}
	return err
}

// check is a check in progress.
type check struct {
	db *pebble.DB
	it *pebble.Iterator

	objects int     // intact ones, of the last read
	found   []error // by it
	gaps    int

	started bool
	last    string // the last path
	scratch []byte
	at      []byte // the last key that was read or sought
	gap     error  // why nothing can be read after it; nil if something can
	// beyond lists where reading may continue after a gap: the beginning of each table and the key after its end, in
	// order. It is built at the first gap.
	beyond [][]byte
}

// read checks the next entries and reports whether there are more.
func (c *check) read() (more bool, err error) {
	for n, size := 0, 0; n < enginekit.MaxChunk && size < enginekit.MaxChunkBytes; n++ {
		ok, err := c.step()
		if err != nil || !ok && c.gap == nil {
			return false, err
		}
		if ok {
			size += c.entry()
		}
	}
	return true, nil
}

// step moves to the next entry, or towards it if there is a gap.
func (c *check) step() (ok bool, err error) {
	switch {
	case c.gap != nil:
		next, found := c.behindGap()
		if !found {
			c.endGap("the end")
			return false, nil
		}
		c.at = append(c.at[:0], next...)
		ok = c.it.SeekGE(next)
	case c.started:
		ok = c.it.Next()
	default:
		c.started = true
		ok = c.it.First()
	}
	if ok {
		c.at = append(c.at[:0], c.it.Key()...)
		c.endGap(fmt.Sprintf("key %q", c.name()))
		return true, nil
	}
	switch failure := c.it.Error(); {
	case failure == nil:
		c.endGap("the end")
	case c.gap == nil:
		return false, c.beginGap(failure)
	}
	return false, nil
}

// beginGap records that a table cannot be read further.
func (c *check) beginGap(failure error) error {
	place := "at the first key"
	if c.last != "" {
		place = fmt.Sprintf("behind key %q", c.last)
	}
	c.gap = fmt.Errorf("nothing can be read %s: %w", place, failure)
	c.gaps++
	if c.beyond != nil {
		return nil
	}
	levels, err := c.db.SSTables()
	if err != nil {
		return err
	}
	c.beyond = [][]byte{}
	for _, tables := range levels {
		for _, table := range tables {
			after := append(bytes.Clone(table.Largest.UserKey), 0)
			c.beyond = append(c.beyond, bytes.Clone(table.Smallest.UserKey), after)
		}
	}
	slices.SortFunc(c.beyond, bytes.Compare)
	return nil
}

// behindGap returns the next position to try.
func (c *check) behindGap() ([]byte, bool) {
	i, found := slices.BinarySearchFunc(c.beyond, c.at, bytes.Compare)
	for found && i < len(c.beyond) && bytes.Equal(c.beyond[i], c.at) {
		i++
	}
	if i == len(c.beyond) {
		return nil, false
	}
	return c.beyond[i], true
}

// endGap reports the gap, if there is one.
func (c *check) endGap(before string) {
	if c.gap == nil {
		return
	}
	c.found = append(c.found, fmt.Errorf("%w; up to %s", c.gap, before))
	c.gap = nil
}

// name returns the path at the iterator's position, or the stored key if it is not the key of an object.
func (c *check) name() string {
	raw := c.it.Key()
	if path, _, err := objectKeys.Path(raw, nil); err == nil {
		return path
	}
	return string(raw)
}

// entry checks the entry at the iterator's position and returns its size.
func (c *check) entry() int {
	raw := c.it.Key()
	if bytes.HasPrefix(raw, []byte{metaKind}) {
		if !bytes.Equal(raw, revisionKey) && !bytes.Equal(raw, idKey) && !bytes.Equal(raw, incompleteKey) {
			c.found = append(c.found, fmt.Errorf("stored key %q is no note that this build knows", raw))
		}
		return len(raw)
	}
	path, scratch, err := objectKeys.Path(raw, c.scratch)
	if err != nil {
		c.found = append(c.found, err)
		return len(raw)
	}
	c.scratch, c.last = scratch, path
	size, err := c.object(path)
	if err != nil {
		c.found = append(c.found, err)
	} else {
		c.objects++
	}
	return len(raw) + size
}

// object checks the object at the iterator's position.
func (c *check) object(path string) (size int, err error) {
	if err := enginekit.CheckStored(path); err != nil {
		return 0, err
	}
	value, err := c.it.ValueAndErr()
	if err != nil {
		return 0, fmt.Errorf("key %q: %w", path, err)
	}
	_, err = enginekit.Decode(path, value)
	return len(value), err
}
