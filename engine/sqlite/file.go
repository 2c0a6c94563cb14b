package sqlite

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// The suffixes of the other files of a store.
const (
	lockSuffix    = "-lock"
	indexSuffix   = "-shm"
	journalSuffix = "-journal"
	// newSuffix is the suffix of a file under creation. The file gets its final name when it is complete, so FILE
	// either does not exist or has its mark in the header.
	newSuffix = "-new"
)

// The part of the header of an SQLite database that is inspected.
const (
	headerSize      = 100
	headerMagic     = "SQLite format 3\x00"
	pageSizeAt      = 16
	changesAt       = 24
	pageCountAt     = 28
	applicationIDAt = 68
	countValidAt    = 92 // the number of changes for which the page count is correct
)

// place creates the directories above a file, except in read-only mode. It returns the canonical name of the file, by
// which a second store on it is detected.
func place(file string, readOnly bool) (string, error) {
	if file == "" {
		return "", errors.New("the path of the file is empty")
	}
	path, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return "", isDirectory(path)
	}
	if readOnly {
		real, err := filepath.EvalSymlinks(path)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("there is no store to read: %w", err)
		}
		return real, err
	}
	if err := enginekit.MakeDir(filepath.Dir(path), enginekit.SyncDir); err != nil {
		return "", err
	}
	return resolve(path)
}

// resolve follows symbolic links, also those of a file that does not exist yet.
func resolve(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return real, err
	}
	if target, err := os.Readlink(path); err == nil {
		return "", fmt.Errorf("it is a symbolic link to %s, which is not there", target)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	return filepath.Join(dir, filepath.Base(path)), err
}

// inspect reports whether a file exists. A file that is foreign or incomplete is an error, and so is a part of a
// database without the file. inspect does not use SQLite, because opening a database can change it.
func inspect(path string) (exists bool, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		for _, suffix := range []string{logSuffix, indexSuffix, journalSuffix} {
			if _, err := os.Stat(path + suffix); err == nil {
				return false, fmt.Errorf("the file is missing, and %s, which belongs to it, is there; restore both from a "+
					"backup, or remove that too for a new store", path+suffix)
			}
		}
		return false, nil
	}
	switch {
	case err != nil:
		return false, err
	case info.IsDir():
		return false, isDirectory(path)
	case !info.Mode().IsRegular():
		return false, errors.New("it is no regular file")
	case info.Size() == 0:
		// A store never has an empty file: it may be all that is left of one.
		return false, errors.New("the file is empty; if a store was there, restore it from a backup, and remove the file " +
			"for a new store")
	}
	header, size, err := readBeginning(path)
	if err != nil {
		return false, err
	}
	if string(header[:len(headerMagic)]) != headerMagic {
		return false, errors.New("it is a file of another kind, no SQLite database; choose another name")
	}
	if id := binary.BigEndian.Uint32(header[applicationIDAt:]); id != applicationID {
		return false, fmt.Errorf("it is an SQLite database of another program (application_id %d, expected %d); choose another name",
			id, applicationID)
	}
	return true, checkWhole(path, header, size)
}

// checkWhole rejects a truncated file, and a file whose log is missing.
func checkWhole(path string, header [headerSize]byte, size int64) error {
	log, err := os.Stat(path + logSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		// SQLite removes the index first.
		if _, err := os.Stat(path + indexSuffix); err == nil {
			return fmt.Errorf("its write-ahead log %s, which may hold acknowledged writes, is missing beside %s; restore "+
				"both from a backup, or remove the latter to give up what the log held", path+logSuffix, path+indexSuffix)
		}
	} else if err != nil {
		return err
	}
	field := func(at int) int64 { return int64(binary.BigEndian.Uint32(header[at:])) }
	page := pageSize(binary.BigEndian.Uint16(header[pageSizeAt:]))
	// A crash while a log is moved into the file can leave the file shorter than it says.
	logged := log != nil && log.Size() > 0
	if !logged && field(changesAt) == field(countValidAt) && size < page*field(pageCountAt) {
		return fmt.Errorf("the file is corrupt, it is cut short to %d bytes, expected %d; restore it from a backup", size,
			page*field(pageCountAt))
	}
	return nil
}

func isDirectory(path string) error {
	return fmt.Errorf("%s is a directory, expected a file; choose a name in it", path)
}

// create makes an empty store. The caller holds the lock of the file.
func create(path string, o Options) error {
	temporary := path + newSuffix
	// Files of an earlier attempt.
	for _, name := range []string{temporary, temporary + journalSuffix} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	c, err := openConn(temporary, toCreate, o)
	if err != nil {
		return err
	}
	err = c.fillNew()
	if err = cmp.Or(err, c.close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return enginekit.SyncDir(filepath.Dir(path))
}

// fillNew marks a new database and creates its tables. They are on disk when it returns.
func (c *conn) fillNew() (err error) {
	defer c.guard(&err)
	if err := c.db.Exec(fmt.Sprintf(`PRAGMA fullfsync = ON; PRAGMA synchronous = FULL; PRAGMA application_id = %d`, applicationID)); err != nil {
		return err
	}
	return migrate(c, migrations, 0)
}

// explain adds advice to an error.
func explain(err error) error {
	switch {
	case isReadOnly(err) && !errors.Is(err, syscall.EROFS): // SQLite's form of the error
		return fmt.Errorf("the file or its directory cannot be written; change its permissions, choose another, or open it to read only (readonly=on): %w", err)
	case isNoRoom(err):
		return fmt.Errorf("the disk is full; make room: %w", err)
	case isCode(err, sqlite3.BUSY):
		return fmt.Errorf("another program is writing to the file; end its transaction: %w", err)
	case isNoMemory(err):
		return fmt.Errorf("%s: %w", moreMemory, err)
	case isCorrupt(err):
		return fmt.Errorf("the file is corrupt; restore it from a backup: %w", err)
	}
	return err
}
