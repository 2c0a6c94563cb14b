//go:build linux || darwin || freebsd || dragonfly

package badger

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lookAtRoom returns the free space of the file system of a directory.
func lookAtRoom(dir string) (room, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return room{}, fmt.Errorf("look at the room on the disk: %w", err)
	}
	return room{
		known: true,
		bytes: int64(uint64(fs.Bavail) * uint64(fs.Bsize)),
		total: int64(uint64(fs.Blocks) * uint64(fs.Bsize)),
		// Some file systems do not count files and report 0 of 0.
		noFiles: fs.Files > 0 && uint64(fs.Ffree) < spareFiles,
	}, nil
}

// tryToMap tests whether a file can be mapped into memory.
func tryToMap(file *os.File, size int) error {
	memory, err := unix.Mmap(int(file.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map a file into memory: %w", err)
	}
	return unix.Munmap(memory)
}
