package pebble

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// The file FORMAT marks a directory as a store of this layer. Its one line is the name of the layout and its version:
//
//	oolith-pebble 1
//
// The mark is a separate file instead of a key of the database, so a foreign directory, or one of a newer version, is
// rejected before Pebble touches anything in it.
//
// FORMAT is the last file that the creation of a store makes: until then its name is FORMAT.new. If there is a
// FORMAT, the database was complete at that time, and anything missing now is lost: the store is rejected, whereas
// Pebble would create a new database and remove the files of the old one. If there is a FORMAT.new and no FORMAT, a
// crash interrupted the creation before anything could be stored, and the creation is repeated.
const (
	formatName    = "oolith-pebble"
	formatVersion = 1

	lockFile     = "LOCK"
	newFormat    = enginekit.FormatFile + ".new"
	maxFormatLen = 256
)

// look reports whether a directory holds a store or is still empty. Any other content is an error. It changes
// nothing.
func look(disk vfs.FS, dir string) (exists bool, err error) {
	content, err := readFormat(disk, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, checkNew(disk, dir)
	}
	if err != nil {
		return false, fmt.Errorf("read the format of the store: %w", err)
	}
	if err := enginekit.CheckFormat(content, formatName, formatVersion); err != nil {
		return false, err
	}
	return true, checkWhole(disk, dir)
}

// checkWhole rejects a store whose database is incomplete, or is damaged where Pebble would not report it.
func checkWhole(disk vfs.FS, dir string) error {
	desc, err := pebble.Peek(dir, disk)
	switch {
	case err != nil:
		return err
	case !desc.Exists:
		return lost(manifestMarker+"*", "it names the list of the tables")
	case desc.FormatMajorVersion == pebble.FormatDefault:
		return lost("marker.format-version.*", "it names the version of the tables")
	}
	switch _, err := disk.Stat(desc.ManifestFilename); {
	case errors.Is(err, fs.ErrNotExist):
		return lost(disk.PathBase(desc.ManifestFilename), "it is the list of the tables")
	case err != nil:
		return err
	}
	closed, err := checkLog(disk, dir)
	if err != nil {
		return err
	}
	return checkManifest(disk, desc.ManifestFilename, closed)
}

// lost is the error of a store that has lost a file.
func lost(name, what string) error {
	return fmt.Errorf("the file %s of the store is missing (%s); the rest is left as it is; "+
		"restore the file, or the whole store, from a backup, or choose an empty or new directory", name, what)
}

// checkNew accepts a directory in which a store can be created: an empty one, and one in which the creation was
// interrupted.
func checkNew(disk vfs.FS, dir string) error {
	names, err := disk.List(dir)
	if err != nil {
		return err
	}
	begun := slices.Contains(names, newFormat)
	for _, name := range names {
		switch {
		// The lock file is ours. The root of a file system has the directory for the results of its repair.
		case name == lockFile || name == newFormat || name == "lost+found":
			continue
		case begun && firstFiles.MatchString(name):
			stored, err := isStored(disk, dir, name)
			if err != nil {
				return err
			}
			if !stored {
				continue
			}
		}
		return fmt.Errorf("it holds files (%s) but no file %s; this is no store of this kind, or it has lost that file; "+
			"restore it from a backup, or choose an empty or new directory", name, enginekit.FormatFile)
	}
	return nil
}

// firstFiles are the files that Pebble creates before anything is stored.
var firstFiles = regexp.MustCompile(`^(MANIFEST-[0-9]+|marker\.(manifest|format-version)\..*|OPTIONS-[0-9]+|[0-9]+\.log|.*\.dbtmp)$`)

// isStored reports whether a file is a log with content.
func isStored(disk vfs.FS, dir, name string) (bool, error) {
	if _, isLog := logNumber(name); !isLog {
		return false, nil
	}
	head, err := beginningOf(disk, disk.PathJoin(dir, name))
	return holdsRecord(head), err
}

// readFormat returns the content of the format file.
func readFormat(disk vfs.FS, dir string) (string, error) {
	file, err := disk.Open(disk.PathJoin(dir, enginekit.FormatFile))
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFormatLen))
	return string(content), cmp.Or(err, file.Close())
}

// create makes a store in a directory that holds none according to look.
func (d *database) create(dir string) error {
	if d.options.ReadOnly {
		return enginekit.NoStore(fs.ErrNotExist)
	}
	disk := d.options.FS
	begun := disk.PathJoin(dir, newFormat)
	err := writeSynced(disk, begun, enginekit.FormatLine(formatName, formatVersion))
	if err == nil {
		err = syncDir(disk, dir)
	}
	if err == nil {
		// Pebble creates the first log of a new database in its oldest format, whose chunks do not record syncs. The
		// log of a second opening, by the caller, has the requested format.
		err = d.openDatabase(dir)
	}
	if err == nil {
		err = d.db.Close()
	}
	if err == nil {
		err = disk.Rename(begun, disk.PathJoin(dir, enginekit.FormatFile))
	}
	if err != nil {
		return err
	}
	return syncDir(disk, dir)
}

// writeSynced creates a file that is on disk when it returns.
func writeSynced(disk vfs.FS, name, content string) error {
	file, err := disk.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err = io.WriteString(file, content); err == nil {
		err = file.Sync()
	}
	return cmp.Or(err, file.Close())
}

// syncDir syncs the entries of a directory to disk.
func syncDir(disk vfs.FS, dir string) error {
	file, err := disk.OpenDir(dir)
	if err != nil {
		return err
	}
	return cmp.Or(file.Sync(), file.Close())
}
