package storage

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/meta"
)

// resume subscribes behind a revision and checks what is told.
func resume(t *testing.T, s *Layered, pattern string, from uint64, want ...string) {
	t.Helper()
	sub, err := s.Subscribe(t.Context(), pattern, SubscribeOptions{From: from})
	if err != nil {
		t.Errorf("from %d: %v", from, err)
		return
	}
	defer sub.Close()
	if got := toldNow(t, sub); !slices.Equal(got, want) {
		t.Errorf("%q from %d tells %q, want %q", pattern, from, got, want)
	}
	if got, want := sub.Revision(), s.Stats().Revision; got != want {
		t.Errorf("%q from %d: Revision is %d, the store's %d", pattern, from, got, want)
	}
}

func TestResumeWithinTheHistory(t *testing.T) {
	forEachKind(t, Options{}, func(t *testing.T, s *Layered, _ storeKind) {
		set(t, s, "a/1", "0")
		first := subscribe(t, s, "a/1", SubscribeOptions{})
		wantTold(t, first, "state a/1 0", "live")
		begin := first.Revision()
		set(t, s, "a/1", "1")   // begin+1
		set(t, s, "b", "2")     // begin+2
		set(t, s, "a/2", "3")   // begin+3
		must(t, s.Del("a/1"))   // begin+4
		must(t, s.Del("a/*"))   // begin+5
		set(t, s, "a/2", "6")   // begin+6
		must(t, s.Del("c/*"))   // nothing, and no revision
		set(t, s, "a/3", "8")   // begin+7
		must(t, s.Truncate())   // begin+8
		set(t, s, "a/1", "10")  // begin+9
		set(t, s, "b/11", "11") // begin+10
		all := []string{
			"set a/1 1", "set b 2", "set a/2 3", "del a/1 1", "del a/2 3", "set a/2 6", "set a/3 8", "del a/2 6 +", "del a/3 8 +", "del b 2",
			"set a/1 10", "set b/11 11", "live",
		}
		behind := map[uint64]int{0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 7, 8: 10, 9: 11, 10: 12}
		for revision, from := range behind {
			sub := subscribe(t, s, "", SubscribeOptions{From: begin + revision})
			notices, err := restOf(t, sub)
			must(t, err)
			if got := sortedParts(notices); !slices.Equal(got, all[from:]) {
				t.Errorf("from %d behind the first one it tells %q, want %q", revision, got, all[from:])
			}
			sub.Close()
		}
		resume(t, s, "a/1", begin, "set a/1 1", "del a/1 1", "set a/1 10", "live")
		resume(t, s, "a/2", begin, "set a/2 3", "del a/2 3", "set a/2 6", "del a/2 6", "live")
		resume(t, s, "none/*", begin+3, "live")
		// What is committed after it follows.
		sub := subscribe(t, s, "b/*", SubscribeOptions{From: begin + 9})
		set(t, s, "b/12", "12")
		wantTold(t, sub, "set b/11 11", "live", "set b/12 12")
	})
}

func TestResumeInTheMiddleOfABatch(t *testing.T) {
	forEachKind(t, Options{}, func(t *testing.T, s *Layered, kind storeKind) {
		if !kind.batches {
			return
		}
		subscribe(t, s, "none", SubscribeOptions{})
		set(t, s, "a/0", "0")
		begin := s.Stats().Revision
		batchOf(t, s, "1", "a/1", "b", "a/2", "a/3")
		resume(t, s, "a/*", begin, "set a/1 1 +", "set a/2 1 +", "set a/3 1", "live")
		resume(t, s, "a/*", begin+1, "set a/2 1 +", "set a/3 1", "live")
		resume(t, s, "a/*", begin+2, "set a/2 1 +", "set a/3 1", "live")
		resume(t, s, "a/*", begin+3, "set a/3 1", "live")
		resume(t, s, "a/*", begin+4, "live")
		if _, err := s.Subscribe(t.Context(), "a/*", SubscribeOptions{From: begin + 5}); !errors.Is(err, ErrFutureRevision) {
			t.Errorf("from the future: %v", err)
		}
	})
}

