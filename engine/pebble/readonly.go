package pebble

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oolith-db/oolith/engine/internal/levelfiles"
	"github.com/oolith-db/oolith/storage"
)

// readFS is a file system that can only be read. Pebble changes nothing in read-only mode; if it tried to, the open
// would fail.
type readFS struct{ vfs.FS }

func (readFS) Create(string, vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, storage.ErrReadOnly
}
func (readFS) Link(string, string) error { return storage.ErrReadOnly }
func (readFS) OpenReadWrite(string, vfs.DiskWriteCategory, ...vfs.OpenOption) (vfs.File, error) {
	return nil, storage.ErrReadOnly
}
func (readFS) Remove(string) error         { return storage.ErrReadOnly }
func (readFS) RemoveAll(string) error      { return storage.ErrReadOnly }
func (readFS) Rename(string, string) error { return storage.ErrReadOnly }
func (readFS) ReuseForWrite(string, string, vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, storage.ErrReadOnly
}
func (readFS) MkdirAll(string, os.FileMode) error { return storage.ErrReadOnly }

// lockFS gives the lock of a directory to one writer, or to any number of readers. They exclude each other, because a
// writer removes tables that a reader reads, and a reader cannot follow the writer's changes.
//
// A reader does not create the lock file, an empty file that some tools leave out of copies. While a reader uses such
// a copy, a writer in another process is not excluded.
type lockFS struct {
	vfs.FS
	readOnly bool
}

// Lock implements vfs.FS.
func (f lockFS) Lock(name string) (io.Closer, error) {
	switch {
	case f.FS == vfs.Default:
		return locks.take(name, f.readOnly)
	case f.readOnly:
		return io.NopCloser(nil), nil
	}
	return f.FS.Lock(name)
}

// locks holds the locks of this process. The whole process needs one such list. Pebble uses fcntl locks: they do not
// exclude the process that holds them, and that process loses them when it closes the lock file through any
// descriptor.
var locks lockTable

type lockTable struct {
	// lock guards held. It is held while a lock file is opened.
	lock sync.Mutex
	held map[string]*heldLock
}

type heldLock struct {
	file    io.Closer // nil if there is no file
	readers int       // 0 for a writer
}

// errHeld reports a lock that this process already has.
var errHeld = errors.New("this process has it open")

func (t *lockTable) take(name string, readOnly bool) (io.Closer, error) {
	t.lock.Lock()
	defer t.lock.Unlock()
	held := t.held[name]
	switch {
	case held != nil && (!readOnly || held.readers == 0):
		return nil, errHeld
	case held == nil:
		file, err := openLock(name, readOnly)
		if err != nil {
			return nil, err
		}
		if t.held == nil {
			t.held = make(map[string]*heldLock)
		}
		held = &heldLock{file: file}
		t.held[name] = held
	}
	if readOnly {
		held.readers++
	}
	return &takenLock{t, name}, nil
}

func openLock(name string, readOnly bool) (io.Closer, error) {
	if !readOnly {
		return vfs.Default.Lock(name)
	}
	file, err := levelfiles.ShareFcntl(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return file, err
}

// takenLock is a lock that was taken. Pebble closes it once.
type takenLock struct {
	table *lockTable
	name  string
}

// Close releases the lock.
func (l *takenLock) Close() error {
	l.table.lock.Lock()
	defer l.table.lock.Unlock()
	held := l.table.held[l.name]
	if held.readers--; held.readers > 0 {
		return nil
	}
	delete(l.table.held, l.name)
	if held.file == nil {
		return nil
	}
	return held.file.Close()
}
