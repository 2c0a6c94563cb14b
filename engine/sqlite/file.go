package sqlite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/engine/internal/enginekit"
)

// The names beside the file.
const (
	lockSuffix = "-lock"
	// newSuffix is of the file in the making. It gets its name when it is whole, so that FILE
	// either is not there or has its mark in the header.
	newSuffix = "-new"
)

// The header of an SQLite database, of which this much is looked at.
const (
	headerSize      = 100
	headerMagic     = "SQLite format 3\x00"
	applicationIDAt = 68
)

// place makes the directories above a file where they are missing and returns the file's
// one true name, by which a second store on it is noticed.
func place(file string) (string, error) {
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
	if err := enginekit.MakeDir(filepath.Dir(path), enginekit.SyncDir); err != nil {
		return "", err
	}
	return resolve(path)
}

// resolve follows symbolic links, also of a file that is not there yet.
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

// inspect tells whether a file is there and holds something. Something that is not ours is an
// error. SQLite is not asked: to open a database can change it.
func inspect(path string) (exists bool, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
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
		return false, nil
	}
	header, err := readHeader(path)
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
	return true, nil
}

func isDirectory(path string) error {
	return fmt.Errorf("%s is a directory, expected a file; choose a name in it", path)
}

// readHeader returns the beginning of a file, filled up with zeros.
func readHeader(path string) (header [headerSize]byte, err error) {
	file, err := os.Open(path)
	if err != nil {
		return header, err
	}
	_, err = io.ReadFull(file, header[:])
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return header, enginekit.FirstError(err, file.Close())
}

// create makes an empty store. The lock of the file is held.
func create(path string, o Options) error {
	temporary := path + newSuffix
	// What an earlier attempt left.
	for _, name := range []string{temporary, temporary + "-journal"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	c, err := openConn(temporary, toCreate, o)
	if err != nil {
		return err
	}
	err = c.fillNew()
	if err = enginekit.FirstError(err, c.close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return enginekit.SyncDir(filepath.Dir(path))
}

// fillNew marks a new database and makes its tables. It is on the disk when it returns.
func (c *conn) fillNew() (err error) {
	defer c.guard(&err)
	if err := c.db.Exec(fmt.Sprintf(`PRAGMA fullfsync = ON; PRAGMA synchronous = FULL; PRAGMA application_id = %d`, applicationID)); err != nil {
		return err
	}
	return migrate(c, migrations, 0)
}

// explain says what to do about an error of opening.
func explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission), isReadOnly(err):
		return fmt.Errorf("the file or its directory cannot be written; change the permissions or choose another: %w", err)
	case isNoRoom(err):
		return fmt.Errorf("the disk is full; make room: %w", err)
	case isCode(err, sqlite3.BUSY):
		return fmt.Errorf("another program holds the file; close it there: %w", err)
	case isNoMemory(err):
		return fmt.Errorf("%s: %w", moreMemory, err)
	case isCorrupt(err):
		return fmt.Errorf("the file is corrupt; restore it from a backup: %w", err)
	}
	return err
}
