//go:build !linux

package machine

import (
	"errors"
	"time"
)

// Machines are not available on other systems: Available says so.

var errLinux = errors.New("machines of their own need Linux")

// Disk is a disk.
type Disk struct{ Dir string }

func newDisk(string) (*Disk, error)      { return nil, errLinux }
func (d *Disk) Cut(float64) (lost int)   { return 0 }
func (d *Disk) AwaitWrite(time.Duration) {}
func (d *Disk) Restore() error           { return errLinux }
func (d *Disk) Fill(int64) error         { return errLinux }
func (d *Disk) Free() error              { return errLinux }
func (d *Disk) close() error             { return errLinux }

type network struct{}

func newNetwork(int) (*network, error)             { return nil, errLinux }
func address(int) string                           { return "" }
func (n *network) close() error                    { return errLinux }
func (n *network) do(int, func() error) error      { return errLinux }
func (n *network) setPlugged(int, bool) error      { return errLinux }
func (n *network) setReaches(int, int, bool) error { return errLinux }
func (n *network) setSlow(int, bool) error         { return errLinux }
