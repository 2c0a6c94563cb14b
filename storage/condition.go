package storage

import "fmt"

// condition is what a write demands of what is at its path.
type condition struct {
	kind     conditionKind
	revision uint64 // of ifRevision
}

type conditionKind uint8

const (
	unconditional conditionKind = iota
	ifRevision
	ifAbsent
)

// conditionOf makes a condition of its public form.
func conditionOf(revision uint64, absent bool) (condition, error) {
	switch {
	case revision != 0 && absent:
		return condition{}, fmt.Errorf("%w: both IfRevision %d and IfAbsent, expected one of them", ErrInvalidOptions, revision)
	case absent:
		return condition{kind: ifAbsent}, nil
	case revision != 0:
		return condition{kind: ifRevision, revision: revision}, nil
	}
	return condition{}, nil
}

// check returns a *ConflictError when the condition does not hold. Of an entry that is no object nothing is known that
// a condition could be about.
func (c condition) check(path string, f found) error {
	if f.broken != nil && c.kind != unconditional {
		return fmt.Errorf("persistent layer: %w", f.broken)
	}
	var current uint64
	if f.exists {
		current = f.revision
	}
	switch {
	case c.kind == ifAbsent && f.exists:
		return &ConflictError{Path: path, Current: current}
	case c.kind == ifRevision && (!f.exists || f.revision != c.revision):
		return &ConflictError{Path: path, Expected: c.revision, Current: current}
	}
	return nil
}
