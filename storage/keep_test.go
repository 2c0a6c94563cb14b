package storage

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"weak"

	"github.com/oolith-db/oolith/internal/pathtree"
)

// What a consumer keeps costs itself: none of it holds a store that is closed, nor what a Clear removed.
func TestWhatIsKeptHoldsNoStore(t *testing.T) {
	// Each returns what is kept, of a store with u/kept and others.
	keeps := map[string]func(t *testing.T, s *Layered) any{
		"an event": func(t *testing.T, s *Layered) any {
			events := make(chan Event, 2)
			stop := s.Watch(func(e Event) { events <- e })
			defer stop()
			set(t, s, "u/kept", "2")
			must(t, s.Del("u/kept"))
			return []Event{<-events, <-events}
		},
		"an event of a channel": func(t *testing.T, s *Layered) any {
			channels := s.WatchSharded()
			set(t, s, "u/kept", "2")
			return <-channels.Shard(channels.ShardFor("u/kept"))
		},
		"its channels": func(t *testing.T, s *Layered) any {
			channels := s.WatchSharded()
			for range 1000 {
				set(t, s, "u/kept", "2")
			}
			return channels
		},
		"a notice": func(t *testing.T, s *Layered) any {
			sub := subscribe(t, s, "u/kept", SubscribeOptions{})
			defer sub.Close()
			notice, err := sub.Next(t.Context())
			must(t, err)
			return notice
		},
		"objects": func(t *testing.T, s *Layered) any {
			list, err := s.GetN("u/*", 1)
			must(t, err)
			var b Batch
			b.Set("u/kept", []byte("2"))
			stored, err := s.Commit(&b)
			must(t, err)
			page, err := s.Page("u/*", ListOptions{Limit: 1})
			must(t, err)
			return []any{object(t, s, "u/kept"), list, stored, page, &b}
		},
		"a closed subscription": func(t *testing.T, s *Layered) any {
			sub := subscribe(t, s, "", SubscribeOptions{})
			_, err := sub.Next(t.Context())
			must(t, err)
			sub.Close()
			return sub
		},
		"a subscription that was left, and its context": func(t *testing.T, s *Layered) any {
			ctx, cancel := context.WithCancel(context.Background())
			t.Cleanup(cancel)
			sub, err := s.Subscribe(ctx, "none/*", SubscribeOptions{})
			must(t, err)
			return []any{ctx, sub}
		},
		"a subscription that fell behind": func(t *testing.T, s *Layered) any {
			sub := subscribe(t, s, "u/kept", SubscribeOptions{Buffer: 1})
			for range 10 {
				set(t, s, "u/kept", "2")
			}
			s.run.Load().feed.dispatch()
			return sub
		},
		"a closed snapshot": func(t *testing.T, s *Layered) any {
			snapshot, err := s.Snapshot(context.Background(), "")
			must(t, err)
			snapshot.Close()
			return snapshot
		},
		"a snapshot that was read": func(t *testing.T, s *Layered) any {
			snapshot, err := s.Snapshot(context.Background(), "")
			must(t, err)
			for _, err := range snapshot.All() {
				must(t, err)
			}
			return snapshot
		},
		"a snapshot of something else": func(t *testing.T, s *Layered) any {
			snapshot, err := s.Snapshot(context.Background(), "u/kept")
			must(t, err)
			return snapshot
		},
		"a lease": func(t *testing.T, s *Layered) any {
			lease, err := s.Acquire(context.Background(), "u/kept", 1<<40)
			must(t, err)
			return lease
		},
		"a stop": func(t *testing.T, s *Layered) any {
			stop := s.Watch(func(Event) { _ = s })
			set(t, s, "u/kept", "2")
			stop()
			return stop
		},
		"a stop of a watch that Close ends": func(t *testing.T, s *Layered) any {
			stop := s.Watch(func(Event) {})
			set(t, s, "u/kept", "2")
			return stop
		},
		"the store": func(t *testing.T, s *Layered) any { return s },
	}
	for name, keep := range keeps {
		for _, end := range []string{"Close", "Clear"} {
			if end == "Clear" && (name == "the store" || name == "a subscription that was left, and its context") {
				continue // of a store that goes on
			}
			t.Run(name+", "+end, func(t *testing.T) {
				kept, tree, other := keepAfter(t, keep, end)
				gone := func() bool { return other.Value() == nil && (end == "Clear" || tree.Value() == nil) }
				for range 100 { // goroutines of a consumer may be about to end
					if runtime.GC(); gone() {
						break
					}
					runtime.Gosched()
				}
				if !gone() {
					t.Errorf("who keeps it keeps the memory of the store: %v, another object: %v", tree.Value() != nil, other.Value() != nil)
				}
				runtime.KeepAlive(kept)
			})
		}
	}
}

// keepAfter keeps something of a store until behind its end, and tells by weak pointers what is left of its
// memory and of another object than u/kept.
func keepAfter(t *testing.T, keep func(*testing.T, *Layered) any, end string) (any, weak.Pointer[pathtree.Tree], weak.Pointer[pathtree.Version]) {
	t.Helper()
	s := New(LayeredConfig{Memory: NewMemoryLayer()})
	must(t, s.Start(Options{History: 1})) // else what was removed is kept for those who resume
	set(t, s, "u/kept", "1")
	for i := range 100 {
		set(t, s, fmt.Sprintf("u/%d", i), "1")
	}
	r := s.run.Load()
	tree := weak.Make(r.memory)
	stored, _ := r.memory.Get("u/50")
	other := weak.Make(stored)
	kept := keep(t, s)
	if end == "Clear" {
		s.Clear()
		r.feed.dispatch() // some changes that concern nobody may wait
		t.Cleanup(s.Close)
	} else {
		s.Close()
	}
	return kept, tree, other
}
