package storagetest

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/oolith-db/oolith/storage"
)

// This file checks Watch, if a database offers it.

// watched is a Watch that gathers its events.
type watched struct {
	collector
	stop func()
}

// watch starts a Watch.
func watch(w watcher) *watched {
	got := &watched{collector: collector{more: make(chan struct{})}}
	got.stop = w.Watch(func(e storage.Event) { got.add(e, 0) })
	return got
}

// has waits for the event of a key and reports whether it arrived.
func (w *watched) has(s *subject, key string) bool {
	return w.arrives(s, func(e storage.Event) bool { return e.Key == key })
}

func watchEach(t T, s *subject, db storage.Database, w watcher) {
	const n = 200
	watches := []*watched{watch(w), watch(w)}
	for range 2 {
		c := &watched{collector: collector{more: make(chan struct{})}}
		storage.WatchWithCallback(db, func(e storage.Event) { c.add(e, 0) })
		watches = append(watches, c)
	}
	for i := range int64(n) {
		_, err := db.Set(fmt.Sprintf("w/%d", i), dataOf(i))
		must(t, "Set", err)
	}
	for i, got := range watches {
		if !got.has(s, fmt.Sprintf("w/%d", n-1)) {
			t.Fatalf("watch %d: no event of the last write, %s", i, s.impatient())
		}
		s.eventually(t, fmt.Sprintf("watch %d sees %d changes", i, n), func() bool { return len(got.all()) >= n })
		if events := got.all(); len(events) != n {
			t.Errorf("watch %d has %d events of %d changes", i, len(events), n)
		}
	}
}

func watchOrder(t T, s *subject, db storage.Database, w watcher) {
	got := watch(w)
	churn(t, s, db, 40)
	set(t, db, "end", 1)
	if !got.has(s, "end") {
		t.Fatalf("no event of the last write, %s", s.impatient())
	}
	var last uint64
	for _, e := range got.all() {
		if e.Object == nil || e.Object.Revision <= last {
			t.Errorf("%s comes after revision %d", show(e), last)
			return
		}
		last = e.Object.Revision
	}
	if n := len(got.all()); n != 161 {
		t.Errorf("%d events of 161 changes", n)
	}
}

func watchStop(t T, s *subject, db storage.Database, w watcher) {
	first, second := watch(w), watch(w)
	set(t, db, "a/1", 1)
	if !first.has(s, "a/1") || !second.has(s, "a/1") {
		t.Fatalf("no event of a write, %s", s.impatient())
	}
	first.stop()
	first.stop()
	set(t, db, "a/2", 2)
	if !second.has(s, "a/2") {
		t.Errorf("no event for the second watch after the first one was stopped")
	}
	s.within(t, "Close", db.Close)
	first.stop()
	second.stop()
	if events := first.all(); len(events) != 1 {
		t.Errorf("a stopped watch goes on: %s", showAll(events))
	}
}

func watchPanics(t T, s *subject, db storage.Database, w watcher) {
	var calls atomic.Int64
	w.Watch(func(storage.Event) {
		calls.Add(1)
		panic("a panic of a watch, on purpose")
	})
	other := watch(w)
	for i := range int64(20) {
		set(t, db, fmt.Sprintf("a/%d", i), i)
	}
	if !other.has(s, "a/19") {
		t.Errorf("no event for a watch beside one that panics")
	}
	s.eventually(t, "the callback that panics is called", func() bool { return calls.Load() > 0 })
	s.within(t, "Close", db.Close)
}

func watchStuck(t T, s *subject, db storage.Database, w watcher) {
	release := make(chan struct{})
	w.Watch(func(storage.Event) { <-release })
	other := watch(w)
	rounds := 300
	if !s.Persistent {
		rounds = 20_000
	}
	s.sets(t, fmt.Sprintf("%d writes beside a stuck watch", rounds), db, rounds, func(i int) string { return fmt.Sprintf("a/%d", i%50) })
	last := get(t, db, fmt.Sprintf("a/%d", (rounds-1)%50))
	if !other.arrives(s, func(e storage.Event) bool { return e.Object != nil && e.Object.Revision == last.Revision }) {
		t.Errorf("no event of the last write for a watch beside a stuck one")
	}
	s.within(t, "Close beside a stuck watch", db.Close)
	close(release)
}

func watchStopInside(t T, s *subject, db storage.Database, w watcher) {
	stop := make(chan func(), 1)
	ended := make(chan struct{})
	var calls atomic.Int64
	stop <- w.Watch(func(storage.Event) {
		if calls.Add(1) == 1 {
			(<-stop)()
			close(ended)
		}
	})
	other := watch(w)
	set(t, db, "a/1", 1)
	s.within(t, "stop inside the callback", func() { <-ended })
	set(t, db, "a/2", 2)
	if !other.has(s, "a/2") {
		t.Errorf("no event for another watch")
	}
	s.within(t, "Close", db.Close)
	if n := calls.Load(); n != 1 {
		t.Errorf("the callback ran %d times, want once: it stopped its watch", n)
	}
	if keys := other.all(); !slices.ContainsFunc(keys, func(e storage.Event) bool { return e.Key == "a/1" }) {
		t.Errorf("another watch has not seen the first write")
	}
}
