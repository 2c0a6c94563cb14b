package badger

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// The file FORMAT marks a directory as a store of this layer. Its one line is the name of the layout and its version:
//
//	oolith-badger 2
//
// It is a file of its own and not a key of the database, so that a directory of someone else, or of a newer version, is
// refused before Badger has touched anything in it. A new directory first gets FORMAT.new, then the database, then
// FORMAT in its place: so a crash leaves what the next start goes on with, and beside FORMAT nothing of the database
// may be missing.
const (
	formatName    = "oolith-badger"
	formatVersion = 2 // 1 had large values in the value log, and no mark

	// lockFile is what a store of this layer locks. Badger has a lock of its own beside it, which it takes too late for
	// what is looked at before it is opened.
	lockFile     = "STORE-LOCK"
	newFormat    = enginekit.FormatFile + ".new"
	maxFormatLen = 256
)

var formatLine = enginekit.FormatLine(formatName, formatVersion)

// state is what a directory is.
type state int

const (
	inTheMaking state = iota
	older             // of a format version before this one
	current
)

// checkFormat accepts a directory that this build can read.
func checkFormat(dir string) (state, error) {
	content, err := readSmall(dir, enginekit.FormatFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return inTheMaking, checkNew(dir)
	case err != nil:
		return 0, fmt.Errorf("read the format of the store: %w", err)
	case content == formatLine:
		return current, nil
	}
	return older, enginekit.CheckFormat(content, formatName, formatVersion)
}

// readSmall returns what a file of a line says.
func readSmall(dir, name string) (string, error) {
	file, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFormatLen))
	return string(content), enginekit.FirstError(err, file.Close())
}

// checkNew accepts a directory without a format that is empty, or that is in the making and holds no object yet.
func checkNew(dir string) error {
	begun, err := readSmall(dir, newFormat)
	isBegun := err == nil && strings.HasPrefix(formatLine, begun)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		// A file system's root has the directory for what its repair found.
		name := entry.Name()
		if name == lockFile || name == newFormat || name == "lost+found" || isBegun && filepath.Ext(name) != ".sst" {
			continue
		}
		return fmt.Errorf("it holds files (%s) but no file %s: this is no store of this kind; "+
			"choose an empty or new directory", name, enginekit.FormatFile)
	}
	return nil
}

// beginFormat marks a directory as one in the making, endFormat as a store.
func beginFormat(dir string) error {
	return enginekit.FirstError(enginekit.WriteSynced(filepath.Join(dir, newFormat), []byte(formatLine)), enginekit.SyncDir(dir))
}

func endFormat(dir string) error {
	return enginekit.ReplaceFile(filepath.Join(dir, enginekit.FormatFile), []byte(formatLine), enginekit.SyncDir)
}
