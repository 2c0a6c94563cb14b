package enginekit

import (
	"errors"
	"fmt"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// CheckPath accepts a path at which an object can be stored. Otherwise it returns storage.ErrGlobNotAllowed or
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

// CheckPattern accepts an argument of GetList. Otherwise it returns storage.ErrInvalidPath or
// storage.ErrInvalidPattern, with the pattern.
func CheckPattern(pattern string) error {
	if err := key.Check(pattern); err != nil {
		return fmt.Errorf("pattern %q: %w, %w", pattern, storage.ErrInvalidPath, err)
	}
	if !key.HasGlob(pattern) {
		return fmt.Errorf("pattern %q: %w", pattern, storage.ErrInvalidPattern)
	}
	return nil
}

// CheckScanned accepts an argument of Scan: a pattern, a path, or "" for everything. Otherwise it returns
// storage.ErrInvalidPath, with the pattern.
func CheckScanned(pattern string) error {
	if pattern == "" {
		return nil
	}
	if err := key.Check(pattern); err != nil {
		return fmt.Errorf("pattern %q: %w, %w", pattern, storage.ErrInvalidPath, err)
	}
	return nil
}

// CheckStored accepts the path of a stored key. Otherwise it returns storage.ErrInvalidPath with the reason, or
// storage.ErrGlobNotAllowed with the key.
func CheckStored(path string) error {
	if err := key.Check(path); err != nil {
		return fmt.Errorf("key %q: %w, %w", path, storage.ErrInvalidPath, err)
	}
	if key.HasGlob(path) {
		return fmt.Errorf("key %q: %w", path, storage.ErrGlobNotAllowed)
	}
	return nil
}

// CheckPut accepts an object that can be stored at a path, with data of at most maxData bytes. Otherwise it returns,
// with the path, an error of CheckPath, storage.ErrInvalidStorageData, or an error that states the length.
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

// CheckClear accepts a change that only clears.
func CheckClear(c storage.Change) error {
	if c.Key != "" || c.Object != nil {
		return fmt.Errorf("%w, a change clears everything and names key %q, expected one of them", storage.ErrInvalidOptions, c.Key)
	}
	return nil
}

// CheckChanges accepts a batch in which each change is valid by itself, and returns the highest revision in it.
// Otherwise it returns a *storage.EntryError for the first invalid change.
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

// Alone returns the error of a change that is the only one of its batch: the Err of a *storage.EntryError, and any
// other error unchanged.
func Alone(err error) error {
	if entry, ok := errors.AsType[*storage.EntryError](err); ok {
		return entry.Err
	}
	return err
}
