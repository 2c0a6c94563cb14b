// Package filelock locks files until they are closed, also against other processes.
package filelock

import (
	"cmp"
	"errors"
	"os"
)

// ErrHeld is the error of a lock that is held elsewhere.
var ErrHeld = errors.New("another has the lock")

// Open opens a file and locks it without waiting: shared if it is opened for reading, else exclusively. On a system
// without such locks the error of an exclusive one is errors.ErrUnsupported.
func Open(name string, flags int) (*os.File, error) {
	file, err := os.OpenFile(name, flags, 0o644)
	if err != nil {
		return nil, err
	}
	if err := lock(file, flags == os.O_RDONLY); err != nil {
		return nil, cmp.Or(err, file.Close())
	}
	return file, nil
}
