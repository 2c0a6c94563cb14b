package enginekit

import (
	"errors"
	"fmt"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// CheckPath accepts what an object can be stored at. Anything else is storage.ErrGlobNotAllowed or
// storage.ErrInvalidPath, with the path.
func CheckPath(path string) error {
	if key.HasGlob(path) {
		return fmt.Errorf("path %q: %w", path, storage.ErrGlobNotAllowed)
	}
	if !key.IsValid(path) {
		return fmt.Errorf("path %q: %w", path, storage.ErrInvalidPath)
	}
	return nil
}

// CheckPattern accepts what GetList takes. Anything else is storage.ErrInvalidPath or
// storage.ErrInvalidPattern, with the pattern.
func CheckPattern(pattern string) error {
	if err := key.Check(pattern); err != nil {
		return fmt.Errorf("pattern %q: %w: %w", pattern, storage.ErrInvalidPath, err)
	}
	if !key.HasGlob(pattern) {
		return fmt.Errorf("pattern %q: %w", pattern, storage.ErrInvalidPattern)
	}
	return nil
}

// CheckScanned accepts what Scan takes: a pattern, a path, or nothing for everything. Anything else is
// storage.ErrInvalidPath, with the pattern.
func CheckScanned(pattern string) error {
	if pattern == "" {
		return nil
	}
	if err := key.Check(pattern); err != nil {
		return fmt.Errorf("pattern %q: %w: %w", pattern, storage.ErrInvalidPath, err)
	}
	return nil
}

// CheckStored accepts the path of a key that is stored. Anything else is storage.ErrInvalidPath, with
// the reason, or storage.ErrGlobNotAllowed, with the key.
func CheckStored(path string) error {
	if err := key.Check(path); err != nil {
		return fmt.Errorf("key %q: %w: %w", path, storage.ErrInvalidPath, err)
	}
	if key.HasGlob(path) {
		return fmt.Errorf("key %q: %w", path, storage.ErrGlobNotAllowed)
	}
	return nil
}

// CheckPut accepts an object that can be stored at a path, with data of at most maxData bytes. Anything
// else is an error of CheckPath, storage.ErrInvalidStorageData, or says the length, with the path.
func CheckPut(path string, obj *meta.Object, maxData int) error {
	if err := CheckPath(path); err != nil {
		return err
	}
	if obj == nil || len(obj.Data) == 0 {
		return fmt.Errorf("path %q: %w", path, storage.ErrInvalidStorageData)
	}
	if len(obj.Data) > maxData {
		return fmt.Errorf("path %q: the data has %d bytes, expected at most %d", path, len(obj.Data), maxData)
	}
	return nil
}

// CheckClear accepts a change that clears, if it does nothing else.
func CheckClear(c storage.Change) error {
	if c.Key != "" || c.Object != nil {
		return fmt.Errorf("%w: a change clears everything and names key %q, expected one of them", storage.ErrInvalidOptions, c.Key)
	}
	return nil
}

// CheckChanges accepts a batch each of whose changes is good by itself, and returns the highest revision
// in it. Anything else is a *storage.EntryError with the first that is not.
func CheckChanges(changes []storage.Change, maxData int) (revision uint64, err error) {
	for i, c := range changes {
		revision = max(revision, c.Revision)
		switch {
		case c.IsClear():
			err = CheckClear(c)
		case c.Object == nil:
			err = CheckPath(c.Key)
		default:
			err = CheckPut(c.Key, c.Object, maxData)
		}
		if err != nil {
			return 0, &storage.EntryError{Index: i, Err: err}
		}
	}
	return revision, nil
}

// Alone is the error of a change that is a batch of its own: that which concerns it, where the batch
// has a *storage.EntryError.
func Alone(err error) error {
	if entry, ok := errors.AsType[*storage.EntryError](err); ok {
		return entry.Err
	}
	return err
}
