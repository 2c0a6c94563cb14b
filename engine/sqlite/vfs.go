package sqlite

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	sqlite3 "github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

// fileSystem is the file system of one connection. It wraps another one and keeps its errors. The driver has only the
// error of the last operation, and after a failure SQLite goes on to clean up: without this, no message could name
// the cause, and a full disk would look like a broken one.
type fileSystem struct {
	vfs.VFSFilename
	// name is the name under which it is registered while the connection is open.
	name string
	// looks forbids changes: no file is created, written or locked. SQLite then keeps the index of a log in memory.
	// Nobody may write to the database meanwhile.
	looks bool
	// cause is the last error since the last successful call.
	cause error
}

// newFileSystem registers a file system on top of another one.
func newFileSystem(below string, looks bool) (*fileSystem, error) {
	base, ok := vfs.Find(below).(vfs.VFSFilename)
	if !ok {
		return nil, fmt.Errorf("SQLite has no file system %q", below)
	}
	s := &fileSystem{VFSFilename: base, looks: looks}
	s.name = fmt.Sprintf("oolith-%p", s)
	vfs.Register(s.name, s)
	return s, nil
}

// close unregisters the file system.
func (s *fileSystem) close() { vfs.Unregister(s.name) }

// keep records an error.
func (s *fileSystem) keep(err error) error {
	if err != nil {
		s.cause = err
	}
	return err
}

// explain adds the recorded error to the error of SQLite that it caused.
func (s *fileSystem) explain(err error) error {
	cause := s.cause
	s.cause = nil
	ofFiles := isCode(err, sqlite3.IOERR) || isCode(err, sqlite3.FULL) || isCode(err, sqlite3.CANTOPEN)
	if err == nil || cause == nil || !ofFiles || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w, %w", err, cause)
}

// OpenFilename implements vfs.VFSFilename.
func (s *fileSystem) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	if s.looks {
		flags = flags&^(vfs.OPEN_READWRITE|vfs.OPEN_CREATE) | vfs.OPEN_READONLY
	}
	file, flags, err := s.VFSFilename.OpenFilename(name, flags)
	if s.looks && flags&vfs.OPEN_WAL != 0 && err != nil {
		if _, gone := os.Stat(name.String()); errors.Is(gone, fs.ErrNotExist) {
			file, err = noLog{}, nil
		}
	}
	if err != nil {
		return nil, flags, s.keep(err)
	}
	if s.looks {
		file = lookedAt{file}
	}
	return &openFile{File: file, fs: s, name: name.String()}, flags, nil
}

// lookedAt is a file that cannot be changed.
type lookedAt struct{ vfs.File }

func (lookedAt) WriteAt([]byte, int64) (int, error) { return 0, sqlite3.READONLY }
func (lookedAt) Truncate(int64) error               { return sqlite3.READONLY }
func (lookedAt) Lock(vfs.LockLevel) error           { return nil }
func (lookedAt) Unlock(vfs.LockLevel) error         { return nil }
func (lookedAt) CheckReservedLock() (bool, error)   { return false, nil }

// noLog is an absent log.
type noLog struct{ vfs.File }

func (noLog) Close() error                                    { return nil }
func (noLog) ReadAt([]byte, int64) (int, error)               { return 0, io.EOF }
func (noLog) Size() (int64, error)                            { return 0, nil }
func (noLog) Sync(vfs.SyncFlag) error                         { return nil }
func (noLog) SectorSize() int                                 { return 0 }
func (noLog) DeviceCharacteristics() vfs.DeviceCharacteristic { return 0 }

// openFile is an open file. SQLite does without the methods that it does not forward.
type openFile struct {
	vfs.File
	fs   *fileSystem
	name string
}

// ReadAt implements vfs.File.
func (f *openFile) ReadAt(p []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(p, at)
	if err != nil && err != io.EOF {
		f.keep("read", err)
	}
	return n, err
}

// WriteAt implements vfs.File. SQLite has its own code for a disk without space.
func (f *openFile) WriteAt(p []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(p, at)
	if err == nil {
		return n, nil
	}
	f.keep("write", err)
	if slices.ContainsFunc(noRoom, func(cause error) bool { return errors.Is(err, cause) }) {
		err = vfs.SystemError(err, sqlite3.FULL)
	}
	return n, err
}

// Truncate implements vfs.File.
func (f *openFile) Truncate(size int64) error { return f.keep("truncate", f.File.Truncate(size)) }

// Sync implements vfs.File.
func (f *openFile) Sync(flags vfs.SyncFlag) error { return f.keep("sync", f.File.Sync(flags)) }

// SharedMemory implements vfs.FileSharedMemory.
func (f *openFile) SharedMemory() vfs.SharedMemory {
	if file, ok := f.File.(vfs.FileSharedMemory); ok {
		return file.SharedMemory()
	}
	return nil
}

// SizeHint implements vfs.FileSizeHint.
func (f *openFile) SizeHint(size int64) error {
	if file, ok := f.File.(vfs.FileSizeHint); ok {
		return f.keep("allocate", file.SizeHint(size))
	}
	return nil
}

// keep records an error with the operation and the file, and returns it unchanged.
func (f *openFile) keep(op string, err error) error {
	if err == nil {
		return nil
	}
	var named *fs.PathError
	if errors.As(err, &named) {
		f.fs.keep(err)
	} else {
		f.fs.keep(&fs.PathError{Op: op, Path: f.name, Err: err})
	}
	return err
}
