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

// diskSize is the size of a disk; what is not written takes no room.
const diskSize = 2 << 30

// Disk is a disk with a journaling file system on it. The disk keeps what is written in a cache of its own until it is flushed, as
// disks do: see platter. The kernel's own loop device makes a block device of it.
type Disk struct {
	// Dir is where its file system is.
	Dir string

	platter *platter
	loop    string // the device; empty while there is none
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
		err = tool("mkfs.ext4", "-q", "-m", "0", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", "-N", "4096", d.loop)
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
		if err = tool("umount", d.Dir); err != nil {
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

// AwaitWrite returns once the disk holds something that is not flushed, or after a moment: where a cut hurts most.
func (d *Disk) AwaitWrite(atMost time.Duration) { d.platter.awaitWrite(atMost) }

// Cut takes the power away: of what was not flushed, a share survives, each sector by chance, and nothing can be read or written until
// Restore. What reads and writes, fails, and is to be killed.
func (d *Disk) Cut(share float64) (lost int) { return d.platter.cut(share) }

// Restore gives the power back, and mounts what the disk kept. No process may use it meanwhile.
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

// filler takes the room of a full disk.
func (d *Disk) filler() string { return filepath.Join(d.Dir, "oolith-filler") }

// Fill leaves no room on the disk but for some bytes.
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
	// The file system needs blocks of its own for that: what does not fit is tried smaller.
	for size := int64(now.Bavail)*now.Bsize - left; size > 0; size -= 1 << 20 {
		if err = unix.Fallocate(int(file.Fd()), 0, 0, size); !errors.Is(err, unix.ENOSPC) {
			return err
		}
	}
	return nil
}

// Free gives the room back.
func (d *Disk) Free() error { return os.Remove(d.filler()) }

func (d *Disk) close() error {
	err := d.detach()
	if err == nil {
		err = d.platter.close()
	}
	return err
}
