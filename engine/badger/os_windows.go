package badger

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

// lockOpen locks an open file, exclusively or shared. The lock lasts until the file is closed.
func lockOpen(file *os.File, shared bool) error {
	flags := uint32(windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY)
	if shared {
		flags = windows.LOCKFILE_FAIL_IMMEDIATELY
	}
	err := windows.LockFileEx(windows.Handle(file.Fd()), flags, 0, 1, 0, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errHeld
	}
	return err
}

// lookAtRoom returns the free space of the file system of a directory.
func lookAtRoom(dir string) (room, error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return room{}, err
	}
	var free, total uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, &total, nil); err != nil {
		return room{}, fmt.Errorf("look at the room on the disk: %w", err)
	}
	return room{known: true, bytes: int64(free), total: int64(total)}, nil
}

// tryToMap does nothing: Windows has no relevant limit on the number of mapped files.
func tryToMap(*os.File, int) error { return nil }
