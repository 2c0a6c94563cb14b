package badger

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/engine/internal/filelock"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// lock is the lock of a directory.
type lock struct{ files []*os.File }

// lockDir locks a directory. Read-only users share the lock and create no file for it.
func lockDir(dir string, shared bool) (*lock, error) {
	return enginekit.Locked("the directory", func() (*lock, error) { return tryLockDir(dir, shared) }, lockHolder)
}

// lockHolder says who has the directory's lock: ours, or Badger's own.
func lockHolder(err error) enginekit.Holder {
	if errors.Is(err, filelock.ErrHeld) || strings.Contains(err.Error(), "Cannot acquire directory lock") {
		return enginekit.Anywhere
	}
	return enginekit.Nobody
}

func tryLockDir(dir string, shared bool) (_ *lock, err error) {
	l := &lock{}
	defer func() {
		if err != nil {
			err = cmp.Or(err, l.release())
		}
	}()
	if !shared {
		return l, l.add(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE)
	}
	if err := l.add(filepath.Join(dir, lockFile), os.O_RDONLY); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if runtime.GOOS == "windows" {
		return l, nil
	}
	return l, l.add(dir, os.O_RDONLY) // Badger's own
}

func (l *lock) add(name string, flags int) error {
	file, err := filelock.Open(name, flags)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return nil // Badger's own lock excludes others
	case err != nil:
		return err
	}
	l.files = append(l.files, file)
	return nil
}

// release releases the lock. The file stays: after a removal, two others could each lock a file of this name.
func (l *lock) release() error {
	if l == nil {
		return nil // it stays with the database that was left behind
	}
	var errs []error
	for _, file := range l.files {
		errs = append(errs, file.Close())
	}
	return cmp.Or(errs...)
}

// restored adds the cause back to an error of Badger that lost it by a conversion to text.
func restored(err error) error {
	if err == nil {
		return nil
	}
	for _, cause := range []error{
		syscall.ENOSPC, syscall.EROFS, syscall.EACCES, syscall.EIO, syscall.EFBIG, syscall.EMFILE,
		badger.ErrEncryptionKeyMismatch,
	} {
		if !errors.Is(err, cause) && strings.Contains(err.Error(), cause.Error()) {
			return fmt.Errorf("%s: %w", enginekit.OneLine(err.Error()), cause)
		}
	}
	return err
}

// explain adds advice to an error.
func explain(err error) error {
	if err = restored(err); errors.Is(err, errFull) {
		return err // it has its own advice
	}
	return enginekit.Explain("the directory", err)
}
