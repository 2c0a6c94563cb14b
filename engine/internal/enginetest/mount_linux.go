package enginetest

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// mountReadOnly mounts a read-only file system in memory, with the files of a directory. Only the superuser can do
// this: ok is false if it is not possible.
func mountReadOnly(t testing.TB, dir string) (mounted string, ok bool) {
	t.Helper()
	mounted = t.TempDir()
	err := unix.Mount("tmpfs", mounted, "tmpfs", 0, "")
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		t.Logf("a file system cannot be mounted here: %v", err)
		return "", false
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mounted, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	if err := errors.Join(os.CopyFS(mounted, os.DirFS(dir)), unix.Mount("tmpfs", mounted, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, "")); err != nil {
		t.Fatal(err)
	}
	return mounted, true
}
