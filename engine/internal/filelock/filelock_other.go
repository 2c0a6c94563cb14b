//go:build !linux && !darwin && !freebsd && !netbsd && !openbsd && !dragonfly && !windows

package filelock

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

// lock rejects exclusive locks: without them two stores could write to one file.
func lock(_ *os.File, shared bool) error {
	if shared {
		return nil
	}
	return fmt.Errorf("no lock of files is known on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
