package storage

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// In these tests the bubble of synctest is the proof that no goroutine is left: it fails
// when one is, at its end.

// openMemory returns a started store that the test closes itself.
func openMemory(t *testing.T, options Options) *Layered {
	t.Helper()
	s := New(LayeredConfig{Memory: NewMemoryLayer()}, options)
	must(t, s.Start(Options{}))
	return s
}

func TestEveryWatcherSeesEverythingInOrder(t *testing.T) {
	s := openMemory(t, Options{})
	const watchers, writers, each = 20, 4, 1000
	tapes := make([]tape, watchers)
	for i := range tapes {
		s.Watch(tapes[i].record)
	}
	var writing sync.WaitGroup
	for g := range writers {
		writing.Go(func() {
			for i := range each {
				set(t, s, fmt.Sprintf("w%d/%d", g, i%10), "1")
			}
		})
	}
	writing.Wait()
	s.Close()
	for i := range tapes {
		if got := len(tapes[i].events); got != writers*each {
			t.Fatalf("watcher %d saw %d events, want %d", i, got, writers*each)
		}
		for n, e := range tapes[i].events {
			if e.Object.Revision != uint64(n+1) {
				t.Fatalf("watcher %d saw revision %d at place %d", i, e.Object.Revision, n+1)
			}
		}
	}
}

func TestWatchSeesWhatFollowsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openMemory(t, Options{NoBroadcastKeys: []string{"hidden/*"}})
		set(t, s, "a", "0")
		var seen tape
		s.Watch(seen.record)
		set(t, s, "a", "1")
		set(t, s, "hidden/a", "2")
		set(t, s, "b/1", "3")
		must(t, s.Del("a"))
		must(t, s.Del("b/*"))
		set(t, s, "c", "4")
		must(t, s.DelSilent("c"))
		s.Clear()
		s.Close()
		want := []string{"set a 1", "set b/1 3", "del a 1", "del b/*", "set c 4", "clear "}
		if got := seen.lines(); !slices.Equal(got, want) {
			t.Errorf("saw %q, want %q", got, want)
		}
	})
}

func TestStopEndsAWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openMemory(t, Options{})
		defer s.Close()
		var seen tape
		var stop func()
		stop = s.Watch(func(e Event) {
			seen.record(e)
			stop() // from the callback itself
			stop()
		})
		for i := range 1000 {
			set(t, s, numbered(i), "1")
		}
		synctest.Wait()
		stop()
		if got := seen.lines(); len(got) != 1 {
			t.Errorf("saw %d events, want the one in which it stopped", len(got))
		}
		if got := s.Stats(); got.Watchers != 0 || got.Lag != 0 {
			t.Errorf("Stats = %+v, want no watcher", got)
		}
	})
}

// A stop function that the caller keeps, or a callback that never returns, holds
// nothing of what is written after the stop.
func TestStoppedWatchHoldsNothing(t *testing.T) {
	for _, stuck := range []bool{false, true} {
		t.Run(fmt.Sprintf("stuck=%v", stuck), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := openMemory(t, Options{})
				release := make(chan struct{})
				stop := s.Watch(func(Event) {
					if stuck {
						<-release
					}
				})
				set(t, s, "a", "1")
				synctest.Wait()
				stop()
				synctest.Wait()

				// The object of the next event is let go of, by who is there too.
				var freed atomic.Bool
				s.Watch(func(e Event) {
					if e.Key == "b" && e.Operation == OperationSet {
						runtime.AddCleanup(e.Object, func(f *atomic.Bool) { f.Store(true) }, &freed)
					}
				})
				set(t, s, "b", "1")
				must(t, s.Del("b"))
				for i := range 10_000 {
					set(t, s, numbered(i%10), "1")
				}
				for i := 0; i < 500 && !freed.Load(); i++ {
					runtime.GC()
					runtime.Gosched()
				}
				if !freed.Load() {
					t.Error("the stopped watch keeps events")
				}
				runtime.KeepAlive(stop)
				close(release)
				s.Close()
			})
		})
	}
}

func TestPanickingCallbackGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, logged := logs()
		s := openMemory(t, Options{Logger: logger})
		var seen tape
		s.Watch(func(e Event) {
			seen.record(e)
			panic("a fault in " + e.Key)
		})
		set(t, s, "a", "1")
		set(t, s, "b", "2")
		s.Close()
		if got := seen.lines(); !slices.Equal(got, []string{"set a 1", "set b 2"}) {
			t.Errorf("saw %q", got)
		}
		for _, want := range []string{"a fault in a", "a fault in b", "watch_test.go"} {
			if !strings.Contains(logged(), want) {
				t.Errorf("the log does not tell of %q:\n%s", want, logged())
			}
		}
	})
}

func TestStuckWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openMemory(t, Options{})
		release := make(chan struct{})
		var slow, quick tape
		s.Watch(func(e Event) {
			<-release
			slow.record(e)
		})
		s.Watch(quick.record)
		const n = 5 * backlogLimit
		for i := range n {
			set(t, s, numbered(i%10), fmt.Sprint(i))
			if i%1000 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if got := len(quick.lines()); got != n {
			t.Errorf("the other watcher saw %d events of %d", got, n)
		}
		stats := s.Stats()
		if stats.Lag > backlogLimit+10 || stats.Coalesced == 0 {
			t.Errorf("Stats = %+v, want a bounded lag and coalesced events", stats)
		}
		close(release)
		s.Close()
		if got := len(slow.events) + int(stats.Coalesced); got != n {
			t.Errorf("%d events delivered and %d coalesced of %d", len(slow.events), stats.Coalesced, n)
		}
		var last uint64
		for _, e := range slow.events {
			if e.Object.Revision <= last {
				t.Fatalf("revision %d came after %d", e.Object.Revision, last)
			}
			last = e.Object.Revision
		}
		for i, e := range newestOfEach(slow.events) {
			if want := uint64(n - 9 + i); e.Object.Revision != want {
				t.Errorf("the last event of %s has revision %d, want %d", e.Key, e.Object.Revision, want)
			}
		}
	})
}

func TestCallbackMayUseTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openMemory(t, Options{})
		var seen tape
		s.Watch(func(e Event) {
			seen.record(e)
			if n := len(e.Object.Data); n < 2000 {
				set(t, s, e.Key, strings.Repeat("1", n+1))
			}
			if _, err := s.GetN("*", 1); err != nil {
				t.Error(err)
			}
			s.Watch(func(Event) {})() // one more, and gone
			s.Stats()
		})
		set(t, s, "a", "1")
		synctest.Wait()
		if got := len(seen.lines()); got != 2000 {
			t.Errorf("saw %d events, want 2000", got)
		}
		s.Close()
	})
}

func TestCloseInCallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openMemory(t, Options{})
		var others tape
		closed := make(chan time.Duration, 1)
		s.Watch(func(Event) {
			begin := time.Now()
			s.Close()
			closed <- time.Since(begin)
		})
		s.Watch(others.record)
		set(t, s, "a", "1")
		if took := <-closed; took > drainLimit {
			t.Errorf("Close took %v", took)
		}
		if s.Active() || len(others.lines()) != 1 {
			t.Errorf("after Close the store is active: %v; the other watcher saw %q", s.Active(), others.lines())
		}
	})
}

func TestCloseDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openMemory(t, Options{Workers: 2})
		var slow, sharded tape
		s.Watch(func(e Event) {
			time.Sleep(time.Millisecond)
			slow.record(e)
		})
		receive(s.WatchSharded(), sharded.record)
		for i := range 3000 {
			set(t, s, numbered(i), "1")
		}
		s.Close()
		if got := len(slow.lines()); got != 3000 {
			t.Errorf("the slow watcher got %d events of 3000", got)
		}
		synctest.Wait() // what is in the channels' buffers is the consumer's
		if got := len(sharded.lines()); got != 3000 {
			t.Errorf("the channels brought %d events of 3000", got)
		}
	})
}

// The bounds of Close hold for consumers that are stuck and for those that are too slow.
func TestCloseIsBounded(t *testing.T) {
	tests := []struct {
		name  string
		pause time.Duration
		want  time.Duration
	}{
		{"stuck", time.Hour, drainIdle},
		{"slow", 700 * time.Millisecond, drainLimit},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := openMemory(t, Options{})
				s.Watch(func(Event) { time.Sleep(test.pause) })
				for i := range 100 {
					set(t, s, numbered(i), "1")
				}
				begin := time.Now()
				s.Close()
				if took := time.Since(begin); took > test.want {
					t.Errorf("Close took %v, want at most %v", took, test.want)
				}
				time.Sleep(2 * test.pause) // the callback returns, and its goroutine ends
			})
		})
	}
}

func TestWatchOnAStoreThatIsClosed(t *testing.T) {
	s := New(LayeredConfig{Memory: NewMemoryLayer()})
	s.Watch(func(Event) { t.Error("an event of a store that is not active") })()
	if _, open := <-s.WatchSharded().Shard(0); open {
		t.Error("an event of a store that is not active")
	}
	must(t, s.Start(Options{}))
	s.Watch(nil)()
	r := s.run.Load()
	s.Close()
	r.feed.watch(func(Event) { t.Error("an event after Close") })() // a Watch that came late
}
