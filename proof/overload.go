package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/engine/all"
	"github.com/oolith-db/oolith/storage"
)

// The overload campaign gives a store more changes than its consumers can process: they are slow, or stuck until
// everything is written, or write to the store from inside their callbacks. Writers must not be blocked, the backlog
// must stay limited, each key's events must arrive in order, and when the consumers are done each must hold the
// store's content.

const (
	overloadKeys = 400 // of each writer
	// overloadQueue exceeds the backlog of a shard before it coalesces, including events that it has not processed
	// yet.
	overloadQueue = 1 << 15
)

// picture is the content of a store according to its events.
type picture struct {
	keys map[string]uint64 // the revision of each
	last map[string]uint64 // the newest revision delivered of each key, including deleted ones
}

func newPicture() *picture {
	return &picture{keys: map[string]uint64{}, last: map[string]uint64{}}
}

// take adds an event and returns a violation.
func (p *picture) take(e storage.Event) error {
	if e.Object.Revision < p.last[e.Key] {
		return fmt.Errorf("%s of %s with revision %d after revision %d", e.Operation, e.Key, e.Object.Revision, p.last[e.Key])
	}
	p.last[e.Key] = e.Object.Revision
	if e.Operation == storage.OperationDel {
		delete(p.keys, e.Key)
	} else {
		p.keys[e.Key] = e.Object.Revision
	}
	return nil
}

// differs describes how a picture differs from the store's content.
func (p *picture) differs(want map[string]uint64) error {
	for path, revision := range want {
		if got, there := p.keys[path]; got != revision {
			return fmt.Errorf("%s: revision %d arrived last (there: %v), the store holds %d", path, got, there, revision)
		}
	}
	for path := range p.keys {
		if _, there := want[path]; !there {
			return fmt.Errorf("%s is in the events, and not in the store", path)
		}
	}
	return nil
}

// consumer takes events but cannot keep up.
type consumer struct {
	r       *rand.Rand
	store   *storage.Layered
	release <-chan struct{} // closed when everything is written
	stuck   int             // after this many events it waits for release
	slow    bool
	echo    bool // writes from inside its callback

	mu    sync.Mutex // guards the fields below
	taken int
	view  *picture
	err   error
}

// handle processes an event. Events that the consumer itself causes do not cause more.
func (c *consumer) handle(e storage.Event) {
	c.mu.Lock()
	c.taken++
	taken := c.taken
	c.err = errors.Join(c.err, c.view.take(e))
	c.mu.Unlock()
	if taken == c.stuck {
		<-c.release
	}
	select {
	case <-c.release: // now every consumer is fast
		return
	default:
	}
	if c.slow {
		time.Sleep(time.Duration(c.r.IntN(50)) * time.Microsecond)
	}
	if c.echo && taken%100 == 0 {
		_, err := c.store.Set(fmt.Sprintf("echo/%d", c.r.IntN(overloadKeys)), []byte(`"echo"`))
		c.mu.Lock()
		c.err = errors.Join(c.err, err)
		c.mu.Unlock()
	}
}

func (c *consumer) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.taken
}

