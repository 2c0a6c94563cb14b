//go:build linux || darwin || freebsd || dragonfly

package badger

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lockOpen locks an open file, exclusively or shared. The lock lasts until the file is closed.
func lockOpen(file *os.File, shared bool) error {
	how := unix.LOCK_EX
	if shared {
		how = unix.LOCK_SH
	}
	err := unix.Flock(int(file.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errHeld
	}
	return err
}

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
		noFiles: fs.Files > 0 && fs.Ffree == 0,
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
