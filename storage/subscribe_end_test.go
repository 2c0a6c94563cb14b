package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// waitingNext calls Next on a goroutine, which waits when it returns, and returns where its error comes.
func waitingNext(t *testing.T, ctx context.Context, sub *Subscription) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		_, err := sub.Next(ctx)
		ended <- err
	}()
	synctest.Wait()
	return ended
}

func TestCloseEndsASubscription(t *testing.T) {
	forEachKind(t, Options{}, func(t *testing.T, s *Layered, _ storeKind) {
		for i := range 3 {
			set(t, s, numbered(i), "1")
		}
		fresh, midway, live, idle := subscribe(t, s, "k/*", SubscribeOptions{}), subscribe(t, s, "k/*", SubscribeOptions{}),
			subscribe(t, s, "k/*", SubscribeOptions{}), subscribe(t, s, "k/*", SubscribeOptions{})
		nextNotice(t, midway)
		toldNow(t, live)
		toldNow(t, idle)
		ended := waitingNext(t, t.Context(), idle)
		idle.Close()
		if err := <-ended; !errors.Is(err, ErrSubscriptionClosed) || !strings.Contains(err.Error(), `"k/*"`) {
			t.Errorf("a Next that waited returns %v", err)
		}
		set(t, s, "k/1", "2")
		for _, sub := range []*Subscription{fresh, midway, live, idle} {
			sideBySide(sub.Close, sub.Close)
			sub.Close()
			wantEnd(t, sub, ErrSubscriptionClosed)
			if sub.Lag() != 0 {
				t.Errorf("Lag is %d after Close", sub.Lag())
			}
		}
		if got := s.Stats().Subscriptions; got != 0 {
			t.Errorf("%d subscriptions are left", got)
		}
		set(t, s, "k/1", "3") // for nobody
	})
}

func TestContextsOfASubscription(t *testing.T) {
	memoryBubble(t, Options{}, func(t *testing.T, s *Layered) {
		ctx, cancel := context.WithCancel(t.Context())
		sub, err := s.Subscribe(ctx, "k/*", SubscribeOptions{})
		must(t, err)
		wantTold(t, sub, "live")

		// That of Next ends a Next that waits, and the subscription goes on.
		own, end := context.WithCancel(t.Context())
		ended := waitingNext(t, own, sub)
		end()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("a Next whose context ended returns %v", err)
		}
		// It ends one that would not have to wait, too: a busy loop comes to its end.
		set(t, s, "k/1", "1")
		if n, err := sub.Next(own); !errors.Is(err, context.Canceled) {
			t.Errorf("Next with a context that is done returns %s, %v", noticeText(n), err)
		}
		wantTold(t, sub, "set k/1 1")

		// That of Subscribe ends it at once, with changes to tell.
		set(t, s, "k/1", "2")
		cancel()
		synctest.Wait()
		wantEnd(t, sub, context.Canceled)
		if got := s.Stats().Subscriptions; got != 0 {
			t.Errorf("%d subscriptions are left", got)
		}
		sub.Close()
		wantEnd(t, sub, context.Canceled)

		late, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		sub, err = s.Subscribe(late, "k/*", SubscribeOptions{})
		must(t, err)
		wantTold(t, sub, "state k/1 2", "live")
		if err := <-waitingNext(t, t.Context(), sub); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a Next that waited for the deadline of the subscription returns %v", err)
		}
	})
}

