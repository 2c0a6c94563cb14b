// Command proof tries to break stores over an etcd cluster within a time budget, and reports what it tried: three
// members, each in its own process, three stores, and every kind of fault between them.
//
//	go run ./proof -budget 5m
//	go run ./proof -budget 5m -machines      each member on a machine of its own: cuts of power and networks, full disks
//	go run ./proof -budget 5m -only kills    only the faults whose name has that in it
//	go run ./proof -watch 10000000           so many changes delivered to subscribers who move from node to node, and checked
//	go run ./proof -list                     the faults
//
// -machines needs Linux and the superuser. The command exits with code 1 at the first round that finds a violation.
// The figures are in docs/reliability.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/oolith-db/oolith/cluster/etcdserver"
	"github.com/oolith-db/oolith/cluster/internal/flaky"
	"github.com/oolith-db/oolith/cluster/internal/machine"
)

const nodes = 3

func main() {
	etcdserver.RunMember()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "proof:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("proof", flag.ContinueOnError)
	budget := flags.Duration("budget", time.Minute, "time for all rounds together; one that has begun is ended")
	n := flags.Int("faults", 12, "how much goes wrong in a round")
	dir := flags.String("dir", "", "where to put the members' data; the system's temporary directory when empty")
	machines := flags.Bool("machines", false, "each member on a machine of its own, a network namespace and a disk; needs Linux and the superuser")
	only := flags.String("only", "", "only the faults whose names contain this")
	watched := flags.Int("watch", 0, "instead of rounds: deliver so many changes to subscribers, and check them")
	list := flags.Bool("list", false, "name the faults, and end")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *list {
		for _, f := range allFaults {
			fmt.Fprintln(out, f)
		}
		return nil
	}
	if *machines {
		if err := machine.Available(); err != nil {
			fmt.Fprintf(out, "skipped: %v\n", err)
			return nil
		}
	}
	faults := slices.DeleteFunc(slices.Clone(allFaults), func(f fault) bool {
		return f.machines && !*machines || !strings.Contains(f.name, *only)
	})
	if len(faults) == 0 {
		return fmt.Errorf("no fault has %q in its name: -list names them, and some need -machines", *only)
	}
	scratch, err := os.MkdirTemp(*dir, "oolith-cluster-proof-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	b := &bed{tally: new(tally)}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.open(scratch, *machines); err != nil {
		return err
	}
	began, t := time.Now(), b.tally
	if *watched > 0 {
		err = b.watch(ctx, faults, *watched)
	} else {
		for i := 0; err == nil && ctx.Err() == nil && (i == 0 || time.Since(began) < *budget); i++ {
			r := &round{bed: b, prefix: fmt.Sprintf("round/%d/", i), ledger: newLedger()}
			if err = r.run(ctx, faults, *n); err != nil {
				err = fmt.Errorf("round %d: %w", i, err)
				break
			}
			t.add("rounds", 1)
		}
	}
	if err != nil {
		return fmt.Errorf("%w\nuntil then, in %s: %s", err, time.Since(began).Round(time.Second), t)
	}
	fmt.Fprintf(out, "ok, %s: %s\n", time.Since(began).Round(time.Second), t)
	return ctx.Err()
}

// bed is the part that all rounds share.
type bed struct {
	tally    *tally
	machines *machine.Group // nil without separate machines
	members  *etcdserver.Processes
	doors    []*flaky.Proxy // connections to the members that no fault affects
	client   *clientv3.Client
}

func (b *bed) open(dir string, machines bool) (err error) {
	places := make([]etcdserver.Place, nodes)
	if machines {
		if b.machines, err = machine.New(dir, nodes); err != nil {
			return err
		}
	}
	for i := range places {
		places[i].Dir = filepath.Join(dir, fmt.Sprintf("m%d", i))
		if machines {
			m := b.machines.At(i)
			places[i] = etcdserver.Place{Dir: filepath.Join(m.Disk.Dir, "data"), Host: m.Addr(), Enter: m.Do}
		}
	}
	if b.members, err = etcdserver.SpawnAt(places); err != nil {
		return err
	}
	var endpoints []string
	for i, member := range b.members.Endpoints() {
		p, err := flaky.StartFrom(b.dial(i, member))
		if err != nil {
			return err
		}
		b.doors = append(b.doors, p)
		endpoints = append(endpoints, p.Addr())
	}
	b.client, err = clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
	return err
}

// dial connects to a member like a node does, from its machine.
func (b *bed) dial(node int, member string) func() (net.Conn, error) {
	if b.machines == nil {
		return func() (net.Conn, error) { return net.Dial("tcp", member) }
	}
	return func() (conn net.Conn, err error) {
		err = b.machines.At(node).Do(func() (err error) {
			conn, err = net.DialTimeout("tcp", member, 5*time.Second)
			return err
		})
		return conn, err
	}
}

func (b *bed) close() error {
	if b.client != nil {
		_ = b.client.Close() // the members are about to be killed
	}
	for _, p := range b.doors {
		p.Close()
	}
	if b.members != nil {
		b.members.Close()
	}
	if b.machines != nil {
		return b.machines.Close()
	}
	return nil
}

// tally counts what was tried. It may be used concurrently.
type tally struct {
	mu     sync.Mutex // guards the fields below
	names  []string
	counts map[string]int
}

func (t *tally) add(name string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = make(map[string]int)
	}
	if !slices.Contains(t.names, name) {
		t.names = append(t.names, name)
	}
	t.counts[name] += n
}

func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.Sort(t.names)
	parts := make([]string, len(t.names))
	for i, name := range t.names {
		parts[i] = fmt.Sprintf("%d %s", t.counts[name], name)
	}
	return strings.Join(parts, ", ")
}
