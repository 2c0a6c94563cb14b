package etcdserver

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Processes are the members of a cluster, each a process of its own: the program itself, started again. So a member can be
// killed as a machine that loses its power is.
type Processes struct {
	members []Member
	dir     string
	running []*exec.Cmd
}

// memberVariable tells a process that it is a member: its place, its directory, and the ports of all.
const memberVariable = "OOLITH_ETCD_MEMBER"

// RunMember runs a member in a process that Spawn started, and never returns there. In any other it returns at once. A
// program that uses Spawn calls it first of all.
func RunMember() {
	arguments := os.Getenv(memberVariable)
	if arguments == "" {
		return
	}
	self, dir, all, err := parseMember(arguments)
	if err == nil {
		_, err = Start(context.Background(), dir, self, all)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	select {}
}

func parseMember(arguments string) (self Member, dir string, all []Member, err error) {
	fields := strings.Split(arguments, ",")
	numbers := make([]int, 0, len(fields))
	for _, field := range fields[1:] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return self, "", nil, fmt.Errorf("%s=%s: %w", memberVariable, arguments, err)
		}
		numbers = append(numbers, n)
	}
	for i := 1; i+1 < len(numbers); i += 2 {
		all = append(all, Member{Name: fmt.Sprintf("m%d", len(all)), ClientPort: numbers[i], PeerPort: numbers[i+1]})
	}
	return all[numbers[0]], fields[0], all, nil
}

// Spawn starts n members with their data below a directory. They need a moment, and each other, until they serve.
func Spawn(dir string, n int) (*Processes, error) {
	ports, err := FreePorts(2 * n)
	if err != nil {
		return nil, err
	}
	p := &Processes{dir: dir, running: make([]*exec.Cmd, n)}
	for i := range n {
		p.members = append(p.members, Member{Name: fmt.Sprintf("m%d", i), ClientPort: ports[2*i], PeerPort: ports[2*i+1]})
	}
	for i := range n {
		if err := p.Start(i); err != nil {
			p.Close()
			return nil, err
		}
	}
	return p, nil
}

// FreePorts returns ports of the loopback interface that nobody listens on now.
func FreePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// Start starts a member that does not run.
func (p *Processes) Start(i int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	arguments := fmt.Sprint(filepath.Join(p.dir, p.members[i].Name), ",", i)
	for _, m := range p.members {
		arguments += fmt.Sprint(",", m.ClientPort, ",", m.PeerPort)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), memberVariable+"="+arguments)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	p.running[i] = cmd
	return nil
}

// Kill kills a member at once.
func (p *Processes) Kill(i int) {
	if cmd := p.running[i]; cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		p.running[i] = nil
	}
}

// Process is that of a member; nil while it does not run.
func (p *Processes) Process(i int) *os.Process {
	if cmd := p.running[i]; cmd != nil {
		return cmd.Process
	}
	return nil
}

// Endpoints are where clients find the members.
func (p *Processes) Endpoints() (all []string) {
	for _, m := range p.members {
		all = append(all, m.Client())
	}
	return all
}

// Close kills all members.
func (p *Processes) Close() {
	for i := range p.running {
		p.Kill(i)
	}
}
