package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/oolith-db/oolith/cluster/internal/flaky"
	"github.com/oolith-db/oolith/engine/etcd"
	"github.com/oolith-db/oolith/storage"
)

// round is one content, three stores, and the faults that affect them.
type round struct {
	*bed
	*ledger
	prefix string

	stores  [nodes]*storage.Layered
	proxies [nodes][]*flaky.Proxy // of a node, to each member
	gates   [nodes]sync.RWMutex   // held by the writes of a node, and by the closing of its store

	mu    sync.Mutex // guards wrong
	wrong []error
}

// fail records a violation.
func (r *round) fail(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong = append(r.wrong, fmt.Errorf(format, args...))
}

// failed returns the first violation.
func (r *round) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.wrong[:min(len(r.wrong), 10)]...)
}

// wander subscribes on one node after the other by calls of stay, each of which returns where the next one continues.
func (r *round) wander(ctx context.Context, node int, stay func(ctx context.Context, s *storage.Layered, from uint64) (next uint64, err error)) {
	from := uint64(0)
	for ctx.Err() == nil {
		next, err := stay(ctx, r.stores[node], from)
		if errors.Is(err, storage.ErrNotActive) { // the node is restarted
			r.tally.add("subscriptions ended by a restart", 1)
			err = pause(ctx, 10*time.Millisecond)
		}
		if errors.Is(err, storage.ErrUnavailable) { // a node that is behind cannot know whether the revision exists
			r.tally.add("resumptions refused while the engine was lost", 1)
			err = pause(ctx, 10*time.Millisecond)
		}
		if err != nil && ctx.Err() == nil {
			r.fail("a subscription on node %d: %w", node, err)
			return
		}
		if ctx.Err() != nil {
			return
		}
		from = next
		node = (node + 1 + rand.IntN(nodes-1)) % nodes
		r.tally.add("moves of subscriptions", 1)
	}
}

func (r *round) run(ctx context.Context, faults []fault, n int) error {
	defer r.close()
	for node := range nodes {
		if err := r.start(ctx, node); err != nil {
			return err
		}
	}
	defer context.AfterFunc(ctx, r.close)() // frees waiters for a cluster that is permanently lost
	over := make(chan struct{})
	followed, stopFollowing := context.WithCancel(ctx)
	defer stopFollowing()
	var writers, followers sync.WaitGroup
	for w := range 2 * nodes {
		writers.Go(func() { r.write(w%nodes, w, over) })
	}
	for node := range nodes {
		writers.Go(func() { r.look(node, over) })
	}
	var told [2]*follower
	for i := range told {
		told[i] = &follower{round: r, told: make(map[string]uint64)}
		followers.Go(func() { told[i].follow(followed, i) })
	}
	err := r.faults(ctx, faults, n)
	close(over)
	if err != nil {
		r.close() // they may wait for a cluster that is permanently lost
	}
	writers.Wait()
	if err == nil {
		err = r.failed()
	}
	if err == nil {
		err = r.check(ctx, told[:])
	}
	stopFollowing()
	followers.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(err, r.failed())
}

// start starts a store whose connections to the members can be cut.
func (r *round) start(ctx context.Context, node int) error {
	var endpoints []string
	for _, member := range r.members.Endpoints() {
		p, err := flaky.StartFrom(r.dial(node, member))
		if err != nil {
			return err
		}
		r.proxies[node] = append(r.proxies[node], p)
		endpoints = append(endpoints, p.Addr())
	}
	s := storage.New(storage.LayeredConfig{
		Memory:   storage.NewMemoryLayer(),
		Embedded: etcd.New(endpoints, etcd.Options{Prefix: r.prefix, RequestTimeout: 3 * time.Second, Logger: slog.New(slog.DiscardHandler)}),
	})
	r.stores[node] = s
	return r.open(ctx, node)
}

// open starts the store of a node.
func (r *round) open(ctx context.Context, node int) error {
	for {
		err := r.stores[node].Start(storage.Options{Logger: slog.New(slog.DiscardHandler)})
		if err == nil || !errors.Is(err, storage.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		if err := r.members.Lost(); err != nil {
			return err
		}
	}
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

// faults causes one fault after the other, and after each waits until writes are acknowledged again.
func (r *round) faults(ctx context.Context, faults []fault, n int) error {
	for range n {
		if err := r.progress(ctx); err != nil {
			return err
		}
		if err := r.members.Lost(); err != nil {
			return err
		}
		f := faults[rand.IntN(len(faults))]
		r.tally.add(f.name, 1)
		if err := f.do(r, ctx); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return r.progress(ctx)
}

// stall is the maximum time for which a cluster without a fault may acknowledge nothing.
const stall = 3 * time.Minute

// progress returns once some more writes are acknowledged.
func (r *round) progress(ctx context.Context) error {
	began := time.Now()
	want := r.acknowledged() + 20
	for r.acknowledged() < want {
		if time.Since(began) > stall {
			err := fmt.Errorf("the cluster acknowledged %d writes in %v", r.acknowledged()+20-want, stall)
			return errors.Join(err, r.members.Lost())
		}
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
