package enginekit

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
)

// What a file system lacks is said, with what to do, and the cause stays in the error.
func TestExplain(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string // "" for the error as it is
	}{
		{&fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}, "readonly=on"},
		{syscall.EROFS, "readonly=on"},
		{syscall.ENOSPC, "make room"},
		{syscall.EMFILE, "ulimit -n"},
		{&fs.PathError{Op: "lock", Path: "x", Err: syscall.ENOLCK}, "has no locks"},
		{os.NewSyscallError("flock", syscall.ENOLCK), "has no locks"},
		{&fs.PathError{Op: "sync", Path: "dir", Err: syscall.EINVAL}, "cannot sync dir"},
		{&fs.PathError{Op: "sync", Path: "dir", Err: syscall.ENOTSUP}, "cannot sync dir"},
		{&fs.PathError{Op: "open", Path: "x", Err: syscall.EINVAL}, ""},
		{&fs.PathError{Op: "sync", Path: "x", Err: syscall.EIO}, ""},
		{errors.New("another"), ""},
	} {
		got := Explain("the directory", c.err)
		if !errors.Is(got, c.err) || c.want == "" && got != c.err || !strings.Contains(got.Error(), c.want) {
			t.Errorf("%v is explained as %v, want %q", c.err, got, c.want)
		}
	}
}
