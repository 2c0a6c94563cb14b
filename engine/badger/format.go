package badger

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/oolith-db/oolith/engine/internal/enginekit"
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
	formatName    = "oolith-badger"
	formatVersion = 1

	// lockFile is what a store of this layer locks. Badger has a lock of its own beside it,
	// which it takes too late for what is looked at before it is opened.
	lockFile     = "STORE-LOCK"
	newFormat    = enginekit.FormatFile + ".new"
	maxFormatLen = 256
)

// checkFormat accepts a directory that this build can read, and marks an empty one. The
// lock of the directory is held.
func checkFormat(dir string) error {
	content, err := readFormat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return markFormat(dir)
	}
	if err != nil {
		return fmt.Errorf("read the format of the store: %w", err)
	}
	return enginekit.CheckFormat(content, formatName, formatVersion)
}

// readFormat returns what the format file says.
func readFormat(dir string) (string, error) {
	file, err := os.Open(filepath.Join(dir, enginekit.FormatFile))
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFormatLen))
	return string(content), enginekit.FirstError(err, file.Close())
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
				"choose an empty or new directory", name, enginekit.FormatFile)
		}
	}
	line := enginekit.FormatLine(formatName, formatVersion)
	return enginekit.ReplaceFile(filepath.Join(dir, enginekit.FormatFile), []byte(line), enginekit.SyncDir)
}
