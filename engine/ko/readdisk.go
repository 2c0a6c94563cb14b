package ko

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	ldbstorage "github.com/syndtr/goleveldb/leveldb/storage"

	"github.com/oolith-db/oolith/engine/internal/filelock"
	"github.com/oolith-db/oolith/storage"
)

// readDisk is a directory that is only read: no file is created, not even the lock file, which LevelDB's own
// implementation creates if it is missing.
//
// While it is open it shares the lock, if there is one. No writer can then open the database, remove tables that are
// being read, or let the reader see a part of a change. A copy of a database may lack its lock, an empty file that
// some tools leave out. A writer of such a copy is not excluded.
type readDisk struct {
	dir  string
	lock io.Closer // nil without one
}

func openReadDisk(dir string) (disk, error) {
	lock, err := filelock.Open(filepath.Join(dir, "LOCK"), os.O_RDONLY)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &readDisk{dir: dir}, nil
	case err != nil:
		return nil, err
	}
	return &readDisk{dir: dir, lock: lock}, nil
}

// Close implements storage.Storage.
func (d *readDisk) Close() error {
	if d.lock == nil {
		return nil
	}
	return d.lock.Close()
}

// Lock implements storage.Storage. LevelDB calls it once.
func (d *readDisk) Lock() (ldbstorage.Locker, error) { return unlocked{}, nil }

type unlocked struct{}

func (unlocked) Unlock() {}

// Log implements storage.Storage.
func (d *readDisk) Log(string) {}

// GetMeta implements storage.Storage. It trusts CURRENT, which checkWhole has read.
func (d *readDisk) GetMeta() (ldbstorage.FileDesc, error) {
	content, err := d.ReadNote(currentFile)
	if err != nil {
		return ldbstorage.FileDesc{}, err
	}
	fd, ok := fileNamed(strings.TrimSuffix(string(content), "\n"))
	if !ok || fd.Type != ldbstorage.TypeManifest {
		return ldbstorage.FileDesc{}, missing("its file %s says %.40q", currentFile, content)
	}
	return fd, nil
}

// List implements storage.Storage.
func (d *readDisk) List(kind ldbstorage.FileType) ([]ldbstorage.FileDesc, error) {
	files, err := d.Files()
	if err != nil {
		return nil, err
	}
	var found []ldbstorage.FileDesc
	for name := range files {
		if fd, ok := fileNamed(name); ok && fd.Type&kind != 0 {
			found = append(found, fd)
		}
	}
	return found, nil
}

// fileNamed returns the file of LevelDB with the given name.
func fileNamed(name string) (fd ldbstorage.FileDesc, ok bool) {
	if n, _ := fmt.Sscanf(name, "MANIFEST-%d", &fd.Num); n == 1 {
		fd.Type = ldbstorage.TypeManifest
		return fd, true
	}
	var kind string
	if n, _ := fmt.Sscanf(name, "%d.%s", &fd.Num, &kind); n < 2 {
		return fd, false
	}
	switch kind {
	case "log":
		fd.Type = ldbstorage.TypeJournal
	case "ldb", "sst":
		fd.Type = ldbstorage.TypeTable
	case "tmp":
		fd.Type = ldbstorage.TypeTemp
	}
	return fd, fd.Type != 0
}

// Open implements storage.Storage.
func (d *readDisk) Open(fd ldbstorage.FileDesc) (ldbstorage.Reader, error) {
	switch fd.Type {
	case ldbstorage.TypeManifest:
		return os.Open(filepath.Join(d.dir, fmt.Sprintf("MANIFEST-%06d", fd.Num)))
	case ldbstorage.TypeJournal:
		return os.Open(filepath.Join(d.dir, fmt.Sprintf("%06d.log", fd.Num)))
	case ldbstorage.TypeTable:
		file, err := os.Open(filepath.Join(d.dir, fmt.Sprintf("%06d.ldb", fd.Num)))
		if errors.Is(err, fs.ErrNotExist) { // older tables have another name
			return os.Open(filepath.Join(d.dir, fmt.Sprintf("%06d.sst", fd.Num)))
		}
		return file, err
	}
	return nil, ldbstorage.ErrInvalidFile
}

// Files implements disk.
func (d *readDisk) Files() (map[string]int64, error) { return filesOf(d.dir) }

// ReadNote implements disk.
func (d *readDisk) ReadNote(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(d.dir, name))
}

// The remaining methods would change something.

func (d *readDisk) SetMeta(ldbstorage.FileDesc) error { return storage.ErrReadOnly }
func (d *readDisk) Create(ldbstorage.FileDesc) (ldbstorage.Writer, error) {
	return nil, storage.ErrReadOnly
}
func (d *readDisk) Remove(ldbstorage.FileDesc) error      { return storage.ErrReadOnly }
func (d *readDisk) Rename(_, _ ldbstorage.FileDesc) error { return storage.ErrReadOnly }
func (d *readDisk) SyncDir() error                        { return storage.ErrReadOnly }
func (d *readDisk) WriteNote(string, []byte) error        { return storage.ErrReadOnly }
func (d *readDisk) RemoveNote(string) error               { return storage.ErrReadOnly }
