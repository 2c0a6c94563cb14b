// Command proof tries to break stores over an etcd cluster, for as long as it is given, and reports what it tried: three members,
// each a process of its own, three stores, and everything that goes wrong between them.
//
//	go run ./proof -budget 5m
//
// It ends with exit code 1 at the first round that finds something wrong. The figures are in docs/reliability.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/oolith-db/oolith/cluster/etcdserver"
	"github.com/oolith-db/oolith/cluster/internal/flaky"
	"github.com/oolith-db/oolith/engine/etcd"
	"github.com/oolith-db/oolith/storage"
)

const nodes = 3

func main() {
	etcdserver.RunMember()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "proof:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("proof", flag.ContinueOnError)
	budget := flags.Duration("budget", time.Minute, "time for all rounds together; one that has begun is ended")
	faults := flags.Int("faults", 12, "how much goes wrong in a round")
	dir := flags.String("dir", "", "where to put the members' data; the system's temporary directory when empty")
	if err := flags.Parse(args); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp(*dir, "oolith-cluster-proof-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	members, err := etcdserver.Spawn(scratch, 3)
	if err != nil {
		return err
	}
	defer members.Close()
	client, err := clientv3.New(clientv3.Config{Endpoints: members.Endpoints(), DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer client.Close()
	began, t := time.Now(), new(tally)
	for n := 0; ctx.Err() == nil && (n == 0 || time.Since(began) < *budget); n++ {
		r := &round{members: members, client: client, tally: t, prefix: fmt.Sprintf("round/%d/", n), ledger: newLedger()}
		if err := r.run(ctx, *faults); err != nil {
			return fmt.Errorf("round %d: %w\nuntil then: %s", n, err, t)
		}
		t.add("rounds", 1)
	}
	fmt.Fprintf(out, "ok, %s: %s\n", time.Since(began).Round(time.Second), t)
	return ctx.Err()
}

// round is one content, three stores, and what goes wrong with them.
type round struct {
	members *etcdserver.Processes
	client  *clientv3.Client
	tally   *tally
	prefix  string
	*ledger

	stores  [nodes]*storage.Layered
	proxies [nodes][]*flaky.Proxy // of a node, to each member

	mu    sync.Mutex // guards wrong
	wrong []error
}

// fail notes what is wrong.
func (r *round) fail(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong = append(r.wrong, fmt.Errorf(format, args...))
}

// failed returns what is wrong, the first of it.
func (r *round) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.wrong[:min(len(r.wrong), 10)]...)
}

func (r *round) run(ctx context.Context, faults int) error {
	defer r.close()
	for node := range nodes {
		if err := r.start(ctx, node); err != nil {
			return err
		}
	}
	over := make(chan struct{})
	followed, stopFollowing := context.WithCancel(ctx)
	defer stopFollowing()
	var writers, followers sync.WaitGroup
	for w := range 2 * nodes {
		writers.Go(func() { r.write(r.stores[w%nodes], w, over) })
	}
	var told [2]*follower
	for i := range told {
		told[i] = &follower{round: r, told: make(map[string]uint64)}
		followers.Go(func() { told[i].follow(followed, i) })
	}
	err := r.faults(ctx, faults)
	close(over)
	writers.Wait()
	if err == nil {
		err = r.failed()
	}
	if err == nil {
		err = r.check(ctx, told[:])
	}
	stopFollowing()
	followers.Wait()
	return errors.Join(err, r.failed())
}

// start starts a store whose ways to the members can be cut.
func (r *round) start(ctx context.Context, node int) error {
	var endpoints []string
	for _, member := range r.members.Endpoints() {
		p, err := flaky.Start(member)
		if err != nil {
			return err
		}
		r.proxies[node] = append(r.proxies[node], p)
		endpoints = append(endpoints, p.Addr())
	}
	s := storage.New(storage.LayeredConfig{
		Memory:   storage.NewMemoryLayer(),
		Embedded: etcd.New(endpoints, etcd.Options{Prefix: r.prefix, RequestTimeout: 3 * time.Second}),
	})
	options := storage.Options{Logger: slog.New(slog.DiscardHandler)}
	for err := s.Start(options); err != nil; err = s.Start(options) {
		if !errors.Is(err, storage.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
	}
	r.stores[node] = s
	return nil
}

func (r *round) close() {
	for node := range nodes {
		if s := r.stores[node]; s != nil {
			s.Close()
		}
		for _, p := range r.proxies[node] {
			p.Close()
		}
	}
}

// faults lets things go wrong one after the other, and waits behind each until writes are acknowledged again.
func (r *round) faults(ctx context.Context, n int) error {
	for range n {
		if err := r.progress(ctx); err != nil {
			return err
		}
		if err := r.fault(ctx); err != nil {
			return err
		}
	}
	return r.progress(ctx)
}

// progress returns once some more writes are acknowledged.
func (r *round) progress(ctx context.Context) error {
	want := r.acknowledged() + 20
	for r.acknowledged() < want {
		if err := r.failed(); err != nil {
			return err
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func upTo(d time.Duration) time.Duration { return rand.N(d) }

// fault lets one thing go wrong.
func (r *round) fault(ctx context.Context) error {
	member, node := rand.IntN(3), rand.IntN(nodes)
	switch rand.IntN(6) {
	case 0:
		r.tally.add("kills of one member", 1)
		return r.kill(ctx, member)
	case 1:
		r.tally.add("kills of all members", 1)
		return r.kill(ctx, 0, 1, 2)
	case 2:
		r.tally.add("members stopped (SIGSTOP)", 1)
		if err := r.members.Process(member).Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		err := pause(ctx, upTo(3*time.Second))
		return errors.Join(err, r.members.Process(member).Signal(syscall.SIGCONT))
	case 3:
		r.tally.add("nodes whose connections are cut", 1)
		for _, p := range r.proxies[node] {
			p.Cut()
		}
		return nil
	case 4:
		r.tally.add("nodes that lose all packets", 1)
		for _, p := range r.proxies[node] {
			p.SetOff(true)
		}
		err := pause(ctx, upTo(4*time.Second))
		for _, p := range r.proxies[node] {
			if rand.IntN(2) == 0 {
				p.Cut()
			}
			p.SetOff(false)
		}
		return err
	default:
		return r.compact(ctx, node)
	}
}

// kill kills members at once, and starts them again.
func (r *round) kill(ctx context.Context, which ...int) error {
	for _, member := range which {
		r.members.Kill(member)
	}
	err := pause(ctx, upTo(time.Second))
	for _, member := range which {
		err = errors.Join(err, r.members.Start(member))
	}
	return err
}

// compact takes the history away while a node is cut off, so that it must begin anew.
func (r *round) compact(ctx context.Context, node int) error {
	for _, p := range r.proxies[node] {
		p.SetOff(true)
	}
	defer func() {
		for _, p := range r.proxies[node] {
			p.Cut()
			p.SetOff(false)
		}
	}()
	if err := pause(ctx, upTo(300*time.Millisecond)); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	now, err := r.client.Get(limited, "x")
	if err == nil {
		_, err = r.client.Compact(limited, now.Header.Revision)
	}
	if err == nil {
		r.tally.add("compactions", 1)
	}
	return ctx.Err() // a cluster that has no leader yet is not compacted
}

// tally counts what was tried. It may be used from any goroutine.
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
