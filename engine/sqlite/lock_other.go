//go:build !linux && !darwin && !freebsd && !netbsd && !openbsd && !dragonfly && !windows

package sqlite

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

// lockExclusively refuses: without a lock two stores could write to one file.
func lockExclusively(*os.File) error {
	return fmt.Errorf("no lock of files is known on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
