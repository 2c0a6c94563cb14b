//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package levelfiles

import (
	"cmp"
	"io"
	"os"
	"syscall"
)

// ShareFlock takes a shared lock, which excludes a writer of LevelDB: a writer takes an exclusive lock by flock. The
// file must exist, but need not be writable. While a writer has the lock, the error is EAGAIN.
func ShareFlock(name string) (io.Closer, error) {
	return share(name, func(file *os.File) error {
		return syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	})
}

// ShareFcntl is ShareFlock for a writer of Pebble, which locks by fcntl. Such a lock belongs to the whole process,
// and ends when the process closes the file through any descriptor: the caller ensures that the process has no other
// lock of the file.
func ShareFcntl(name string) (io.Closer, error) {
	return share(name, func(file *os.File) error {
		spec := syscall.Flock_t{Type: syscall.F_RDLCK, Whence: io.SeekStart}
		err := syscall.FcntlFlock(file.Fd(), syscall.F_SETLK, &spec)
		if err == syscall.EACCES {
			return syscall.EAGAIN // some systems return EACCES
		}
		return err
	})
}

func share(name string, lock func(*os.File) error) (io.Closer, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	if err := lock(file); err != nil {
		return nil, cmp.Or[error](&os.PathError{Op: "lock", Path: name, Err: err}, file.Close())
	}
	return file, nil
}
