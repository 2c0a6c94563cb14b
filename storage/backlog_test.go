package storage

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/oolith-db/oolith/meta"
)

func numberedEvent(k string, revision int) Event {
	return Event{Key: k, Operation: OperationSet, Object: &meta.Object{Path: k, Revision: uint64(revision)}}
}

// pushEvent adds an event of which nothing else is known.
func pushEvent(b *backlog, event Event) {
	b.push(changeOf(event))
}

// takeAll empties a backlog.
func takeAll(b *backlog) (events []Event) {
	for {
		e, ok := b.first()
		if !ok {
			return events
		}
		events = append(events, e.Event)
		b.pop()
	}
}

// newestOfEach is what must be left of events: the last one of each key, in order.
func newestOfEach(events []Event) (left []Event) {
	seen := make(map[string]bool)
	for _, e := range slices.Backward(events) {
		if !seen[e.Key] {
			left = append(left, e)
		}
		seen[e.Key] = true
	}
	slices.Reverse(left)
	return left
}

func TestBacklogKeepsAllUpToItsLimit(t *testing.T) {
	var b backlog
	var sent []Event
	for i := range backlogLimit {
		e := numberedEvent(numbered(i%3), i)
		sent = append(sent, e)
		pushEvent(&b, e)
	}
	if got := takeAll(&b); !slices.Equal(got, sent) {
		t.Fatalf("%d events came out of %d, or in another order", len(got), len(sent))
	}
	if b.coalesced != 0 {
		t.Errorf("%d events were coalesced below the limit", b.coalesced)
	}
}

func TestBacklogKeepsTheNewestOfEachKey(t *testing.T) {
	kinds := map[string]func(i int) Event{
		"10 keys":  func(i int) Event { return numberedEvent(numbered(i*7%10), i) },
		"all keys": func(i int) Event { return numberedEvent(numbered(i), i) },
		"globs and clears": func(i int) Event {
			switch i % 11 {
			case 3:
				return Event{Key: "k/*", Operation: OperationDel}
			case 7:
				return Event{Operation: OperationClear}
			}
			return numberedEvent(numbered(i%23), i)
		},
		"no operation": func(i int) Event { return Event{Key: numbered(i % 10)} },
	}
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			var b backlog
			var sent []Event
			for i := range 2*backlogLimit + 5 {
				sent = append(sent, kind(i))
				pushEvent(&b, kind(i))
			}
			want := newestOfEach(sent)
			// Events carry fresh objects: compare what they say.
			got := takeAll(&b)
			if !slices.EqualFunc(got, want, sameEvent) {
				t.Fatalf("%d events are left, want the newest of each key, in order: %d", len(got), len(want))
			}
			if b.live != 0 || b.newest != nil || cap(b.slots) > keptSlots {
				t.Errorf("the empty backlog counts %d and holds %d keys, %d events", b.live, len(b.newest), len(b.slots))
			}
			if int(b.coalesced) != len(sent)-len(want) {
				t.Errorf("coalesced %d, want %d", b.coalesced, len(sent)-len(want))
			}
		})
	}
}

func sameEvent(a, b Event) bool {
	revision := func(e Event) uint64 {
		if e.Object == nil {
			return 0
		}
		return e.Object.Revision
	}
	return a.Key == b.Key && a.Operation == b.Operation && revision(a) == revision(b)
}

// A random consumer: what it gets is in order, and ends with the newest of each key.
func TestBacklogAtRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for run := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, run))
		var b backlog
		var sent, got []Event
		take := func(n int) {
			for range n {
				e, ok := b.first()
				if !ok {
					return
				}
				got = append(got, e.Event)
				b.pop()
			}
		}
		keys := 1 + r.IntN(30_000)
		for i := 0; i < 60_000; {
			for range 1 + r.IntN(5000) { // only a push makes room
				e := numberedEvent(numbered(r.IntN(keys)), i)
				sent = append(sent, e)
				pushEvent(&b, e)
				i++
			}
			if most := max(backlogLimit, keys) + 1; b.live > most || len(b.slots) > 2*b.live+backlogLimit+1 {
				t.Fatalf("%d events wait in room for %d, with %d keys", b.live, len(b.slots), keys)
			}
			take(r.IntN(3000))
		}
		take(len(sent))
		if len(got)+int(b.coalesced) != len(sent) {
			t.Fatalf("%d events sent, %d came, %d coalesced", len(sent), len(got), b.coalesced)
		}
		last := -1
		for _, e := range got {
			if int(e.Object.Revision) <= last {
				t.Fatalf("event %d came after %d", e.Object.Revision, last)
			}
			last = int(e.Object.Revision)
		}
		if !slices.Equal(newestOfEach(got), newestOfEach(sent)) {
			t.Fatal("the final state of some key did not come")
		}
	}
}

// A consumer that is always a little behind, and never idle, costs no more for it.
func TestBacklogOfASteadyLagIsBounded(t *testing.T) {
	var b backlog
	for i := range 10 {
		pushEvent(&b, numberedEvent(numbered(i), i))
	}
	for i := range 20 * backlogLimit {
		pushEvent(&b, numberedEvent("k", i))
		if _, ok := b.first(); !ok {
			t.Fatal("nothing waits")
		}
		b.pop()
	}
	if room := cap(b.slots); room > 8*backlogLimit {
		t.Fatalf("%d events wait in room for %d", b.live, room)
	}
}

func BenchmarkBacklog(b *testing.B) {
	for _, keys := range []int{10, 100_000} {
		b.Run(fmt.Sprintf("stuck/%d keys", keys), func(b *testing.B) {
			events := make([]Event, keys)
			for i := range events {
				events[i] = numberedEvent(numbered(i), i)
			}
			var queue backlog
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				pushEvent(&queue, events[i%keys])
				i++
			}
		})
	}
}
