package pebble

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
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
	formatFile    = "FORMAT"
	formatName    = "oolith-pebble"
	formatVersion = 1

	lockFile     = "LOCK"
	newFormat    = formatFile + ".new"
	maxFormatLen = 256
)

// checkFormat accepts a directory that this build can read, and marks an empty one. The
// lock of the directory is held.
func checkFormat(disk vfs.FS, dir string) error {
	line, err := readFormat(disk, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return markFormat(disk, dir)
	}
	if err != nil {
		return fmt.Errorf("read the format of the store: %w", err)
	}
	name, number, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	version, err := strconv.Atoi(number)
	if name != formatName || err != nil || version < 1 {
		return fmt.Errorf("its file %s says %q, expected %q: this is no store of this kind",
			formatFile, line, fmt.Sprint(formatName, " ", formatVersion))
	}
	if version > formatVersion {
		return fmt.Errorf("the store has format version %d, this build knows up to %d: use a newer build",
			version, formatVersion)
	}
	return nil
}

// readFormat returns what the format file says.
func readFormat(disk vfs.FS, dir string) (string, error) {
	file, err := disk.Open(disk.PathJoin(dir, formatFile))
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFormatLen))
	return string(content), firstError(err, file.Close())
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
				"choose an empty or new directory", name, formatFile)
		}
	}
	temporary := disk.PathJoin(dir, newFormat)
	if err := writeSynced(disk, temporary, fmt.Sprintf("%s %d\n", formatName, formatVersion)); err != nil {
		return err
	}
	if err := disk.Rename(temporary, disk.PathJoin(dir, formatFile)); err != nil {
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
	return firstError(err, file.Close())
}

// syncDir puts the entries of a directory on the disk.
func syncDir(disk vfs.FS, dir string) error {
	file, err := disk.OpenDir(dir)
	if err != nil {
		return err
	}
	return firstError(file.Sync(), file.Close())
}
