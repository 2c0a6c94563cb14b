package enginekit

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// Explain adds advice to an error of the file system; what is "the directory" or "the file" of a store. It returns
// other errors unchanged.
func Explain(what string, err error) error {
	var path *fs.PathError
	errors.As(err, &path)
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s cannot be written; change its permissions, choose another, or open it to read only (readonly=on): %w", what, err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("the disk is full; make room: %w", err)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return fmt.Errorf("too many files are open; raise the limit (ulimit -n): %w", err)
	case isErrno(err, noLocks):
		return fmt.Errorf("the file system of %s has no locks, so that two processes could write to it; choose another file system: %w", what, err)
	case path != nil && path.Op == "sync" && isErrno(err, noSync):
		return fmt.Errorf("the file system of %s cannot sync %s, so that a power cut could lose what is acknowledged; choose another file system: %w", what, path.Path, err)
	}
	return err
}

// Errors of file systems that do not support locks, or cannot sync a directory.
var (
	noLocks = []syscall.Errno{syscall.ENOLCK}
	noSync  = []syscall.Errno{syscall.EINVAL, syscall.ENOTSUP, syscall.ENOSYS}
)

func isErrno(err error, some []syscall.Errno) bool {
	for _, errno := range some {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
