package storagetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/oolith-db/oolith/storage"
)

// collector gathers the events of a database in the order of their arrival.
type collector struct {
	shards *storage.ShardedChan
	closed sync.WaitGroup // done when all channels are closed

	// mu guards the fields below.
	mu     sync.Mutex
	events []storage.Event
	shard  []int
	more   chan struct{} // closed and replaced with each event
}

// collect starts to gather the events of all shards, until they are closed.
func collect(t T, db storage.Database) *collector {
	t.Helper()
	c := &collector{shards: db.WatchSharded(), more: make(chan struct{})}
	if c.shards == nil {
		t.Fatalf("WatchSharded is nil")
	}
	c.read()
	return c
}

// read receives the events of all shards.
func (c *collector) read() {
	for i := range c.shards.Count() {
		ch := c.shards.Shard(i)
		c.closed.Go(func() {
			for event := range ch {
				c.add(event, i)
			}
		})
	}
}

func (c *collector) add(event storage.Event, shard int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, event)
	c.shard = append(c.shard, shard)
	close(c.more)
	c.more = make(chan struct{})
}

// arrives waits for an event and reports whether it arrived.
func (c *collector) arrives(s *subject, is func(storage.Event) bool) bool {
	seen := 0
	for {
		c.mu.Lock()
		fresh, more := c.events[seen:], c.more
		c.mu.Unlock()
		if slices.ContainsFunc(fresh, is) {
			return true
		}
		seen += len(fresh)
		if _, ok := await(s, more); !ok {
			return false
		}
		s.beats.advance()
	}
}

// all returns the events so far.
func (c *collector) all() []storage.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.events)
}

// of returns the events of a key so far.
func (c *collector) of(key string) []storage.Event {
	return slices.DeleteFunc(c.all(), func(e storage.Event) bool { return e.Key != key })
}

// mark is data that only flush writes.
const mark = `"end mark"`

// flush writes one more object for each shard and waits for the events. All events that were sent before have then
// arrived.
func (c *collector) flush(t T, s *subject, db storage.Database) {
	t.Helper()
	for shard := range c.shards.Count() {
		c.flushShard(t, s, db, shard)
	}
}

// flushShard is flush for one shard. It uses a new path each time.
func (c *collector) flushShard(t T, s *subject, db storage.Database, shard int) {
	t.Helper()
	for i := len(c.all()); ; i++ {
		path := fmt.Sprintf("mark/%d", i)
		if c.shards.ShardFor(path) != shard || len(c.of(path)) > 0 {
			continue
		}
		_, err := db.Set(path, json.RawMessage(mark))
		must(t, "Set "+path, err)
		if !c.arrives(s, func(e storage.Event) bool { return e.Key == path }) {
			t.Fatalf("the event of Set %s has not arrived, %s", path, s.impatient())
		}
		return
	}
}

// take returns the events except those of flush, and removes all.
func (c *collector) take() []storage.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	events := slices.DeleteFunc(c.events, func(e storage.Event) bool {
		return e.Object != nil && string(e.Object.Data) == mark
	})
	c.events, c.shard = nil, nil
	return events
}

// show formats an event for a failure message.
func show(e storage.Event) string {
	if e.Object == nil {
		return fmt.Sprintf("%s %q", e.Operation, e.Key)
	}
	return fmt.Sprintf("%s %q %s (revision %d)", e.Operation, e.Key, short(string(e.Object.Data)), e.Object.Revision)
}

// showAll formats events for a failure message, abbreviated if there are many.
func showAll(events []storage.Event) string {
	text := ""
	for _, e := range events[:min(len(events), 12)] {
		text += "\n\t" + show(e)
	}
	if len(events) > 12 {
		text += fmt.Sprintf("\n\tand %d more", len(events)-12)
	}
	return text
}

// wantEvent waits for the first event of a key and checks it.
func wantEvent(t T, s *subject, c *collector, what string, want storage.Event) {
	t.Helper()
	if !c.arrives(s, func(e storage.Event) bool { return e.Key == want.Key }) {
		t.Fatalf("%s: no event with key %q, %s; those that came: %s", what, want.Key, s.impatient(), showAll(c.all()))
	}
	got := c.of(want.Key)[0]
	if got.Operation != want.Operation {
		t.Errorf("%s: operation is %q, want %q", what, got.Operation, want.Operation)
	}
	switch {
	case want.Object == nil && got.Object != nil:
		t.Errorf("%s: the event has an object, %s, want none", what, show(got))
	case want.Object != nil && got.Object == nil:
		t.Errorf("%s: the event has no object, want one", what)
	case want.Object != nil:
		if d := diff(*got.Object, *want.Object); d != "" {
			t.Errorf("%s: the event's object: %s", what, d)
		}
	}
}
