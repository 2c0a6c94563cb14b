package machine

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// sector is the unit that a disk writes atomically.
const sector = 512

// platter is the storage of a disk: one file in a file system of this process (FUSE), which receives every write and
// every flush of the kernel. Flushed data is in a file on a real disk; the rest is in memory.
type platter struct {
	fs.Inode
	server *fuse.Server
	dir    string // where the file system is

	mu    sync.Mutex // guards the fields below
	kept  *os.File   // the flushed data
	cache map[int64][]byte
	off   bool
	wrote chan struct{} // closed at the next write; nil if nobody waits for it
}

var (
	_ fs.NodeOpener    = (*platter)(nil)
	_ fs.NodeReader    = (*platter)(nil)
	_ fs.NodeWriter    = (*platter)(nil)
	_ fs.NodeFsyncer   = (*platter)(nil)
	_ fs.NodeGetattrer = (*platter)(nil)
	_ fs.NodeSetattrer = (*platter)(nil)
)

type root struct {
	fs.Inode
	disk *platter
}

func (r *root) OnAdd(ctx context.Context) {
	r.AddChild("disk", r.NewPersistentInode(ctx, r.disk, fs.StableAttr{Mode: fuse.S_IFREG}), false)
}

func newPlatter(dir string) (p *platter, err error) {
	p = &platter{dir: filepath.Join(dir, "platter"), cache: make(map[int64][]byte)}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return nil, err
	}
	if p.kept, err = os.Create(filepath.Join(dir, "kept")); err != nil {
		return nil, err
	}
	if err = p.kept.Truncate(diskSize); err == nil {
		p.server, err = fs.Mount(p.dir, &root{disk: p}, &fs.Options{MountOptions: fuse.MountOptions{
			FsName: "oolith", Name: "oolith", DirectMount: true, MaxWrite: 1 << 18,
		}})
	}
	if err != nil {
		_ = p.kept.Close() // it is empty
		return nil, err
	}
	return p, nil
}

func (p *platter) file() string { return filepath.Join(p.dir, "disk") }

func (p *platter) close() error {
	err := p.server.Unmount()
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.kept.Close() // nobody reads it again
	return err
}

// awaitWrite returns once something is written and not flushed, or after a timeout.
func (p *platter) awaitWrite(atMost time.Duration) {
	p.mu.Lock()
	if len(p.cache) > 0 {
		p.mu.Unlock()
		return
	}
	if p.wrote == nil {
		p.wrote = make(chan struct{})
	}
	wrote := p.wrote
	p.mu.Unlock()
	select {
	case <-wrote:
	case <-time.After(atMost):
	}
}

// cut keeps a share of the data that was not flushed, and returns how many sectors are lost.
func (p *platter) cut(share float64) (lost int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.off = true
	for at, data := range p.cache {
		if rand.Float64() >= share {
			lost++
		} else if _, err := p.kept.WriteAt(data, at*sector); err != nil {
			panic(err) // the real disk failed: any further result is meaningless
		}
	}
	clear(p.cache)
	return lost
}

func (p *platter) restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.off = false
}

// Open makes the kernel cache nothing: data lost here must be lost there.
func (p *platter) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

func (p *platter) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = 0o600, diskSize
	return 0
}

func (p *platter) Setattr(ctx context.Context, f fs.FileHandle, _ *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return p.Getattr(ctx, f, out)
}

func (p *platter) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.off {
		return nil, syscall.EIO
	}
	n, err := p.kept.ReadAt(dest[:min(int64(len(dest)), max(0, diskSize-off))], off)
	if err != nil {
		return nil, syscall.EIO
	}
	for at := off / sector; at*sector < off+int64(n) && len(p.cache) > 0; at++ {
		if data := p.cache[at]; data != nil {
			from := at*sector - off
			copy(dest[max(from, 0):n], data[max(-from, 0):])
		}
	}
	return fuse.ReadResultData(dest[:n]), 0
}

func (p *platter) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.off {
		return 0, syscall.EIO
	}
	if off%sector != 0 || len(data)%sector != 0 || off+int64(len(data)) > diskSize {
		return 0, syscall.EINVAL
	}
	if p.wrote != nil {
		close(p.wrote)
		p.wrote = nil
	}
	own := append([]byte(nil), data...)
	for at := int64(0); at < int64(len(own)); at += sector {
		p.cache[(off+at)/sector] = own[at : at+sector]
	}
	return uint32(len(data)), 0
}

// Fsync flushes the disk's cache.
func (p *platter) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.off {
		return syscall.EIO
	}
	for at, data := range p.cache {
		if _, err := p.kept.WriteAt(data, at*sector); err != nil {
			return syscall.EIO
		}
	}
	clear(p.cache)
	return 0
}
