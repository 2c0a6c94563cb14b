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

// failstopFS is a layer between Pebble and the disk. If the disk fails, it stops the writes of this layer and nothing
// else.
//
// Pebble ends the process when it cannot write its log or its manifest. It calls Logger.Fatalf, panics while it holds
// locks, or, if it cannot rotate the log, unlocks a mutex twice, which makes the runtime exit without running
// recover. A Logger alone therefore cannot keep the process alive: Pebble must not see such an error. After a failed
// sync, no later sync can be trusted either: the kernel drops the dirty pages and reports the error once. Nothing may
// be written to the directory after that.
//
// The rule is therefore: the first write, sync or creation that fails is recorded, and from then on the directory on
// disk stays unchanged. failstopFS discards what Pebble still writes, and reports success. The layer calls failure()
// after each commit, before it acknowledges the commit. After the failure:
//
//   - Writes and syncs of open logs, manifests and directories are discarded and succeed. Those of a table fail:
//     Pebble then repeats the flush, into memory.
//   - New files are created in memory, where reads find them. Because writes are rejected, they hold at most the few
//     memtables that were waiting for a flush.
//   - A compaction, which can be as large as the store, waits in the creation of its output until release, and then
//     fails. It holds no lock of Pebble while it waits. If it failed at once, Pebble would retry it endlessly without
//     a pause.
//   - Removals succeed and remove nothing on disk.
//
// Reads always go directly to the disk.
type failstopFS struct {
	vfs.FS // the disk

	// lock guards cause and memory. It is acquired last, and never held during a call of the disk.
	lock   sync.RWMutex
	cause  error      // the first failure; nil if there was none
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

// errReleased is the error of a compaction that was waiting after a failure when the layer is closed.
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

// manifestMarker is the prefix of the file whose name selects the valid manifest.
const manifestMarker = "marker.manifest."

// createOnDisk creates a file. Pebble creates a manifest and its marker and then syncs the directory once. If the
// power fails on a file system that keeps the second entry without the first, the store cannot be opened.
// createOnDisk therefore syncs the manifest's entry first.
func (f *failstopFS) createOnDisk(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(f.PathBase(name), manifestMarker) {
		if err := syncDir(f.FS, f.PathDir(name)); err != nil {
			return nil, err
		}
	}
	return f.FS.Create(name, category)
}

// createInMemory creates a file after a failure.
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

// The categories of the files that Pebble creates.
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

// OpenReadWrite implements vfs.FS. Pebble does not use it for any function that the layer needs.
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

// Remove implements vfs.FS. If the disk rejects a removal, garbage remains without damage: this is not a failure.
// Pebble repeats the removal at the next start.
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

// mutate runs an operation whose success must not be faked.
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

// wrap monitors a file that was created on disk.
func (f *failstopFS) wrap(file vfs.File, name string) vfs.File {
	ext := filepath.Ext(name)
	table := ext == ".sst" || ext == ".blob"
	return &failstopFile{File: file, fs: f, pretend: !table}
}

// failstopFile is a file that is open for writing, or a directory.
type failstopFile struct {
	vfs.File
	fs *failstopFS
	// pretend makes writes succeed after a failure.
	pretend bool
}

// do writes or syncs, or only reports success.
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

// Preallocate implements vfs.File. An error of it is not a failure: preallocation only saves time.
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
