package ko

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	ldbstorage "github.com/syndtr/goleveldb/leveldb/storage"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// disk is the open and locked directory of a database: LevelDB's own files, and the notes beside them. Its methods
// may be called concurrently.
type disk interface {
	ldbstorage.Storage
	// Files returns the sizes of all files in the directory by their names.
	Files() (map[string]int64, error)
	// SyncDir syncs the entries of the directory to disk.
	SyncDir() error
	// ReadNote returns the content of a file, or an error that is fs.ErrNotExist.
	ReadNote(name string) ([]byte, error)
	// WriteNote creates or replaces a file. After a crash the file has the new content or the old one; once WriteNote
	// has returned nil, it has the new one.
	WriteNote(name string, content []byte) error
	// RemoveNote durably removes a file, if it exists.
	RemoveNote(name string) error
}

// fileDisk is a directory of the operating system.
type fileDisk struct {
	ldbstorage.Storage
	dir string
}

func openFileDisk(dir string) (disk, error) {
	files, err := ldbstorage.OpenFile(dir, false)
	if err != nil {
		return nil, err
	}
	return &fileDisk{Storage: files, dir: dir}, nil
}

// Files implements disk.
func (d *fileDisk) Files() (map[string]int64, error) { return filesOf(d.dir) }

// filesOf returns the sizes of the files in a directory. A file that is removed meanwhile is left out.
func filesOf(dir string) (map[string]int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := make(map[string]int64, len(entries))
	for _, entry := range entries {
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		files[entry.Name()] = info.Size()
	}
	return files, nil
}

// SyncDir implements disk.
func (d *fileDisk) SyncDir() error { return syncDir(d.dir) }

// ReadNote implements disk.
func (d *fileDisk) ReadNote(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(d.dir, name))
}

// WriteNote implements disk.
func (d *fileDisk) WriteNote(name string, content []byte) error {
	return enginekit.ReplaceFile(filepath.Join(d.dir, name), content, syncDir)
}

// RemoveNote implements disk.
func (d *fileDisk) RemoveNote(name string) error {
	err := os.Remove(filepath.Join(d.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.SyncDir()
}

// syncDir syncs the entries of a directory to disk, if the file system supports that.
func syncDir(dir string) error {
	if err := enginekit.SyncDir(dir); !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}
