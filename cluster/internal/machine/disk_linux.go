package machine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// diskSize is the size of a disk; unwritten parts take no space.
const diskSize = 2 << 30

// Disk is a disk with a journaling file system. Like a real disk, it keeps written data in its own cache until it is
// flushed: see platter. The kernel's loop device makes a block device of it.
type Disk struct {
	// Dir is the mount point of its file system.
	Dir string

	platter *platter
	loop    string // the device; empty if there is none
	mounted bool
}

func newDisk(dir string) (d *Disk, err error) {
	d = &Disk{Dir: filepath.Join(dir, "files")}
	if err := os.MkdirAll(d.Dir, 0o755); err != nil {
		return nil, err
	}
	if d.platter, err = newPlatter(dir); err != nil {
		return nil, err
	}
	err = d.attach()
	if err == nil {
		err = tool("mkfs.ext4", "-q", "-m", "0", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", "-J", "size=8", "-N", "4096", d.loop)
	}
	if err == nil {
		err = d.mount()
	}
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *Disk) attach() error {
	out, err := exec.Command("losetup", "--find", "--show", d.platter.file()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("losetup %s: %w: %s", d.platter.file(), err, out)
	}
	d.loop = strings.TrimSpace(string(out))
	return nil
}

func (d *Disk) mount() error {
	err := tool("mount", "-t", "ext4", "-o", "noatime", d.loop, d.Dir)
	d.mounted = err == nil
	return err
}

func (d *Disk) detach() (err error) {
	if d.mounted {
		if err = unmount(d.Dir); err != nil {
			return err
		}
		d.mounted = false
	}
	if d.loop != "" {
		if err = tool("losetup", "--detach", d.loop); err != nil {
			return err
		}
		d.loop = ""
	}
	return nil
}

// busyFor is how long a file system may be busy once its processes have ended: df, or a monitor, looks at every mount.
const busyFor = 10 * time.Second

func unmount(dir string) error {
	began := time.Now()
	err := unix.Unmount(dir, 0)
	for errors.Is(err, unix.EBUSY) && time.Since(began) < busyFor {
		time.Sleep(time.Millisecond)
		err = unix.Unmount(dir, 0)
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}

// AwaitWrite returns once the disk holds something that is not flushed, or after a timeout: a cut does the most harm
// then.
func (d *Disk) AwaitWrite(atMost time.Duration) { d.platter.awaitWrite(atMost) }

// Cut cuts the power. Of the data that was not flushed, a share survives, each sector at random, and nothing can be
// read or written until Restore. Processes that read or write fail, and must be killed.
func (d *Disk) Cut(share float64) (lost int) { return d.platter.cut(share) }

// Restore restores the power, and mounts what the disk kept. No process may use it meanwhile.
func (d *Disk) Restore() error {
	if err := d.detach(); err != nil {
		return err
	}
	d.platter.restore()
	if err := d.attach(); err != nil {
		return err
	}
	return d.mount()
}

// filler is the file that fills the disk.
func (d *Disk) filler() string { return filepath.Join(d.Dir, "oolith-filler") }

// Fill fills the disk, except for some bytes.
func (d *Disk) Fill(left int64) error {
	file, err := os.Create(d.filler())
	if err != nil {
		return err
	}
	defer file.Close()
	var now unix.Statfs_t
	if err := unix.Statfs(d.Dir, &now); err != nil {
		return err
	}
	// The file system needs some blocks itself: a size that does not fit is reduced.
	for size := int64(now.Bavail)*now.Bsize - left; size > 0; size -= 1 << 20 {
		if err = unix.Fallocate(int(file.Fd()), 0, 0, size); !errors.Is(err, unix.ENOSPC) {
			return err
		}
	}
	return nil
}

// Free frees the space again.
func (d *Disk) Free() error { return os.Remove(d.filler()) }

func (d *Disk) close() error {
	err := d.detach()
	if err == nil {
		err = d.platter.close()
	}
	return err
}