// A revision that is not in the history any more, or never was, begins with the state.
func TestResumeFromBeforeTheHistory(t *testing.T) {
	forEachKind(t, Options{History: 3}, func(t *testing.T, s *Layered, _ storeKind) {
		set(t, s, "a/1", "0")
		set(t, s, "a/2", "0")
		begin := s.Stats().Revision
		resume(t, s, "a/*", begin, "live") // the first one: the history begins here
		resume(t, s, "a/*", begin-1, "reset", "state a/1 0", "state a/2 0", "live")
		for i := 1; i <= 4; i++ {
			set(t, s, "a/1", fmt.Sprint(i))
			set(t, s, "b", fmt.Sprint(i))
		}
		for range 2 {
			resume(t, s, "a/*", begin+5, "set a/1 4", "live")
			resume(t, s, "", begin+5, "set b 3", "set a/1 4", "set b 4", "live")
			resume(t, s, "a/*", begin+4, "reset", "state a/1 4", "state a/2 0", "live")
			resume(t, s, "a/2", begin, "reset", "state a/2 0", "live")
			resume(t, s, "none/*", 1, "reset", "live")
		}
		if got := s.Stats().SubscriptionResets; got < 7 {
			t.Errorf("Stats tells of %d resets", got)
		}
	})
}

// A glob delete that is kept in part only cannot be resumed from before it.
func TestResumeFromBeforeAGlobDeleteThatIsKeptInPart(t *testing.T) {
	memoryBubble(t, Options{History: 2}, func(t *testing.T, s *Layered) {
		subscribe(t, s, "none", SubscribeOptions{})
		for i := range 4 {
			set(t, s, numbered(i), "1")
		}
		begin := s.Stats().Revision
		must(t, s.Del("k/*"))
		resume(t, s, "k/*", begin, "reset", "live")
		resume(t, s, "k/*", begin+1, "live")
	})
}

func TestResumeAfterARestart(t *testing.T) {
	for _, kind := range storeKinds {
		t.Run(kind.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := kind.open()
				s := New(cfg)
				must(t, s.Start(Options{}))
				set(t, s, "a/1", "1")
				sub := subscribe(t, s, "a/*", SubscribeOptions{})
				set(t, s, "a/2", "2")
				wantTold(t, sub, "state a/1 1", "live", "set a/2 2")
				revision := sub.Revision()
				s.Close()
				must(t, s.Start(Options{}))
				defer s.Close()
				if cfg.Embedded == nil {
					// What was there is gone, at the very revision that the subscriber knows.
					resume(t, s, "a/*", revision, "reset", "live")
					set(t, s, "a/3", "3")
					resume(t, s, "a/*", revision, "reset", "state a/3 3", "live")
					resume(t, s, "a/*", revision+1, "live")
					return
				}
				state := []string{"reset", "state a/1 1", "state a/2 2", "live"}
				if s.Stats().Revision == revision {
					state = []string{"live"}
				}
				resume(t, s, "a/*", revision, state...)
				resume(t, s, "a/*", revision-1, "reset", "state a/1 1", "state a/2 2", "live")
				wantEnd(t, sub, ErrNotActive) // of the run before
				set(t, s, "a/3", "3")
				resume(t, s, "a/3", s.Stats().Revision-1, "set a/3 3", "live")
			})
		})
	}
}

