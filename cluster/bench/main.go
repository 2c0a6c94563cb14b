// Command bench measures stores over an etcd cluster of three members on this machine against the bare client of
// etcd, in alternating rounds, and prints medians and their ratio with the goals.
//
//	go run ./bench                  some minutes
//	go run ./bench -only mirror     one section of it
//	go run ./bench -quick           does it run at all
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/oolith-db/oolith/cluster/etcdserver"
	"github.com/oolith-db/oolith/engine/etcd"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

func main() {
	etcdserver.RunMember()
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// sizes of a run.
type sizes struct {
	rounds, writes, delivered, objects, missed int

	counts []int // of nodes
}

// bench is a cluster, three nodes, and a bare client.
type bench struct {
	sizes
	out     io.Writer
	members *etcdserver.Processes
	nodes   []*storage.Layered
	bare    *clientv3.Client
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	quick := flags.Bool("quick", false, "small and short: the figures mean little")
	objects := flags.Int("objects", 1_000_000, "how many objects a node mirrors as it starts")
	only := flags.String("only", "", "only the section of this name: "+strings.Join(sectionNames(), ", "))
	dir := flags.String("dir", "", "where to put the members' data; the system's temporary directory when empty")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *only != "" && !slices.Contains(sectionNames(), *only) {
		return fmt.Errorf("-only %s: expected one of %s", *only, strings.Join(sectionNames(), ", "))
	}
	b := &bench{sizes: sizes{rounds: 7, writes: 2000, delivered: 3000, objects: *objects, missed: 100_000, counts: []int{3, 30, 100}}, out: out}
	if *quick {
		b.sizes = sizes{rounds: 1, writes: 64, delivered: 50, objects: 500, missed: 200, counts: []int{3, 5}}
	}
	data, err := os.MkdirTemp(*dir, "oolith-cluster-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	if b.members, err = etcdserver.Spawn(data, 3); err != nil {
		return err
	}
	defer b.members.Close()
	defer b.close()
	if err := b.start(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%-58s %12s %12s %8s  %s\n", "WHAT", "OURS", "BARE", "RATIO", "GOAL")
	for _, section := range sections {
		if *only != "" && *only != section.name {
			continue
		}
		if err := section.measure(b); err != nil {
			return fmt.Errorf("%s: %w", section.name, err)
		}
	}
	return nil
}

// sections are the measurements.
var sections = []struct {
	name    string
	measure func(*bench) error
}{
	{"leader", (*bench).leaderKilled}, {"writers", (*bench).manyWriters}, {"writer", (*bench).oneWriter}, {"reads", (*bench).reads},
	{"delivery", (*bench).delivery}, {"missed", (*bench).catchUp}, {"mirror", (*bench).mirror}, {"nodes", (*bench).manyNodes},
}

func sectionNames() (names []string) {
	for _, section := range sections {
		names = append(names, section.name)
	}
	return names
}

func (b *bench) start() (err error) {
	b.bare, err = clientv3.New(clientv3.Config{Endpoints: b.members.Endpoints(), DialTimeout: 30 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	for range 3 {
		s, err := b.node()
		if err != nil {
			return err
		}
		b.nodes = append(b.nodes, s)
	}
	return nil
}

// node starts an additional node. It tries until the cluster serves.
func (b *bench) node() (*storage.Layered, error) { return b.nodeAt(b.members.Endpoints()) }

func (b *bench) nodeAt(endpoints []string) (*storage.Layered, error) {
	s := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: etcd.New(endpoints, etcd.Options{})})
	return s, b.served(func() error { return s.Start(storage.Options{Logger: slog.New(slog.DiscardHandler)}) })
}

// served calls until the cluster serves, or a member has ended by itself.
func (b *bench) served(call func() error) error {
	for {
		err := call()
		if !errors.Is(err, storage.ErrUnavailable) {
			return err
		}
		if err := b.members.Lost(); err != nil {
			return err
		}
	}
}

func (b *bench) close() {
	for _, s := range b.nodes {
		s.Close()
	}
	if b.bare != nil {
		_ = b.bare.Close() // the members are about to be killed
	}
}

func (b *bench) row(what, unit string, ours, bare []float64, goal string) {
	ratio := ""
	if len(bare) > 0 {
		ratios := make([]float64, len(ours))
		for i := range ours {
			ratios[i] = ours[i] / bare[i]
		}
		ratio = fmt.Sprintf("%.2f", median(ratios))
	}
	fmt.Fprintf(b.out, "%-58s %12s %12s %8s  %s\n", what, figure(median(ours), unit), figure(median(bare), unit), ratio, goal)
}

func figure(value float64, unit string) string {
	if value == 0 {
		return ""
	}
	return fmt.Sprintf("%.5g %s", value, unit)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func quantile(values []float64, share float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

var body = json.RawMessage(`{"name":"lamp","on":true,"level":70,"text":"` + strings.Repeat("x", 100) + `"}`)

// spread makes n calls from a number of writers and returns the rate per second.
func spread(writers, n int, do func(writer, i int) error) (float64, error) {
	var work sync.WaitGroup
	failed := make(chan error, writers)
	began := time.Now()
	for w := range writers {
		work.Go(func() {
			for i := range n / writers {
				if err := do(w, i); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	work.Wait()
	select {
	case err := <-failed:
		return 0, err
	default:
		return float64(n/writers*writers) / time.Since(began).Seconds(), nil
	}
}

func (b *bench) manyWriters() error {
	var ours, conditional, bare []float64
	for range b.rounds {
		rate, err := spread(64, b.writes, func(w, i int) error {
			_, err := b.nodes[0].Set(fmt.Sprintf("w/%d-%d", w, i%50), body)
			return err
		})
		if err != nil {
			return err
		}
		ours = append(ours, rate)
		rate, err = spread(64, b.writes, func(w, i int) error {
			_, err := b.bare.Put(context.Background(), fmt.Sprintf("bare/%d-%d", w, i%50), string(body))
			return err
		})
		if err != nil {
			return err
		}
		bare = append(bare, rate)
		rate, err = spread(64, b.writes, func(w, i int) error {
			path := fmt.Sprintf("w/%d-%d", w, i%50)
			now, err := b.nodes[0].Get(path)
			if err == nil {
				_, err = b.nodes[0].SetWith(path, body, storage.SetOptions{IfRevision: now.Revision})
			}
			return err
		})
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		conditional = append(conditional, rate)
	}
	b.row("Set, 64 writers / single puts of the bare client", "/s", ours, bare, ">= 1.5")
	b.row("SetWith IfRevision, 64 writers / single puts", "/s", conditional, bare, ">= 1.0")
	return nil
}

func (b *bench) oneWriter() error {
	var ours, bare []float64
	for range b.rounds {
		var own, theirs []float64
		for i := range max(b.writes/10, 10) {
			began := time.Now()
			if _, err := b.nodes[0].Set(fmt.Sprintf("one/%d", i%10), body); err != nil {
				return err
			}
			own = append(own, float64(time.Since(began).Microseconds()))
			began = time.Now()
			if _, err := b.bare.Put(context.Background(), fmt.Sprintf("bare/%d", i%10), string(body)); err != nil {
				return err
			}
			theirs = append(theirs, float64(time.Since(began).Microseconds()))
		}
		ours, bare = append(ours, median(own)), append(bare, median(theirs))
	}
	b.row("Set, one writer, p50 / a put of the bare client", "us", ours, bare, "<= 1.3")
	return nil
}

func (b *bench) reads() error {
	single := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
	if err := single.Start(storage.Options{}); err != nil {
		return err
	}
	defer single.Close()
	for i := range 50 {
		for _, s := range []*storage.Layered{single, b.nodes[0]} {
			if _, err := s.Set(fmt.Sprintf("r/%d", i), body); err != nil {
				return err
			}
		}
	}
	get := func(s *storage.Layered) (float64, error) {
		return spread(1, 200_000, func(_, i int) error { _, err := s.Get("r/7"); return err })
	}
	list := func(s *storage.Layered) (float64, error) {
		return spread(1, 5_000, func(_, i int) error { _, err := s.GetN("r/*", 20); return err })
	}
	for _, read := range []struct {
		what string
		do   func(*storage.Layered) (float64, error)
	}{{"Get / of a store in memory alone", get}, {"GetN(20) / of a store in memory alone", list}} {
		var ours, bare []float64
		for range b.rounds {
			for _, side := range []struct {
				s     *storage.Layered
				rates *[]float64
			}{{b.nodes[0], &ours}, {single, &bare}} {
				rate, err := read.do(side.s)
				if err != nil {
					return err
				}
				*side.rates = append(*side.rates, rate)
			}
		}
		b.row(read.what, "/s", ours, bare, ">= 0.95")
	}
	return nil
}

// delivery measures the time from the return of a write until all three mirrors have it, at 1,000 writes a second.
func (b *bench) delivery() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var mu sync.Mutex
	arrived := make(map[string]time.Time) // the last of the three
	count := make(map[string]int)
	complete := make(chan struct{}, b.delivered)
	for _, s := range b.nodes {
		sub, err := s.Subscribe(ctx, "d/*", storage.SubscribeOptions{ChangesOnly: true})
		if err != nil {
			return err
		}
		defer sub.Close()
		go func() {
			for n, err := range sub.All(ctx) {
				if err != nil {
					return
				}
				if n.Kind != storage.NoticeSet {
					continue
				}
				mu.Lock()
				arrived[n.Path] = time.Now()
				if count[n.Path]++; count[n.Path] == len(b.nodes) {
					complete <- struct{}{}
				}
				mu.Unlock()
			}
		}()
	}
	returned := make(map[string]time.Time)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	var writers sync.WaitGroup
	failed := make(chan error, b.delivered)
	for i := range b.delivered {
		<-tick.C
		writers.Go(func() {
			path := fmt.Sprintf("d/%d", i)
			if _, err := b.nodes[i%3].Set(path, body); err != nil {
				failed <- err
				return
			}
			mu.Lock()
			returned[path] = time.Now()
			mu.Unlock()
		})
	}
	writers.Wait()
	for range b.delivered {
		select {
		case <-complete:
		case err := <-failed:
			return err
		}
	}
	mu.Lock()
	defer mu.Unlock()
	var took []float64
	for path, at := range arrived {
		took = append(took, max(0, float64(at.Sub(returned[path]).Microseconds())))
	}
	b.row("1,000 writes a second: from the return to all mirrors, p50", "us", []float64{quantile(took, 0.5)}, nil, "<= 5000")
	b.row("the same, p99", "us", []float64{quantile(took, 0.99)}, nil, "")
	return nil
}

// leaderKilled measures how long no write returns after the leader is killed.
func (b *bench) leaderKilled() error {
	var took []float64
	for range min(b.rounds, 3) {
		leader, err := b.leader()
		if err != nil {
			return err
		}
		b.members.Kill(leader)
		began := time.Now()
		err = b.served(func() error {
			_, err := b.nodes[0].Set("after/kill", body)
			if err != nil {
				time.Sleep(5 * time.Millisecond)
			}
			return err
		})
		if err != nil {
			return err
		}
		took = append(took, time.Since(began).Seconds())
		if err := b.members.Start(leader); err != nil {
			return err
		}
		for {
			if _, err := b.leader(); err == nil {
				break
			}
			if err := b.members.Lost(); err != nil {
				return err
			}
		}
	}
	b.row("the leader is killed: until a write returns", "s", took, nil, "<= 3")
	return nil
}

// leader returns the member that leads, once all of them serve.
func (b *bench) leader() (at int, err error) {
	at = -1
	for i, endpoint := range b.members.Endpoints() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		status, err := b.bare.Status(ctx, endpoint)
		cancel()
		if err != nil {
			return 0, err
		}
		if status.Leader == status.Header.MemberId {
			at = i
		}
	}
	if at < 0 {
		return 0, errors.New("no member leads")
	}
	return at, nil
}

func objectOf(path string) *meta.Object {
	return &meta.Object{Path: path, Created: time.Now().UnixNano(), Data: body}
}
