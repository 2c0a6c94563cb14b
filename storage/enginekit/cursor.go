package enginekit

import (
	"bytes"
	"fmt"

	"github.com/oolith-db/oolith/meta"
)

// Cursor moves along the keys of a snapshot of an ordered key-value store. The returned keys and values are valid until
// the next call.
type Cursor interface {
	// Seek moves to the first key that is not below the given one, and returns it. It returns nil at the end, and after
	// an error.
	Seek(key []byte) []byte
	// Next moves to the next key, and returns it as Seek does.
	Next() []byte
	// Value returns the value of the key.
	Value() ([]byte, error)
	// Err returns the error that ended the movement, or nil.
	Err() error
	// Close releases the resources of the cursor.
	Close() error
}

// Iterate returns a scan of the objects that match a valid pattern, or of all objects for an empty pattern. The cursor
// moves along the keys of the space. The values have the form of AppendObject. The scan closes the cursor.
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

// move moves to the next key that matches.
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
