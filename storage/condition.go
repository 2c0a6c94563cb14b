package storage

import "fmt"

// condition is what a write requires of the object at its path.
type condition struct {
	kind     conditionKind
	revision uint64 // for ifRevision
	lease    *Lease // must hold its lock; nil for no lease
}

type conditionKind uint8

const (
	unconditional conditionKind = iota
	ifRevision
	ifAbsent
)

// conditionOf builds a condition from its public form.
func conditionOf(revision uint64, absent bool, lease *Lease) (condition, error) {
	switch {
	case revision != 0 && absent:
		return condition{}, fmt.Errorf("%w, both IfRevision %d and IfAbsent are set, expected one of them", ErrInvalidOptions, revision)
	case absent:
		return condition{kind: ifAbsent, lease: lease}, nil
	case revision != 0:
		return condition{kind: ifRevision, revision: revision, lease: lease}, nil
	}
	return condition{lease: lease}, nil
}

// check returns a *ConflictError if the condition does not hold, or the reason why the required lease does not. An
// entry that cannot be decoded satisfies no condition on its revision.
func (c *condition) check(path string, f *found, locks *lockTable) error {
	if c.kind == unconditional && c.lease == nil {
		return nil
	}
	if c.lease != nil {
		if err := c.lease.holdsIn(locks); err != nil {
			return err
		}
	}
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
