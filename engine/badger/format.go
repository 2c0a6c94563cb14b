package badger

import (
	"cmp"
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
// The mark is a separate file instead of a key of the database, so a foreign directory, or one of a newer version, is
// rejected before Badger touches anything in it. A new directory first gets FORMAT.new, then the database, then
// FORMAT in its place. After a crash, the next start continues from there, and if there is a FORMAT, no file of the
// database may be missing.
const (
	formatName    = "oolith-badger"
	formatVersion = 2 // 1 had large values in the value log, and no mark

	// lockFile is the file that a store of this layer locks. Badger also has its own lock, which it takes too late
	// for the inspection that precedes its opening.
	lockFile     = "STORE-LOCK"
	newFormat    = enginekit.FormatFile + ".new"
	maxFormatLen = 256
)

var formatLine = enginekit.FormatLine(formatName, formatVersion)

// state is the state of a directory.
type state int

const (
	inTheMaking state = iota
	older             // of an earlier format version
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

// readSmall returns the content of a file of one line.
func readSmall(dir, name string) (string, error) {
	file, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFormatLen))
	return string(content), cmp.Or(err, file.Close())
}

// checkNew accepts a directory without a format that is empty, or that is under creation and holds no object yet.
func checkNew(dir string) error {
	begun, err := readSmall(dir, newFormat)
	isBegun := err == nil && strings.HasPrefix(formatLine, begun)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		// The root of a file system has the directory for the results of its repair.
		name := entry.Name()
		if name == lockFile || name == newFormat || name == "lost+found" || isBegun && filepath.Ext(name) != ".sst" {
			continue
		}
		return fmt.Errorf("it holds files (%s) but no file %s; this is no store of this kind; "+
			"choose an empty or new directory", name, enginekit.FormatFile)
	}
	return nil
}

// endFormat marks a directory as a store.
func endFormat(dir string) error {
	return enginekit.ReplaceFile(filepath.Join(dir, enginekit.FormatFile), []byte(formatLine), enginekit.SyncDir)
}
