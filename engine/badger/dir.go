package badger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/engine/internal/enginekit"
)

// errInUse is what lockDir returns when somebody else holds the lock.
var errInUse = errors.New("the directory is in use by another process or by another store of this one; close that first")

// errCorrupt is what all damage of files is, as far as it is found before Badger opens them.
var errCorrupt = errors.New("the store is corrupt; restore it from a backup")

// lock is the lock of a directory.
type lock struct{ file *os.File }

// lockDir takes the lock of a directory, or returns errInUse.
func lockDir(dir string) (*lock, error) {
	file, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := lockExclusively(file); err != nil {
		return nil, enginekit.FirstError(err, file.Close())
	}
	return &lock{file: file}, nil
}

// release gives the lock back. The file stays: to remove it would let two others each lock a
// file of this name.
func (l *lock) release() error { return l.file.Close() }

// restored gives back to an error of Badger what it lost on its way, when Badger made a text of it.
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

// explain says what to do about an error of opening.
func explain(err error) error {
	err = restored(err)
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("the directory cannot be written; change its permissions or choose another: %w", err)
	case errors.Is(err, syscall.ENOSPC) && !errors.Is(err, errFull):
		return fmt.Errorf("the disk is full; make room: %w", err)
	case errors.Is(err, syscall.EMFILE):
		return fmt.Errorf("too many files are open; raise the limit (ulimit -n): %w", err)
	case strings.Contains(err.Error(), "Cannot acquire directory lock"):
		return fmt.Errorf("%w: %w", errInUse, err)
	}
	return err
}
