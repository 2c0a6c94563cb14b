package machine

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// network is a bridge in its own namespace, with a cable to the namespace of each machine. No part of it is in the
// namespace of this process.
type network struct {
	name   string
	made   []string   // namespaces
	spaces []*os.File // of the machines
}

// nowhere is an unused hardware address: packets to it are lost.
const nowhere = "02:00:00:00:00:ff"

func address(place int) string  { return fmt.Sprintf("10.77.0.%d", place+1) }
func hardware(place int) string { return fmt.Sprintf("02:00:00:00:00:%02x", place+1) }

func (n *network) hub() string            { return n.name + "-hub" }
func (n *network) space(place int) string { return fmt.Sprintf("%s-%d", n.name, place) }
func port(place int) string               { return fmt.Sprintf("port%d", place) }

func newNetwork(machines int) (n *network, err error) {
	n = &network{name: fmt.Sprintf("oolith-%d", os.Getpid())}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	run := func(name string, args ...string) {
		if err == nil {
			err = tool(name, args...)
		}
	}
	namespace := func(name string) {
		if run("ip", "netns", "add", name); err == nil {
			n.made = append(n.made, name)
		}
	}
	namespace(n.hub())
	run("ip", "-n", n.hub(), "link", "add", "br0", "type", "bridge")
	run("ip", "-n", n.hub(), "link", "set", "br0", "up")
	for i := range machines {
		space := n.space(i)
		namespace(space)
		run("ip", "-n", n.hub(), "link", "add", port(i), "type", "veth", "peer", "name", "eth0", "address", hardware(i), "netns", space)
		run("ip", "-n", n.hub(), "link", "set", port(i), "master", "br0", "up")
		run("ip", "-n", space, "addr", "add", address(i)+"/24", "dev", "eth0")
		run("ip", "-n", space, "link", "set", "lo", "up")
		run("ip", "-n", space, "link", "set", "eth0", "up")
		for other := range machines {
			if other != i {
				run("ip", "-n", space, "neigh", "replace", address(other), "lladdr", hardware(other), "dev", "eth0", "nud", "permanent")
			}
		}
		if err != nil {
			return n, err
		}
		file, err := os.Open("/run/netns/" + space)
		if err != nil {
			return n, err
		}
		n.spaces = append(n.spaces, file)
	}
	return n, err
}

func (n *network) close() error {
	var err error
	for _, space := range n.spaces {
		err = errors.Join(err, space.Close())
	}
	for _, name := range n.made {
		err = errors.Join(err, tool("ip", "netns", "delete", name))
	}
	n.spaces, n.made = nil, nil
	return err
}

func (n *network) do(place int, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread, which is in the other namespace, ends with the goroutine
		err := unix.Setns(int(n.spaces[place].Fd()), unix.CLONE_NEWNET)
		if err != nil {
			err = fmt.Errorf("enter the namespace %s: %w", n.space(place), err)
		} else {
			err = f()
		}
		done <- err
	}()
	return <-done
}

func (n *network) setPlugged(place int, plugged bool) error {
	state := "down"
	if plugged {
		state = "up"
	}
	return tool("ip", "-n", n.hub(), "link", "set", port(place), state)
}

func (n *network) setReaches(from, to int, reaches bool) error {
	target := nowhere
	if reaches {
		target = hardware(to)
	}
	return tool("ip", "-n", n.space(from), "neigh", "replace", address(to), "lladdr", target, "dev", "eth0", "nud", "permanent")
}

// setSlow limits both directions of a cable; queued packets wait for seconds.
func (n *network) setSlow(place int, slow bool) error {
	var err error
	for _, end := range [][2]string{{n.hub(), port(place)}, {n.space(place), "eth0"}} {
		if slow {
			err = errors.Join(err, tool("tc", "-n", end[0], "qdisc", "replace", "dev", end[1], "root", "tbf", "rate", "300kbit", "burst", "5kb", "latency", "3s"))
		} else {
			err = errors.Join(err, tool("tc", "-n", end[0], "qdisc", "del", "dev", end[1], "root"))
		}
	}
	return err
}
