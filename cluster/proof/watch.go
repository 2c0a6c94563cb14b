package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// Subscribers move from node to node while faults occur, and compare what they receive with what they must receive.
// Each writer counts, in batches, so a subscriber that follows all of them sees the next number of each, and nothing
// else.

const (
	watchers  = 40 // on each node, at first
	batchSize = 200
)

// watch delivers n changes.
func (b *bed) watch(ctx context.Context, faults []fault, n int) (err error) {
	r := &round{bed: b, prefix: "watch/", ledger: newLedger()}
	defer r.close()
	for node := range nodes {
		if err := r.start(ctx, node); err != nil {
			return err
		}
	}
	defer context.AfterFunc(ctx, r.close)() // frees waiters for a cluster that is permanently lost
	over, done := context.WithCancel(ctx)
	defer done()
	var writers, others sync.WaitGroup
	var counted [nodes]int // what each writer wrote
	for w := range nodes {
		writers.Go(func() { counted[w] = r.count(over, w) })
	}
	var delivered atomic.Int64
	all := make([]*checker, nodes*watchers)
	following, stop := context.WithCancel(ctx)
	defer stop()
	for i := range all {
		all[i] = &checker{round: r, delivered: &delivered}
		others.Go(func() { all[i].follow(following, i%nodes) })
	}
	broken := make(chan error, 1)
	go func() {
		for err := error(nil); ; {
			if err = r.faults(over, faults, 1); err != nil {
				broken <- err
				return
			}
		}
	}()
	for delivered.Load() < int64(n) && err == nil {
		select {
		case err = <-broken:
		case <-time.After(10 * time.Millisecond):
			err = r.failed()
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	done()
	if err != nil {
		r.close() // they may wait for a cluster that is permanently lost
	}
	writers.Wait()
	if err == nil {
		if err = <-broken; errors.Is(err, context.Canceled) {
			err = nil
		}
	}
	for _, c := range all {
		for err == nil && !c.has(counted) {
			if err = r.failed(); err == nil {
				err = pause(ctx, 5*time.Millisecond)
			}
		}
	}
	stop()
	others.Wait()
	r.tally.add("changes delivered and checked", int(delivered.Load()))
	r.tally.add("subscribers", len(all))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(err, r.failed())
}

// count writes batches of consecutive numbers, and returns the last.
func (r *round) count(ctx context.Context, writer int) (last int) {
	for ctx.Err() == nil {
		var batch storage.Batch
		for i := range batchSize {
			batch.Set(fmt.Sprintf("count/%d/%d", writer, i), json.RawMessage(strconv.Itoa(last+i+1)))
		}
		r.gates[writer].RLock()
		_, err := r.stores[writer].Commit(&batch)
		r.gates[writer].RUnlock()
		switch {
		case err == nil:
			last += batchSize
			r.acknowledge(func() {})
			r.tally.add("batches", 1)
		case errors.Is(err, storage.ErrUnavailable):
			r.tally.add("writes refused while the engine was lost", 1)
			_ = pause(ctx, 10*time.Millisecond) // the loop checks ctx
		case errors.Is(err, storage.ErrNotActive): // the round is over
			return last
		default:
			r.fail("writer %d: %w", writer, err)
			return last
		}
	}
	return last
}

// checker is a subscriber that checks what it receives.
type checker struct {
	round     *round
	delivered *atomic.Int64

	mu   sync.Mutex // guards the fields below
	last [nodes]int // the last number of each writer
	// whole is the state after the last complete batch or state: a subscriber that leaves in the middle of one
	// receives it again.
	whole [nodes]int
}

// has reports whether it has received everything that the writers counted.
func (c *checker) has(all [nodes]int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last == all
}

func (c *checker) follow(ctx context.Context, node int) { c.round.wander(ctx, node, c.stay) }

// stay follows on one node for some batches, or a while, and returns where to continue.
func (c *checker) stay(ctx context.Context, s *storage.Layered, from uint64) (next uint64, err error) {
	sub, err := s.Subscribe(ctx, "count/**", storage.SubscribeOptions{From: from})
	if err != nil {
		return from, err
	}
	defer sub.Close()
	c.resume()
	limited, cancel := context.WithTimeout(ctx, upTo(5*time.Second)+time.Second)
	defer cancel()
	last := from
	var state *[nodes][]int // of a state in delivery; nil if there is none
	if from == 0 {
		state = new([nodes][]int)
	}
	next = from
	for left := 1 + rand.IntN(100); left > 0; {
		n, err := sub.Next(limited)
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, storage.ErrNotActive) {
			break
		}
		if err != nil {
			return from, err
		}
		switch n.Kind {
		case storage.NoticeReset:
			c.round.tally.add("resets", 1)
			state = new([nodes][]int)
		case storage.NoticeState:
			writer, number, err := counted(n)
			if err != nil || state == nil {
				return from, fmt.Errorf("a state in the midst of changes: %s: %w", n.Path, err)
			}
			state[writer] = append(state[writer], number)
		case storage.NoticeLive:
			if state != nil {
				if err := c.begin(state); err != nil {
					return from, err
				}
			}
			state, last, next = nil, n.Revision, n.Revision
		case storage.NoticeSet:
			if n.Revision <= last {
				return from, fmt.Errorf("revision %d comes behind %d", n.Revision, last)
			}
			last = n.Revision
			if err := c.take(n); err != nil {
				return from, err
			}
			if c.delivered.Add(1); !n.More {
				next = n.Revision
				left--
			}
		default:
			return from, fmt.Errorf("%v of %s, which nobody deletes", n.Kind, n.Path)
		}
	}
	if state != nil { // there is no position to continue from in the middle of a state
		return 0, nil
	}
	return next, nil
}

func counted(n storage.Notice) (writer, number int, err error) {
	at, _, _ := strings.Cut(strings.TrimPrefix(n.Path, "count/"), "/")
	if writer, err = strconv.Atoi(at); err == nil {
		number, err = strconv.Atoi(string(n.Object.Data))
	}
	return writer, number, err
}

// take processes a change: the next number of a writer, and a complete batch.
func (c *checker) take(n storage.Notice) error {
	writer, number, err := counted(n)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if number != c.last[writer]+1 {
		return fmt.Errorf("writer %d: %d is told behind %d", writer, number, c.last[writer])
	}
	if ends := number%batchSize == 0; ends == n.More {
		return fmt.Errorf("writer %d: %d ends a batch: %v, and more of it is to come: %v", writer, number, ends, n.More)
	}
	if c.last[writer] = number; !n.More {
		c.whole = c.last
	}
	return nil
}

// resume forgets the part of a batch that will be delivered again.
func (c *checker) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = c.whole
}

// begin processes a state: the last batch of each writer, complete, and nothing older than what was already
// delivered.
func (c *checker) begin(state *[nodes][]int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for writer, numbers := range state {
		if len(numbers) == 0 && c.last[writer] == 0 {
			continue
		}
		least, most := 0, 0
		for i, n := range numbers {
			if i == 0 {
				least = n
			}
			least, most = min(least, n), max(most, n)
		}
		if len(numbers) != batchSize || most%batchSize != 0 || most-least != batchSize-1 {
			return fmt.Errorf("writer %d: a state of %d numbers from %d to %d is no batch", writer, len(numbers), least, most)
		}
		if most < c.last[writer] {
			return fmt.Errorf("writer %d: a state that ends with %d, and %d was told", writer, most, c.last[writer])
		}
		c.last[writer] = most
	}
	c.whole = c.last
	return nil
}
