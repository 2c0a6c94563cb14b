package badger

import (
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

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
