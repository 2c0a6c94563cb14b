package main

import (
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fullFS is a file system with space for a number of bytes. The write that reaches the limit is made partially, as on
// a real disk.
type fullFS struct {
	vfs.FS
	left *int64 // bytes; atomic
	full *atomic.Bool
}

func (f *fullFS) wrap(file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &fullFile{file, f}, nil
}

// take returns for how many of n bytes there is space.
func (f *fullFS) take(n int) int {
	before := atomic.AddInt64(f.left, -int64(n)) + int64(n)
	if before >= int64(n) {
		return n
	}
	f.full.Store(true)
	return int(max(before, 0))
}

func (f *fullFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if f.take(1) == 0 {
		return nil, syscall.ENOSPC
	}
	return f.wrap(f.FS.Create(name, category))
}

func (f *fullFS) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.wrap(f.FS.ReuseForWrite(from, to, category))
}

func (f *fullFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.wrap(f.FS.OpenReadWrite(name, category, opts...))
}

type fullFile struct {
	vfs.File
	fs *fullFS
}

func (f *fullFile) Write(p []byte) (int, error) {
	room := f.fs.take(len(p))
	n, err := f.File.Write(p[:room])
	if err == nil && n < len(p) {
		err = syscall.ENOSPC
	}
	return n, err
}

func (f *fullFile) WriteAt(p []byte, offset int64) (int, error) {
	room := f.fs.take(len(p))
	n, err := f.File.WriteAt(p[:room], offset)
	if err == nil && n < len(p) {
		err = syscall.ENOSPC
	}
	return n, err
}
