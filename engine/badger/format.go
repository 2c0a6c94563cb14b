package badger

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The file FORMAT marks a directory as a store of this layer. Its one line is the name of
// the layout and its version:
//
//	oolith-badger 1
//
// It is a file of its own and not a key of the database, so that a directory of someone
// else, or of a newer version, is refused before Badger has touched anything in it. It is
// made before the database is, and never changed.
const (
	formatFile    = "FORMAT"
	formatName    = "oolith-badger"
	formatVersion = 1

	// lockFile is what a store of this layer locks. Badger has a lock of its own beside it,
	// which it takes too late for what is looked at before it is opened.
	lockFile     = "STORE-LOCK"
	newFormat    = formatFile + ".new"
	maxFormatLen = 256
)

// checkFormat accepts a directory that this build can read, and marks an empty one. The
// lock of the directory is held.
func checkFormat(dir string) error {
	line, err := readFormat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return markFormat(dir)
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
func readFormat(dir string) (string, error) {
	file, err := os.Open(filepath.Join(dir, formatFile))
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFormatLen))
	return string(content), firstError(err, file.Close())
}

// markFormat makes a new, empty directory a store.
func markFormat(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		// The lock is ours, a half-made marker is of a crash here, and a file system's
		// root has the directory for what its repair found.
		if name := entry.Name(); name != lockFile && name != newFormat && name != "lost+found" {
			return fmt.Errorf("it holds files (%s) but no file %s: this is no store of this kind; "+
				"choose an empty or new directory", name, formatFile)
		}
	}
	temporary := filepath.Join(dir, newFormat)
	if err := writeSynced(temporary, fmt.Appendf(nil, "%s %d\n", formatName, formatVersion)); err != nil {
		return err
	}
	if err := os.Rename(temporary, filepath.Join(dir, formatFile)); err != nil {
		return err
	}
	return syncDir(dir)
}

// writeSynced makes a file that is on the disk when it returns.
func writeSynced(name string, content []byte) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if _, err = file.Write(content); err == nil {
		err = file.Sync()
	}
	return firstError(err, file.Close())
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