func TestCloseOfTheStoreDeliversFirst(t *testing.T) {
	for _, kind := range storeKinds {
		t.Run(kind.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(kind.open())
				must(t, s.Start(Options{}))
				live, idle := subscribe(t, s, "k/*", SubscribeOptions{}), subscribe(t, s, "none", SubscribeOptions{})
				wantTold(t, live, "live")
				wantTold(t, idle, "live")
				ended := waitingNext(t, t.Context(), idle)
				var want []string
				for i := range 2000 {
					set(t, s, numbered(i), "1")
					want = append(want, "set "+numbered(i)+" 1")
				}
				last := s.Stats().Revision
				s.Close()
				if err := <-ended; !errors.Is(err, ErrNotActive) {
					t.Errorf("a Next that waited returns %v", err)
				}
				wantEnd(t, live, ErrNotActive, want...)
				if got := live.Revision(); got != last {
					t.Errorf("Revision is %d, want %d", got, last)
				}
				must(t, s.Start(Options{}))
				set(t, s, "k/1", "2")
				wantEnd(t, live, ErrNotActive) // it is of the run before
				s.Close()
				live.Close()
				wantEnd(t, live, ErrSubscriptionClosed)
			})
		})
	}
}

// What has not begun to read its state when the store is closed gets it all the same: from memory at any
// time, from the layer as long as Close waits.
func TestCloseOfTheStoreWaitsForStates(t *testing.T) {
	for _, kind := range storeKinds {
		t.Run(kind.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(kind.open())
				must(t, s.Start(Options{}))
				set(t, s, "k/1", "1")
				set(t, s, "k/2", "1")
				begun := subscribe(t, s, "k/*", SubscribeOptions{})
				lagged := subscribe(t, s, "k/*", SubscribeOptions{Buffer: 1})
				wantTold(t, lagged, "state k/1 1", "state k/2 1", "live")
				nextNotice(t, begun)
				writeKeys(t, s, 5, 8)
				if kind.streams {
					go s.Close()
					synctest.Wait()
					if _, err := s.Get("k/1"); !errors.Is(err, ErrNotActive) {
						t.Errorf("Get returns %v while the store is being closed", err)
					}
				} else {
					s.Close()
				}
				notices, err := restOf(t, begun)
				if got := noticeTexts(notices); len(got) != 5 || got[1] != "live" || got[4] != "set k/7 7" || !errors.Is(err, ErrNotActive) {
					t.Errorf("one that was in its state tells %q and ends with %v", got, err)
				}
				wantEnd(t, lagged, ErrNotActive, "reset", "state k/1 1", "state k/2 1", "state k/5 5", "state k/6 6", "state k/7 7", "live")
				s.Close()
			})
		})
	}
}

// A subscriber that does not read its state from the layer holds a Close up for a bounded time. It
// gets ErrNotActive then, and no scan is left behind.
func TestCloseOfTheStoreDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := newStreamAsync()
		s := New(LayeredConfig{Embedded: layer})
		must(t, s.Start(Options{}))
		for i := range 10 {
			set(t, s, numbered(i), "1")
		}
		stuck := subscribe(t, s, "", SubscribeOptions{})
		nextNotice(t, stuck)
		lagged := subscribe(t, s, "k/*", SubscribeOptions{Buffer: 1})
		toldNow(t, lagged)
		writeKeys(t, s, 0, 5)
		slow := subscribe(t, s, "k/*", SubscribeOptions{})
		done := make(chan error)
		go func() {
			for {
				time.Sleep(700 * time.Millisecond)
				if _, err := slow.Next(t.Context()); err != nil {
					done <- err
					return
				}
			}
		}()
		begin := time.Now()
		s.Close()
		if took := time.Since(begin); took < drainIdle || took > drainLimit {
			t.Errorf("Close took %v, with one that reads slowly", took)
		}
		if got := layer.scans(); got != 0 {
			t.Errorf("%d scans are left", got)
		}
		wantEnd(t, stuck, ErrNotActive)
		wantEnd(t, lagged, ErrNotActive)
		if err := <-done; !errors.Is(err, ErrNotActive) {
			t.Errorf("the slow one ends with %v", err)
		}
	})
}

func TestScansEndWithTheirSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := newStreamAsync()
		s := start(t, LayeredConfig{Embedded: layer}, Options{})
		for i := range 10 {
			set(t, s, numbered(i), "1")
		}
		synctest.Wait() // the search for what expires scans too
		whole, closed, untouched := subscribe(t, s, "", SubscribeOptions{}), subscribe(t, s, "", SubscribeOptions{}), subscribe(t, s, "", SubscribeOptions{})
		ctx, cancel := context.WithCancel(t.Context())
		cancelled, err := s.Subscribe(ctx, "", SubscribeOptions{})
		must(t, err)
		if got := layer.scans(); got != 4 {
			t.Fatalf("%d scans are under way, want 4", got)
		}
		toldNow(t, whole)
		nextNotice(t, closed)
		closed.Close()
		nextNotice(t, cancelled)
		cancel()
		synctest.Wait()
		if got := layer.scans(); got != 1 {
			t.Errorf("%d scans are under way, want the one that nobody reads", got)
		}
		untouched.Close()
		if got := layer.scans(); got != 0 {
			t.Errorf("%d scans are left", got)
		}
	})
}

func TestLoopsOverASubscription(t *testing.T) {
	memoryBubble(t, Options{}, func(t *testing.T, s *Layered) {
		writeKeys(t, s, 0, 3)
		sub := subscribe(t, s, "k/*", SubscribeOptions{})
		var seen []Notice
		loop := func(n int) {
			for notice, err := range sub.All(t.Context()) {
				must(t, err)
				seen = append(seen, notice)
				if n--; n == 0 {
					return
				}
			}
		}
		loop(2)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic of a loop's body got lost")
				}
			}()
			for notice, err := range sub.All(t.Context()) {
				must(t, err)
				seen = append(seen, notice)
				panic("a panic in a loop")
			}
		}()
		writeKeys(t, s, 3, 5)
		loop(3)
		want := []string{"state k/0 0", "state k/1 1", "state k/2 2", "live", "set k/3 3", "set k/4 4"}
		if got := noticeTexts(seen); !slices.Equal(got, want) {
			t.Errorf("the loops saw %q, want %q", got, want)
		}
		sub.Close()
		n := 0
		for notice, err := range sub.All(t.Context()) {
			if n++; n > 1 || !errors.Is(err, ErrSubscriptionClosed) || notice != (Notice{}) {
				t.Errorf("a loop over a closed subscription sees %s, %v", noticeText(notice), err)
			}
		}
		if n != 1 {
			t.Errorf("it runs %d times, want once, with the error", n)
		}
	})
}

// A subscriber may use the store, and its own subscription, between two notices.
func TestSubscriberUsesTheStore(t *testing.T) {
	forEachKind(t, Options{}, func(t *testing.T, s *Layered, _ storeKind) {
		sub := subscribe(t, s, "", SubscribeOptions{Buffer: 4})
		set(t, s, "n", "0")
		n := 0
		for notice, err := range sub.All(t.Context()) {
			must(t, err)
			if notice.Kind != NoticeSet {
				continue
			}
			if n++; n == 100 {
				sub.Close()
				break
			}
			set(t, s, "n", fmt.Sprint(n))
			sub.Revision()
			sub.Lag()
			s.Stats()
			other := subscribe(t, s, "n", SubscribeOptions{})
			wantTold(t, other, fmt.Sprintf("state n %d", n), "live")
			other.Close()
		}
	})
}

// A store that takes no more writes can be subscribed to, and its subscriptions go on.
func TestSubscribeToAStoreThatTakesNoWrites(t *testing.T) {
	for _, kind := range storeKinds {
		if !kind.batches || kind.name == "memory" {
			continue
		}
		t.Run(kind.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := kind.open()
				s := New(cfg)
				must(t, s.Start(Options{}))
				defer s.Close()
				set(t, s, "k/1", "1")
				before := subscribe(t, s, "k/*", SubscribeOptions{})
				lagged := subscribe(t, s, "k/*", SubscribeOptions{Buffer: 1})
				toldNow(t, lagged)
				writeKeys(t, s, 2, 4)
				failing := func([]Change) error { return errors.New("disk gone") }
				switch layer := cfg.Embedded.(type) {
				case *fakeBatcher:
					layer.commit = failing
				case *streamAsync:
					layer.commit = failing
				}
				if _, err := s.Set("k/1", []byte("9")); !errors.Is(err, ErrWritesStopped) {
					t.Fatalf("Set returns %v", err)
				}
				wantTold(t, before, "state k/1 1", "live", "set k/2 2", "set k/3 3")
				state := []string{"state k/1 1", "state k/2 2", "state k/3 3", "live"}
				wantTold(t, subscribe(t, s, "k/*", SubscribeOptions{}), state...)
				wantTold(t, lagged, append([]string{"reset"}, state...)...)
				resume(t, s, "k/3", s.Stats().Revision-1, "set k/3 3", "live")
			})
		})
	}
}