// overloadRound runs one store with its writers and consumers.
func overloadRound(ctx context.Context, c config, t *tally) error {
	config := storage.LayeredConfig{Memory: storage.NewMemoryLayer()}
	if c.rng.IntN(4) == 0 {
		layer, err := engine.Open(fmt.Sprintf(engines[c.rng.IntN(len(engines))], c.dir)+"?sync=off", all.Engines()...)
		if err != nil {
			return err
		}
		config.Embedded = layer
	}
	store := storage.New(config)
	options := quiet()
	options.Workers = 1 + c.rng.IntN(6)
	if err := store.Start(options); err != nil {
		return err
	}
	defer store.Close()

	release := make(chan struct{})
	letGo := sync.OnceFunc(func() { close(release) })
	defer letGo()
	newConsumer := func(i int) *consumer {
		r := rand.New(rand.NewPCG(c.seed, uint64(i)))
		return &consumer{
			r: r, store: store, release: release, view: newPicture(),
			stuck: r.IntN(3) * r.IntN(1000), slow: r.IntN(2) == 0, echo: r.IntN(2) == 0,
		}
	}
	// Each channel has a picture of its own keys. There are no glob deletes, because nothing orders their event
	// relative to those of their keys on other channels.
	channels := store.WatchSharded()
	consumers := make([]*consumer, channels.Count())
	var reading sync.WaitGroup
	for i := range consumers {
		consumers[i] = newConsumer(i)
		reading.Go(func() {
			for e := range channels.Shard(i) {
				consumers[i].handle(e)
			}
		})
	}
	watchers := make([]*consumer, 2)
	for i := range watchers {
		watchers[i] = newConsumer(100 + i)
		defer store.Watch(watchers[i].handle)()
	}

	if err := overload(ctx, c, store, channels, t); err != nil {
		return err
	}
	letGo()
	if err := takenIn(append(consumers, watchers...), channels); err != nil {
		return err
	}
	want := map[string]uint64{}
	for obj, err := range store.Iterate("*/*", storage.ListOptions{}) {
		if err != nil {
			return err
		}
		want[obj.Path] = obj.Revision
	}
	stats := channels.Stats()
	t.add("coalesced", int(stats.Coalesced))
	store.Close()
	reading.Wait()
	if dropped := channels.Stats().Dropped; dropped != 0 {
		return fmt.Errorf("%d events were dropped though everybody reads", dropped)
	}
	for i, one := range watchers {
		t.add("events taken", one.taken)
		if err := errors.Join(one.err, one.view.differs(want)); err != nil {
			return fmt.Errorf("watcher %d: %w", i, err)
		}
	}
	for i, one := range consumers {
		t.add("events taken", one.taken)
		own := map[string]uint64{}
		for path, revision := range want {
			if channels.ShardFor(path) == i {
				own[path] = revision
			}
		}
		if err := errors.Join(one.err, one.view.differs(own)); err != nil {
			return fmt.Errorf("shard %d of %d: %w", i, len(consumers), err)
		}
	}
	return nil
}

// overload writes more than the consumers can process, and checks the limit of the backlog.
func overload(ctx context.Context, c config, store *storage.Layered, channels *storage.ShardedChan, t *tally) error {
	const writers, changes = 3, 40_000
	var errs [writers]error
	var group sync.WaitGroup
	var written, unknown atomic.Int64
	for w := range writers {
		r := rand.New(rand.NewPCG(c.seed, uint64(1000+w)))
		group.Go(func() {
			for n := 0; n < changes && ctx.Err() == nil && errs[w] == nil; n++ {
				path := fmt.Sprintf("w%d/%d", w, r.IntN(overloadKeys))
				var err error
				switch r.IntN(20) {
				case 0, 1, 2:
					if err = store.Del(path); errors.Is(err, storage.ErrNotFound) {
						err = nil
						unknown.Add(1)
					}
				case 3:
					batch := new(storage.Batch)
					for i := range 5 {
						batch.Set(fmt.Sprintf("b%d/%d", w, i), []byte(fmt.Sprint(n)))
					}
					_, err = store.Commit(batch)
				default:
					_, err = store.Set(path, []byte(fmt.Sprint(n)))
				}
				written.Add(1)
				errs[w] = err
			}
		})
	}
	done := make(chan struct{})
	go func() { defer close(done); group.Wait() }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			t.add("changes", int(written.Load()-unknown.Load()))
			return errors.Join(errs[:]...)
		case <-tick.C:
			if queued, most := channels.Stats().Queued, channels.Count()*overloadQueue+writers*overloadKeys; queued > most {
				return fmt.Errorf("%d events wait, expected at most %d", queued, most)
			}
		}
	}
}

// takenIn returns when the consumers have processed everything: there is no backlog, and no consumer is busy.
func takenIn(consumers []*consumer, channels *storage.ShardedChan) error {
	last, since := -1, time.Now()
	for time.Since(since) < time.Minute {
		sum := 0
		for _, one := range consumers {
			sum += one.count()
		}
		if sum == last && channels.Stats().Queued == 0 && time.Since(since) > 200*time.Millisecond {
			return nil
		}
		if sum != last {
			last, since = sum, time.Now()
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("%d events still wait after a minute in which nobody took one", channels.Stats().Queued)
}
