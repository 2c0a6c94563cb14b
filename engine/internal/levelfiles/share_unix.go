//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package levelfiles

import (
	"cmp"
	"io"
	"os"
	"syscall"
)

// ShareFcntl takes a shared lock, which excludes a writer of Pebble: a writer takes an exclusive lock by fcntl. The file
// must exist, but need not be writable. While a writer has the lock, the error is EAGAIN. Such a lock belongs to the
// whole process, and ends when the process closes the file through any descriptor: the caller ensures that the process
// has no other lock of the file.
func ShareFcntl(name string) (io.Closer, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	err = syscall.FcntlFlock(file.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_RDLCK, Whence: io.SeekStart})
	if err == syscall.EACCES {
		err = syscall.EAGAIN // some systems return EACCES
	}
	if err != nil {
		return nil, cmp.Or[error](&os.PathError{Op: "lock", Path: name, Err: err}, file.Close())
	}
	return file, nil
}
