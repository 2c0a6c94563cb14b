package pebble

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// failstopFS is what stands between Pebble and the disk, so that a disk that fails
// stops the layer's writing and nothing else.
//
// Pebble ends the process when it cannot write its log or its manifest: it calls
// Logger.Fatalf, panics while it holds locks, or, when it cannot rotate the log, unlocks
// a mutex twice, which the runtime punishes with an exit that no recover sees. So a
// Logger alone cannot keep the process alive: Pebble must not see such an error. And once
// a sync failed, no later one can be trusted (the kernel drops the dirty pages and reports
// the error once), so that nothing may be written to the directory either.
//
// Hence one rule: the first write, sync or creation that fails is recorded, and from then
// on the directory on disk stays exactly as it is. What Pebble still writes goes
// nowhere, and it is told that all went well. The layer asks failure() after each commit, before
// it acknowledges it. In detail, after the failure:
//
//   - Writes and syncs of files that were open go nowhere and succeed, if they are logs,
//     manifests or directories. Those of a table fail: its flush is tried again, into
//     memory.
//   - New files are made in memory. Reads find them there. Since writes are
//     refused, they hold at most the few tables of memory that were waiting for a flush.
//   - A compaction, which could be as large as the store, waits at the creation
//     of its output until release, and fails then. It holds no lock of Pebble's there. If it
//     failed at once, Pebble would try it again at once, without end.
//   - Removals succeed and remove nothing on disk.
//
// Reads always go to the disk directly.
type failstopFS struct {
	vfs.FS // the disk

	// lock guards cause and memory. It is taken last, and held during no call of
	// the disk.
	lock   sync.RWMutex
	cause  error      // the first failure; nil while all is well
	memory *vfs.MemFS // takes new files after the failure

	failed   chan struct{} // closed at the first failure
	released chan struct{} // closed by release
	release  func()
}

func newFailstopFS(disk vfs.FS) *failstopFS {
	f := &failstopFS{FS: disk, failed: make(chan struct{}), released: make(chan struct{})}
	f.release = sync.OnceFunc(func() { close(f.released) })
	return f
}

// errReleased is what a compaction gets that waited after a failure, when the layer is closed.
var errReleased = errors.New("the layer is being closed after its disk failed")

// failure returns the first failure, or nil.
func (f *failstopFS) failure() error {
	f.lock.RLock()
	defer f.lock.RUnlock()
	return f.cause
}

// fail records the first failure and returns it.
func (f *failstopFS) fail(err error) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	if f.cause == nil {
		f.cause = err
		f.memory = vfs.NewMem()
		close(f.failed)
	}
	return f.cause
}

// overlay returns the file system of new files after a failure, or nil.
func (f *failstopFS) overlay() *vfs.MemFS {
	f.lock.RLock()
	defer f.lock.RUnlock()
	return f.memory
}

// Create implements vfs.FS.
func (f *failstopFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if f.overlay() == nil {
		file, err := f.createOnDisk(name, category)
		if err == nil {
			return f.wrap(file, name), nil
		}
		f.fail(err)
	}
	return f.createInMemory(name, category)
}

// manifestMarker begins the name of the file whose name says which manifest counts.
const manifestMarker = "marker.manifest."

// createOnDisk makes a file. Pebble makes a manifest and its marker and syncs the directory
// once, after both: power loss on a file system that keeps the second entry without the
// first would leave a store that cannot be opened. So the manifest's entry is synced first.
func (f *failstopFS) createOnDisk(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(f.PathBase(name), manifestMarker) {
		if err := syncDir(f.FS, f.PathDir(name)); err != nil {
			return nil, err
		}
	}
	return f.FS.Create(name, category)
}

// createInMemory makes a file after a failure.
func (f *failstopFS) createInMemory(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if category == compactionCategory || category == blobRewriteCategory {
		<-f.released
		return nil, errReleased
	}
	memory := f.overlay()
	if err := memory.MkdirAll(f.PathDir(name), 0o755); err != nil {
		return nil, err
	}
	return memory.Create(name, category)
}

// The categories by which Pebble tells what it creates a file for.
const (
	compactionCategory  vfs.DiskWriteCategory = "pebble-compaction"
	blobRewriteCategory vfs.DiskWriteCategory = "pebble-blob-file-rewrite"
)

// ReuseForWrite implements vfs.FS. Only logs are reused.
func (f *failstopFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if f.overlay() == nil {
		file, err := f.FS.ReuseForWrite(oldname, newname, category)
		if err == nil {
			return f.wrap(file, newname), nil
		}
		f.fail(err)
	}
	return f.createInMemory(newname, category)
}

