// Package machine makes small machines on this one, for processes whose power or network will be cut. Each machine
// has its own network namespace and a disk that loses, when the power is cut, everything that was not flushed. It
// needs Linux and the superuser.
package machine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Group is a group of machines on one network.
type Group struct {
	network  *network
	machines []*Machine
}

// Machine is one machine of a group.
type Machine struct {
	// Disk is its disk.
	Disk *Disk

	group *Group
	place int
}

// Available returns why no machines can be created here, or nil if they can. It tries to create one.
func Available() error {
	if runtime.GOOS != "linux" {
		return errors.New("machines of their own need Linux")
	}
	if os.Geteuid() != 0 {
		return errors.New("machines of their own need the superuser")
	}
	for _, tool := range []string{"ip", "tc", "losetup", "mkfs.ext4", "mount"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("machines of their own need the command %s", tool)
		}
	}
	dir, err := os.MkdirTemp("", "oolith-machine-")
	if err != nil {
		return err
	}
	g, err := New(dir, 1)
	if err == nil {
		err = errors.Join(g.At(0).SetSlow(true), g.Close())
	}
	if err != nil {
		return fmt.Errorf("machines of their own cannot be made here: %w", err)
	}
	return os.RemoveAll(dir)
}

// New creates n machines, with their disks below a directory.
func New(dir string, n int) (g *Group, err error) {
	g = new(Group)
	if g.network, err = newNetwork(n); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	for i := range n {
		disk, err := newDisk(filepath.Join(dir, fmt.Sprintf("oolith-disk-%d", i)))
		if err != nil {
			return nil, errors.Join(err, g.Close())
		}
		g.machines = append(g.machines, &Machine{Disk: disk, group: g, place: i})
	}
	return g, nil
}

// At returns a machine.
func (g *Group) At(i int) *Machine { return g.machines[i] }

// Close removes the machines and their network. No process may use a disk any more.
func (g *Group) Close() error {
	var err error
	for _, m := range g.machines {
		err = errors.Join(err, m.Disk.close())
	}
	if g.network != nil {
		err = errors.Join(err, g.network.close())
	}
	return err
}

// Addr returns the address of the machine in its network.
func (m *Machine) Addr() string { return address(m.place) }

// Do calls a function within the network of the machine: what it dials, listens on and starts as a process is there.
func (m *Machine) Do(f func() error) error { return m.group.network.do(m.place, f) }

// SetPlugged unplugs the cable of the machine, or plugs it in again.
func (m *Machine) SetPlugged(plugged bool) error { return m.group.network.setPlugged(m.place, plugged) }

// SetReaches drops all packets from the machine to another one, or stops dropping them.
func (m *Machine) SetReaches(other *Machine, reaches bool) error {
	return m.group.network.setReaches(m.place, other.place, reaches)
}

// SetSlow makes the cable of the machine slow, or normal again.
func (m *Machine) SetSlow(slow bool) error { return m.group.network.setSlow(m.place, slow) }

// tool runs a command of the system.
func tool(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %q: %w: %s", name, args, err, out)
	}
	return nil
}
