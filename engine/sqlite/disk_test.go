package sqlite

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ncruces/go-sqlite3/vfs"
)

// disk is the operating system's file system with two more gifts: it refuses operations, and it
// knows what is left when power is lost.
type disk struct {
	vfs.VFSFilename
	name   string
	refuse func(op diskOp) error
	// refuseWrite gets the place where a write ends.
	refuseWrite func(path string, end int64) error

	mu    sync.Mutex // guards the files
	files map[string]*diskContent
}

// diskOp is an operation that changes files.
type diskOp struct {
	kind string // write, truncate, sync, create, delete
	path string
}

func (o diskOp) is(kind, suffix string) bool {
	return o.kind == kind && strings.HasSuffix(o.path, suffix)
}

// The suffixes of the two files.
const (
	mainFile = ".db"
	logFile  = ".db-wal"
)

// diskContent is a file's content that is on the disk for good, and the changes since.
type diskContent struct {
	durable []byte
	changes []diskChange
}

// diskChange is a write, or a truncation when data is nil.
type diskChange struct {
	at   int64
	data []byte
}

func (c diskChange) apply(content []byte) []byte {
	end := int(c.at) + len(c.data)
	if len(content) < end {
		content = append(content, make([]byte, end-len(content))...)
	}
	if c.data == nil {
		return content[:c.at]
	}
	copy(content[c.at:], c.data)
	return content
}

var disks atomic.Int64

// newDisk registers a disk, whose name goes into Options. The function may be nil.
func newDisk(t testing.TB, refuse func(op diskOp) error) *disk {
	t.Helper()
	d := &disk{
		VFSFilename: vfs.Find("os").(vfs.VFSFilename),
		name:        fmt.Sprintf("oolith-test-%d", disks.Add(1)),
		refuse:      refuse,
		files:       map[string]*diskContent{},
	}
	vfs.Register(d.name, d)
	t.Cleanup(func() { vfs.Unregister(d.name) })
	return d
}

func (d *disk) allow(kind, path string) error {
	if d.refuse == nil {
		return nil
	}
	return d.refuse(diskOp{kind, path})
}

// OpenFilename implements vfs.VFSFilename.
func (d *disk) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	path := name.String()
	d.mu.Lock()
	defer d.mu.Unlock()
	content, err := os.ReadFile(path)
	if err != nil && flags&vfs.OPEN_CREATE != 0 {
		if err := d.allow("create", path); err != nil {
			return nil, flags, err
		}
	}
	file, flags, err := d.VFSFilename.OpenFilename(name, flags)
	if err != nil || path == "" {
		return file, flags, err
	}
	if d.files[path] == nil {
		d.files[path] = &diskContent{durable: content}
	}
	return &diskFile{File: file, disk: d, path: path, content: d.files[path]}, flags, nil
}

// Delete implements vfs.VFS.
func (d *disk) Delete(path string, syncDir bool) error {
	if err := d.allow("delete", path); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.files, path)
	return d.VFSFilename.Delete(path, syncDir)
}

// diskFile is an open file.
type diskFile struct {
	vfs.File
	disk    *disk
	path    string
	content *diskContent
}

// SharedMemory implements vfs.FileSharedMemory.
func (f *diskFile) SharedMemory() vfs.SharedMemory {
	return f.File.(vfs.FileSharedMemory).SharedMemory()
}

// WriteAt implements vfs.File.
func (f *diskFile) WriteAt(p []byte, at int64) (int, error) {
	if err := f.disk.allow("write", f.path); err != nil {
		return 0, err
	}
	if f.disk.refuseWrite != nil {
		if err := f.disk.refuseWrite(f.path, at+int64(len(p))); err != nil {
			return 0, err
		}
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.content.changes = append(f.content.changes, diskChange{at, append([]byte{}, p...)})
	return f.File.WriteAt(p, at)
}

// Truncate implements vfs.File.
func (f *diskFile) Truncate(size int64) error {
	if err := f.disk.allow("truncate", f.path); err != nil {
		return err
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.content.changes = append(f.content.changes, diskChange{at: size})
	return f.File.Truncate(size)
}

// Sync implements vfs.File. It does not bother the real disk.
func (f *diskFile) Sync(vfs.SyncFlag) error {
	if err := f.disk.allow("sync", f.path); err != nil {
		return err
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	for _, c := range f.content.changes {
		f.content.durable = c.apply(f.content.durable)
	}
	f.content.changes = nil
	return nil
}

// size is the length that a file with a suffix has, or had, at most.
func (d *disk) size(suffix string) (size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for path, content := range d.files {
		if strings.HasSuffix(path, suffix) {
			size = int64(len(content.durable))
		}
	}
	return size
}

// unsynced is how many changes of the files with a suffix are not on the disk for good.
func (d *disk) unsynced(suffix string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for path, content := range d.files {
		if strings.HasSuffix(path, suffix) {
			n += len(content.changes)
		}
	}
	return n
}

// crash makes what is there after a loss of power, in another directory: of the changes that were
// not synced each with the given probability, in part or whole. It returns the file's path.
func (d *disk) crash(t testing.TB, rng *rand.Rand, kept float64) string {
	t.Helper()
	dir := t.TempDir()
	d.mu.Lock()
	defer d.mu.Unlock()
	for path, content := range d.files {
		left := append([]byte{}, content.durable...)
		for _, c := range content.changes {
			if rng.Float64() >= kept {
				continue
			}
			if len(c.data) > 512 && rng.IntN(4) == 0 {
				c.data = c.data[:512*(1+rng.IntN(len(c.data)/512))]
			}
			left = c.apply(left)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), left, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return in(dir)
}