// Close does not wait for a read of the layer that is under way, which then lets go of its scan.
func TestCloseWhileAStateIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := newStreamAsync()
		s := start(t, LayeredConfig{Embedded: layer}, Options{})
		writeKeys1(t, s, 3)
		synctest.Wait() // the search for what expires scans too
		g := newGate()
		var once atomic.Bool
		layer.scanned = func(path string) error {
			if path == "k/1" && once.CompareAndSwap(false, true) {
				g.pass()
			}
			return nil
		}
		sub := subscribe(t, s, "", SubscribeOptions{})
		nextNotice(t, sub)
		ended := make(chan error, 1)
		go func() {
			_, err := sub.Next(t.Context())
			ended <- err
		}()
		<-g.arrived
		sub.Close()
		sub.Close()
		set(t, s, "k/1", "2") // nobody waits for the reader
		wantTold(t, subscribe(t, s, "k/1", SubscribeOptions{}), "state k/1 2", "live")
		close(g.open)
		if err := <-ended; !errors.Is(err, ErrSubscriptionClosed) {
			t.Errorf("Next returns %v", err)
		}
		if got := layer.scans(); got != 0 {
			t.Errorf("%d scans are left", got)
		}
	})
}

// So it is when a laggard takes a fresh state.
func TestCloseWhileAFreshStateIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := newStreamAsync()
		s := start(t, LayeredConfig{Embedded: layer}, Options{})
		writeKeys1(t, s, 3)
		synctest.Wait() // the search for what expires scans too
		sub := subscribe(t, s, "", SubscribeOptions{Buffer: 1})
		toldNow(t, sub)
		writeKeys(t, s, 0, 3)
		g := newGate()
		layer.scanned = func(string) error { g.pass(); return nil }
		ended := make(chan error, 1)
		go func() {
			_, err := sub.Next(t.Context())
			ended <- err
		}()
		<-g.arrived
		sub.Close()
		close(g.open)
		if err := <-ended; !errors.Is(err, ErrSubscriptionClosed) {
			t.Errorf("Next returns %v", err)
		}
		if n := layer.scans(); n != 0 || s.Stats().Subscriptions != 0 {
			t.Errorf("%d scans and %d subscriptions are left", n, s.Stats().Subscriptions)
		}
		set(t, s, "k/1", "2")
	})
}

// A subscription takes its place behind the writes before it, those in the sync of the layer included.
func TestSubscribeBehindWritesInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := newStreamAsync()
		s := withLayer(t, layer)
		g := newGate()
		layer.sync = func() error { g.pass(); return nil }
		go set(t, s, "k/1", "1")
		<-g.arrived
		go set(t, s, "k/2", "1")
		<-g.arrived
		subscribed := make(chan *Subscription)
		go func() { subscribed <- subscribe(t, s, "k/*", SubscribeOptions{}) }()
		synctest.Wait()
		go set(t, s, "k/3", "1")
		synctest.Wait()
		select {
		case <-subscribed:
			t.Fatal("Subscribe returned before the writes before it were durable")
		default:
		}
		close(g.open)
		wantTold(t, <-subscribed, "state k/1 1", "state k/2 1", "live", "set k/3 1")
	})
}
