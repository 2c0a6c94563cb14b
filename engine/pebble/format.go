package pebble

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oolith-db/oolith/engine/internal/enginekit"
)

// The file FORMAT marks a directory as a store of this layer. Its one line is the name of
// the layout and its version:
//
//	oolith-pebble 1
//
// It is a file of its own and not a key of the database, so that a directory of someone
// else, or of a newer version, is refused before Pebble has touched anything in it. It is
// made before the database is, and never changed.
const (
	formatName    = "oolith-pebble"
	formatVersion = 1

	lockFile     = "LOCK"
	newFormat    = enginekit.FormatFile + ".new"
	maxFormatLen = 256
)

// checkFormat accepts a directory that this build can read, and marks an empty one. The
// lock of the directory is held.
func checkFormat(disk vfs.FS, dir string) error {
	content, err := readFormat(disk, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return markFormat(disk, dir)
	}
	if err != nil {
		return fmt.Errorf("read the format of the store: %w", err)
	}
	return enginekit.CheckFormat(content, formatName, formatVersion)
}

// readFormat returns what the format file says.
func readFormat(disk vfs.FS, dir string) (string, error) {
	file, err := disk.Open(disk.PathJoin(dir, enginekit.FormatFile))
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFormatLen))
	return string(content), enginekit.FirstError(err, file.Close())
}

// markFormat makes a new, empty directory a store.
func markFormat(disk vfs.FS, dir string) error {
	names, err := disk.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		// The lock is ours, a half-made marker is of a crash here, and a file system's
		// root has the directory for what its repair found.
		if name != lockFile && name != newFormat && name != "lost+found" {
			return fmt.Errorf("it holds files (%s) but no file %s: this is no store of this kind; "+
				"choose an empty or new directory", name, enginekit.FormatFile)
		}
	}
	temporary := disk.PathJoin(dir, newFormat)
	if err := writeSynced(disk, temporary, enginekit.FormatLine(formatName, formatVersion)); err != nil {
		return err
	}
	if err := disk.Rename(temporary, disk.PathJoin(dir, enginekit.FormatFile)); err != nil {
		return err
	}
	return syncDir(disk, dir)
}

// writeSynced makes a file that is on the disk when it returns.
func writeSynced(disk vfs.FS, name, content string) error {
	file, err := disk.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err = io.WriteString(file, content); err == nil {
		err = file.Sync()
	}
	return enginekit.FirstError(err, file.Close())
}

// syncDir puts the entries of a directory on the disk.
func syncDir(disk vfs.FS, dir string) error {
	file, err := disk.OpenDir(dir)
	if err != nil {
		return err
	}
	return enginekit.FirstError(file.Sync(), file.Close())
}