// OpenReadWrite implements vfs.FS. Pebble does not use it for what the layer needs.
func (f *failstopFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := f.failure(); err != nil {
		return nil, err
	}
	file, err := f.FS.OpenReadWrite(name, category, opts...)
	if err != nil {
		return nil, f.fail(err)
	}
	return f.wrap(file, name), nil
}

// OpenDir implements vfs.FS.
func (f *failstopFS) OpenDir(name string) (vfs.File, error) {
	dir, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &failstopFile{File: dir, fs: f, pretend: true}, nil
}

// Open implements vfs.FS.
func (f *failstopFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if memory := f.overlay(); memory != nil {
		if file, err := memory.Open(name, opts...); err == nil {
			return file, nil
		}
	}
	return f.FS.Open(name, opts...)
}

// Stat implements vfs.FS.
func (f *failstopFS) Stat(name string) (vfs.FileInfo, error) {
	if memory := f.overlay(); memory != nil {
		if info, err := memory.Stat(name); err == nil {
			return info, nil
		}
	}
	return f.FS.Stat(name)
}

// Remove implements vfs.FS. A removal that the disk refuses leaves garbage, no damage:
// it is no failure. Pebble tries again at the next start.
func (f *failstopFS) Remove(name string) error {
	memory := f.overlay()
	if memory == nil {
		return f.FS.Remove(name)
	}
	if err := memory.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// RemoveAll implements vfs.FS.
func (f *failstopFS) RemoveAll(name string) error {
	return f.mutate(func() error { return f.FS.RemoveAll(name) })
}

// Rename implements vfs.FS.
func (f *failstopFS) Rename(oldname, newname string) error {
	return f.mutate(func() error { return f.FS.Rename(oldname, newname) })
}

// Link implements vfs.FS.
func (f *failstopFS) Link(oldname, newname string) error {
	return f.mutate(func() error { return f.FS.Link(oldname, newname) })
}

// MkdirAll implements vfs.FS.
func (f *failstopFS) MkdirAll(dir string, perm os.FileMode) error {
	return f.mutate(func() error { return f.FS.MkdirAll(dir, perm) })
}

// mutate does what nothing may pretend to have done.
func (f *failstopFS) mutate(do func() error) error {
	if err := f.failure(); err != nil {
		return err
	}
	if err := do(); err != nil {
		return f.fail(err)
	}
	return nil
}

// Unwrap implements vfs.FS.
func (f *failstopFS) Unwrap() vfs.FS { return f.FS }

// wrap watches over a file that was created on disk.
func (f *failstopFS) wrap(file vfs.File, name string) vfs.File {
	ext := filepath.Ext(name)
	table := ext == ".sst" || ext == ".blob"
	return &failstopFile{File: file, fs: f, pretend: !table}
}

// failstopFile is a file that is open for writing, or a directory.
type failstopFile struct {
	vfs.File
	fs *failstopFS
	// pretend is whether writes succeed after a failure.
	pretend bool
}

// do writes or syncs, or pretends to.
func (f *failstopFile) do(write func() error) error {
	err := f.fs.failure()
	if err == nil {
		if err = write(); err == nil {
			return nil
		}
		err = f.fs.fail(err)
	}
	if f.pretend {
		return nil
	}
	return err
}

// Write implements vfs.File.
func (f *failstopFile) Write(p []byte) (int, error) {
	err := f.do(func() error {
		_, err := f.File.Write(p)
		return err
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteAt implements vfs.File.
func (f *failstopFile) WriteAt(p []byte, offset int64) (int, error) {
	err := f.do(func() error {
		_, err := f.File.WriteAt(p, offset)
		return err
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Preallocate implements vfs.File. To refuse it is no failure: it only saves time.
func (f *failstopFile) Preallocate(offset, length int64) error {
	if f.fs.failure() != nil {
		return nil
	}
	return f.File.Preallocate(offset, length)
}

// Sync implements vfs.File.
func (f *failstopFile) Sync() error { return f.do(f.File.Sync) }

// SyncData implements vfs.File.
func (f *failstopFile) SyncData() error { return f.do(f.File.SyncData) }

// SyncTo implements vfs.File.
func (f *failstopFile) SyncTo(length int64) (full bool, err error) {
	err = f.do(func() error {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

// Close implements vfs.File. Some file systems report a failed write only here.
func (f *failstopFile) Close() error {
	err := f.File.Close()
	if err != nil {
		err = f.fs.fail(err)
	}
	if f.pretend {
		return nil
	}
	return err
}
