package enginekit

import (
	"bytes"
	"fmt"

	"github.com/oolith-db/oolith/meta"
)

// Cursor goes along the keys of an ordered key-value store, of one snapshot. A key or value that it returns need not outlast its
// next call.
type Cursor interface {
	// Seek goes to the first key that is not below a key, and returns it; nil when there is none, or after an error.
	Seek(key []byte) []byte
	// Next goes to the next key.
	Next() []byte
	// Value returns the value at the key.
	Value() ([]byte, error)
	// Err returns what ended the course, or nil.
	Err() error
	// Close gives up what the cursor holds.
	Close() error
}

// Iterate returns the scan of the objects that match a valid pattern, or of all for an empty one, along a cursor over the
// store of a space's keys, whose values AppendObject made. The scan closes the cursor.
func (s Space) Iterate(pattern string, cursor Cursor) Iterator {
	return &spaceIterator{Cursor: cursor, space: s, walk: s.Walk(pattern)}
}

type spaceIterator struct {
	Cursor
	space   Space
	walk    *Walk
	started bool
	scratch []byte
}

// Next implements Iterator.
func (i *spaceIterator) Next(obj *meta.Object) (found bool, err error) {
	raw := i.move()
	if raw == nil {
		return false, i.Err()
	}
	var path string
	if path, i.scratch, err = i.space.Path(raw, i.scratch); err != nil {
		return false, err
	}
	value, err := i.Value()
	if err != nil {
		return false, fmt.Errorf("key %q: %w", path, err)
	}
	*obj, err = Decode(path, value)
	return err == nil, err
}

// move goes to the next key that matches.
func (i *spaceIterator) move() []byte {
	lower, upper := i.walk.Bounds()
	var raw []byte
	if i.started {
		raw = i.Cursor.Next()
	} else {
		i.started = true
		raw = i.Seek(lower)
	}
	for raw != nil && bytes.Compare(raw, upper) < 0 {
		switch step, target := i.walk.At(raw); step {
		case Take:
			return raw
		case Next:
			raw = i.Cursor.Next()
		case Seek:
			raw = i.Seek(target)
		}
	}
	return nil
}