// A subscriber that ends and resumes at every notice misses nothing.
func TestResumeAgainAndAgain(t *testing.T) {
	forEachKind(t, Options{}, func(t *testing.T, s *Layered, _ storeKind) {
		r := testrand.New(t)
		sub := subscribe(t, s, "a/*", SubscribeOptions{})
		var known follower
		for range 300 {
			switch path := fmt.Sprintf("a/%d", r.IntN(8)); r.IntN(6) {
			case 0:
				if err := s.Del(path); err != nil && !errors.Is(err, ErrNotFound) {
					t.Fatal(err)
				}
			case 1:
				must(t, s.Del(fmt.Sprintf("a/%d*", r.IntN(8))))
			default:
				set(t, s, path, "1")
			}
			if r.IntN(3) > 0 {
				continue
			}
			notices, err := restOf(t, sub)
			must(t, err)
			for _, n := range notices {
				if err := known.take(n); err != nil {
					t.Fatal(err)
				}
			}
			if r.IntN(2) == 0 {
				from := sub.Revision()
				sub.Close()
				known.resumed()
				sub = subscribe(t, s, "a/*", SubscribeOptions{From: from})
			}
		}
		notices, err := restOf(t, sub)
		must(t, err)
		for _, n := range notices {
			if err := known.take(n); err != nil {
				t.Fatal(err)
			}
		}
		known.wantContent(t, s, "a/*")
		if known.resets != 0 {
			t.Errorf("%d resets", known.resets)
		}
	})
}

// The largest numbers there are ask for all that memory holds, and not for memory.
func TestNoLimits(t *testing.T) {
	memoryBubble(t, Options{History: math.MaxInt}, func(t *testing.T, s *Layered) {
		set(t, s, "k/0", "1")
		for _, policy := range []LagPolicy{LagReset, LagNewest, LagError} {
			sub := subscribe(t, s, "k/*", SubscribeOptions{Lag: policy, Buffer: math.MaxInt})
			toldNow(t, sub)
			begin := sub.Revision()
			writeKeys(t, s, 0, 20_000)
			if got := sub.Lag(); got != 20_000 {
				t.Errorf("%d changes wait, want 20,000", got)
			}
			resumed := subscribe(t, s, "k/*", SubscribeOptions{From: begin})
			if got := toldNow(t, resumed); len(got) != 20_001 {
				t.Errorf("one that resumes is told %d notices", len(got))
			}
			// One that is always a little behind keeps nothing of what it was told.
			for i := range 150_000 {
				set(t, s, "k/1", "1")
				if i%100 == 0 {
					s.run.Load().feed.dispatch()
				}
				if _, ok, err := sub.take(); !ok || err != nil {
					t.Fatalf("nothing waits, %v", err)
				}
			}
			sub.mu.Lock()
			room := cap(sub.queue.slots)
			sub.mu.Unlock()
			if room > 8*backlogLimit {
				t.Errorf("20,000 changes wait in room for %d", room)
			}
			sub.Close()
		}
	})
}

// TestHistoryAgainstModel compares the ring with a list.
func TestHistoryAgainstModel(t *testing.T) {
	r := testrand.New(t)
	data := make([]byte, 1<<20)
	for range 200 {
		h := history{limit: 1 + r.IntN(200), floor: 5}
		var all []*change
		floor, revision := uint64(5), uint64(5)
		for range r.IntN(1000) {
			if r.IntN(3) > 0 {
				revision++
			}
			c := &change{revision: revision + 1, Event: Event{Object: &meta.Object{Data: data[:r.IntN(1<<r.IntN(21))]}}}
			h.add(c)
			all = append(all, c)
		}
		size, kept := 0, 0
		for kept < min(len(all), h.limit) {
			size += all[len(all)-1-kept].bytes()
			if size > historyBytes {
				size -= all[len(all)-1-kept].bytes()
				break
			}
			kept++
		}
		if gone := len(all) - kept; gone > 0 {
			floor = all[gone-1].revision
		}
		if h.n != kept || h.bytes != size || h.floor != floor || len(h.ring) > h.limit+1 {
			t.Fatalf("of %d changes it keeps %d, %d bytes, floor %d, in room for %d; want %d, %d, %d, limit %d",
				len(all), h.n, h.bytes, h.floor, len(h.ring), kept, size, floor, h.limit)
		}
		for from := range revision + 2 {
			got, ok := h.since(from)
			want := slices.DeleteFunc(slices.Clone(all[len(all)-kept:]), func(c *change) bool { return c.revision <= from })
			if from < floor {
				want = nil
			}
			if ok != (from >= floor) || !slices.Equal(got, want) {
				t.Fatalf("since %d: %d changes, %v, want %d, floor %d", from, len(got), ok, len(want), floor)
			}
		}
	}
}
