package etcdserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
)

// Processes are the members of a cluster, each in its own process: the program itself, started again. A member can
// therefore be killed like a machine that loses its power.
type Processes struct {
	members []Member
	places  []Place
	running []*Process // nil: not started, or stopped
}

// Place describes where a member runs.
type Place struct {
	// Dir is its data directory.
	Dir string
	// Host is the address that it listens on; the loopback interface if empty.
	Host string
	// Enter calls start in the environment in which the process is started, for example in another namespace; nil for
	// the current one.
	Enter func(start func() error) error
}

// memberVariable tells a process that it is a member. Its value is a task in JSON.
const memberVariable = "OOLITH_ETCD_MEMBER"

// task describes what a process runs.
type task struct {
	Dir  string
	Self Member
	All  []Member
}

// RunMember runs a member in a process that Spawn started, until SIGTERM, and never returns there. In any other
// process it returns at once. A program that uses Spawn calls it first.
func RunMember() {
	variable := os.Getenv(memberVariable)
	if variable == "" {
		return
	}
	EndWithParent()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var t task
	err := json.Unmarshal([]byte(variable), &t)
	if err == nil {
		err = t.run(ctx)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", memberVariable, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func (t task) run(ctx context.Context) error {
	server, err := Start(ctx, t.Dir, t.Self, t.All)
	if err != nil {
		return err
	}
	defer server.Close()
	select {
	case err := <-server.Err():
		return err
	case <-ctx.Done():
		return nil
	}
}

// Spawn starts n members with their data below a directory. They need some time, and each other, until they serve.
func Spawn(dir string, n int) (*Processes, error) {
	places := make([]Place, n)
	for i := range places {
		places[i].Dir = filepath.Join(dir, fmt.Sprintf("m%d", i))
	}
	return SpawnAt(places)
}

// SpawnAt starts a member at each of the places. They need some time, and each other, until they serve.
func SpawnAt(places []Place) (*Processes, error) {
	ports, err := FreePorts(2 * len(places))
	if err != nil {
		return nil, err
	}
	p := &Processes{places: places, running: make([]*Process, len(places))}
	for i, at := range places {
		p.members = append(p.members, Member{Name: fmt.Sprintf("m%d", i), Host: at.Host, ClientPort: ports[2*i], PeerPort: ports[2*i+1]})
	}
	for i := range places {
		if err := p.Start(i); err != nil {
			p.Close()
			return nil, err
		}
	}
	return p, nil
}

// FreePorts returns ports of the loopback interface on which nobody listens at present.
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
	variable, err := json.Marshal(task{Dir: p.places[i].Dir, Self: p.members[i], All: p.members})
	if err != nil {
		return err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), memberVariable+"="+string(variable))
	p.running[i], err = StartProcess(cmd, p.places[i].Enter)
	return err
}

// Stop ends a member in the orderly way of an operator, and returns once it has ended.
func (p *Processes) Stop(i int) error {
	running := p.running[i]
	if running == nil {
		return nil
	}
	if err := running.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	<-running.ended
	p.running[i] = nil
	return running.err
}

// Kill kills a member at once.
func (p *Processes) Kill(i int) {
	if running := p.running[i]; running != nil {
		running.Kill()
		p.running[i] = nil
	}
}

// Process returns the process of a member; nil if it was not started.
func (p *Processes) Process(i int) *os.Process {
	if running := p.running[i]; running != nil {
		return running.cmd.Process
	}
	return nil
}

// Ended returns a channel that is closed once a started member has ended by itself.
func (p *Processes) Ended(i int) <-chan struct{} { return p.running[i].ended }

// Lost returns an error that says why a member has ended that was not stopped or killed; nil if there is none.
func (p *Processes) Lost() error {
	for i, running := range p.running {
		if running == nil {
			continue
		}
		if err := running.Lost(); err != nil {
			return fmt.Errorf("member %d %w", i, err)
		}
	}
	return nil
}

// Endpoints returns the addresses of the members for clients.
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
