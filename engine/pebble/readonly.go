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

// readFS is a file system that is read, and nothing else. Pebble changes nothing when it is told to read only;
// should it try to, the open fails.
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

// lockFS gives the lock of a directory to one writer, or to any number of readers. A writer removes tables that a
// reader reads, and a reader cannot follow what it writes.
//
// A reader does not make the lock's file. A copy of a store without it, which is an empty file that some tools leave
// behind, is not kept from a writer in another process.
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

// locks are those of this process. There must be such a list, in the whole process: a lock by fcntl, which is
// what Pebble takes, is no hindrance for the process that has it, which loses it when it closes the lock's file
// anywhere.
var locks lockTable

type lockTable struct {
	// lock guards held. It is held while the file of a lock is opened.
	lock sync.Mutex
	held map[string]*heldLock
}

type heldLock struct {
	file    io.Closer // nil when there is no file
	readers int       // 0 for a writer
}

// errHeld is a lock that this process has.
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

// Close lets the lock go.
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
