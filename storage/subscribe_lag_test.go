package storage

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// writeKeys sets keys k/0 to k/9 in turn, from one value to another, and hands it on.
func writeKeys(t testing.TB, s *Layered, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		set(t, s, numbered(i%10), fmt.Sprint(i))
	}
	s.run.Load().feed.dispatch()
}

func TestUpToItsBufferNothingIsLost(t *testing.T) {
	for _, policy := range []LagPolicy{LagReset, LagNewest, LagError} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			memoryBubble(t, Options{}, func(t *testing.T, s *Layered) {
				sub := subscribe(t, s, "k/*", SubscribeOptions{Lag: policy, Buffer: 40})
				for round := range 5 {
					var want []string
					if round == 0 {
						want = append(want, "live")
					}
					for i := round * 40; i < round*40+40; i++ {
						want = append(want, fmt.Sprintf("set %s %d", numbered(i%10), i))
					}
					writeKeys(t, s, round*40, round*40+40)
					if got := sub.Lag(); got != 40 {
						t.Errorf("Lag is %d with 40 changes to tell", got)
					}
					if got := s.Stats(); got.SubscriptionLag != 40 || got.Subscriptions != 1 {
						t.Errorf("Stats = %+v", got)
					}
					wantTold(t, sub, want...)
				}
				if got := s.Stats(); got.SubscriptionLag != 0 || got.SubscriptionResets != 0 || got.SubscriptionsCoalesced != 0 {
					t.Errorf("Stats = %+v, want no lag, no reset, nothing coalesced", got)
				}
			})
		})
	}
}

// All that is to be told counts as lag: what was missed before a resumption, and the rest of a batch.
func TestLagCountsAllThatWaits(t *testing.T) {
	memoryBubble(t, Options{}, func(t *testing.T, s *Layered) {
		sub := subscribe(t, s, "k/*", SubscribeOptions{})
		set(t, s, "other", "1")
		batchOf(t, s, "2", "k/1", "other", "k/2", "k/3")
		set(t, s, "k/1", "3")
		s.run.Load().feed.dispatch()
		resumed := subscribe(t, s, "k/*", SubscribeOptions{From: 1})
		for _, one := range []struct {
			name string
			sub  *Subscription
			lags []int // before each notice
		}{{"from the beginning", sub, []int{4, 4, 3, 2}}, {"resumed", resumed, []int{4, 3, 2, 1}}} {
			for i, want := range one.lags {
				if got := one.sub.Lag(); got != want {
					t.Errorf("%s: Lag is %d before notice %d, want %d", one.name, got, i, want)
				}
				nextNotice(t, one.sub)
			}
		}
		half := subscribe(t, s, "k/*", SubscribeOptions{From: 1})
		nextNotice(t, half)
		for _, sub := range []*Subscription{sub, resumed, half} {
			if sub.Close(); sub.Lag() != 0 {
				t.Errorf("Lag is %d after Close", sub.Lag())
			}
		}
	})
}

func TestLagResetBeginsAnew(t *testing.T) {
	forEachKind(t, Options{}, func(t *testing.T, s *Layered, _ storeKind) {
		set(t, s, "k/x", "77")
		sub := subscribe(t, s, "k/*", SubscribeOptions{Buffer: 5})
		quick := subscribe(t, s, "k/x", SubscribeOptions{Buffer: 5})
		wantTold(t, sub, "state k/x 77", "live")
		known := sub.Revision()
		writeKeys(t, s, 0, 6)
		if got := sub.Lag(); got < 5 {
			t.Errorf("Lag is %d of one that fell behind by more than 5", got)
		}
		if got := sub.Revision(); got != known {
			t.Errorf("Revision is %d, want %d, up to which all was told", got, known)
		}
		set(t, s, "k/0", "6")
		must(t, s.Del("k/1"))
		notices, err := restOf(t, sub)
		must(t, err)
		want := []string{"reset", "state k/0 6", "state k/2 2", "state k/3 3", "state k/4 4", "state k/5 5", "state k/x 77", "live"}
		// What comes first says what it is.
		if got := noticeTexts(notices[:1]); !slices.Equal(got, want[:1]) {
			t.Errorf("first it tells %q", got)
		}
		if got := noticeTexts(notices[1:]); !slices.Equal(got, want[1:]) {
			t.Errorf("then it tells %q, want %q", got, want[1:])
		}
		if notices[0].Revision != s.Stats().Revision || sub.Revision() != s.Stats().Revision {
			t.Errorf("the reset has revision %d, then Revision is %d; want %d", notices[0].Revision, sub.Revision(), s.Stats().Revision)
		}
		if got := s.Stats(); got.SubscriptionResets != 1 || got.SubscriptionLag != 0 {
			t.Errorf("Stats = %+v, want one reset and no lag", got)
		}
		set(t, s, "k/7", "7")
		wantTold(t, sub, "set k/7 7")
		wantTold(t, quick, "state k/x 77", "live")
	})
}

// Who stops within the fresh state has nothing to resume from: what was known is to be forgotten.
func TestNothingToResumeFromWithinAFreshState(t *testing.T) {
	forEachKind(t, Options{}, func(t *testing.T, s *Layered, _ storeKind) {
		writeKeys(t, s, 0, 5)
		sub := subscribe(t, s, "k/*", SubscribeOptions{Buffer: 2})
		toldNow(t, sub)
		for range 4 {
			set(t, s, "k/0", "6")
		}
		synctest.Wait()
		if got := nextNotice(t, sub); got != "reset" {
			t.Fatalf("told %q, want a reset", got)
		}
		for i := range 5 {
			if got := sub.Revision(); got != 0 {
				t.Errorf("Revision is %d when %d of 5 objects are told", got, i)
			}
			nextNotice(t, sub)
		}
		wantTold(t, sub, "live")
		if got := sub.Revision(); got != s.Stats().Revision {
			t.Errorf("Revision is %d behind the state, want %d", got, s.Stats().Revision)
		}
	})
}

// A state that is being told comes to its end, and a resumption too, before the reset: a
// subscriber that is always too slow sees whole states.
func TestLagResetNeverCutsAStateShort(t *testing.T) {
	forEachKind(t, Options{}, func(t *testing.T, s *Layered, _ storeKind) {
		set(t, s, "k/a", "1")
		set(t, s, "k/b", "1")
		set(t, s, "k/c", "1")
		sub := subscribe(t, s, "k/*", SubscribeOptions{Buffer: 2})
		var seen []string
		for round := range 4 {
			for _, path := range []string{"k/a", "k/b", "k/c"} {
				seen = append(seen, nextNotice(t, sub))
				set(t, s, path, fmt.Sprint(round+2))
				s.run.Load().feed.dispatch()
			}
			seen = append(seen, nextNotice(t, sub), nextNotice(t, sub)) // live, reset
		}
		want := []string{}
		for round := range 4 {
			for _, path := range []string{"k/a", "k/b", "k/c"} {
				want = append(want, fmt.Sprintf("state %s %d", path, round+1))
			}
			want = append(want, "live", "reset")
		}
		got := slices.Clone(seen)
		for i := 0; i < len(got); i += 5 {
			slices.Sort(got[i : i+3])
		}
		if !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}

		begin := s.Stats().Revision
		writeKeys(t, s, 0, 3)
		resumed := subscribe(t, s, "k/*", SubscribeOptions{From: begin, Buffer: 2})
		writeKeys(t, s, 3, 6)
		got = toldNow(t, resumed)
		want = []string{"set k/0 0", "set k/1 1", "set k/2 2", "live", "reset"}
		if len(got) != 15 || !slices.Equal(got[:5], want) {
			t.Errorf("a resumption that fell behind tells %q", got)
		}
	})
}

// A batch that finds room is taken whole, however large it is: what comes next decides.
func TestLargeBatchesFitIn(t *testing.T) {
	memoryBubble(t, Options{}, func(t *testing.T, s *Layered) {
		for i := range 10 {
			set(t, s, numbered(i), "1")
		}
		sub := subscribe(t, s, "k/*", SubscribeOptions{Buffer: 3, Lag: LagError})
		toldNow(t, sub)
		must(t, s.Del("k/*"))
		if got := toldNow(t, sub); len(got) != 10 || got[9] != "del k/9 1" || got[8] != "del k/8 1 +" {
			t.Errorf("told %q", got)
		}
		set(t, s, "k/1", "2")
		set(t, s, "k/2", "2")
		s.run.Load().feed.dispatch()
		batchOf(t, s, "3", "k/1", "k/4", "k/5", "k/6") // over the buffer, and nothing is coalesced
		batchOf(t, s, "4", "k/7", "k/8")
		s.run.Load().feed.dispatch()
		wantEnd(t, sub, ErrLagged, "set k/1 2", "set k/2 2", "set k/1 3 +", "set k/4 3 +", "set k/5 3 +", "set k/6 3")
	})
}

func TestLagNewestKeepsTheNewestOfEachKey(t *testing.T) {
	forEachKind(t, Options{}, func(t *testing.T, s *Layered, _ storeKind) {
		sub := subscribe(t, s, "k/*", SubscribeOptions{Lag: LagNewest, Buffer: 15})
		wantTold(t, sub, "live")
		writeKeys(t, s, 0, 95)
		must(t, s.Del("k/3"))
		set(t, s, "k/x", "77")
		s.run.Load().feed.dispatch()
		// k/3 came and went: nothing tells of it.
		if got := sub.Lag(); got != 10 {
			t.Errorf("Lag is %d, with 10 keys that are new", got)
		}
		if got := s.Stats().SubscriptionsCoalesced; got != 97-10 {
			t.Errorf("Stats tells of %d changes that are not told, want %d", got, 97-10)
		}
		var want []string
		for i := 85; i < 95; i++ {
			if i%10 != 3 {
				want = append(want, fmt.Sprintf("set %s %d", numbered(i%10), i))
			}
		}
		wantTold(t, sub, append(want, "set k/x 77")...)
		writeKeys(t, s, 100, 112) // it has caught up: all is told again
		if got := toldNow(t, sub); len(got) != 12 {
			t.Errorf("then it tells %q", got)
		}
		sub.Close()
		if got := s.Stats(); got.SubscriptionsCoalesced != 97-10 || got.Subscriptions != 0 {
			t.Errorf("Stats = %+v after Close", got)
		}
	})
}

// Once a part of a batch is told with More, the next notice is of that batch, whatever comes.
func TestLagNewestTellsABatchThatItBegan(t *testing.T) {
	memoryBubble(t, Options{}, func(t *testing.T, s *Layered) {
		sub := subscribe(t, s, "k/*", SubscribeOptions{Lag: LagNewest, Buffer: 4})
		wantTold(t, sub, "live")
		batchOf(t, s, "70", "k/1", "k/2", "k/3")
		s.run.Load().feed.dispatch()
		if got := nextNotice(t, sub); got != "set k/1 70 +" {
			t.Errorf("told %q", got)
		}
		writeKeys(t, s, 0, 50)
		for _, want := range []string{"set k/2 70 +", "set k/3 70"} {
			if got := nextNotice(t, sub); got != want {
				t.Errorf("told %q, want %q", got, want)
			}
		}
		if got := toldNow(t, sub); len(got) != 10 || got[0] != "set k/0 40" || got[9] != "set k/9 49" {
			t.Errorf("then %q", got)
		}
		// Of a batch that waits, some keys are superseded: More is true of what is left.
		batchOf(t, s, "80", "k/1", "k/2", "k/3", "k/4", "k/5")
		set(t, s, "k/5", "90")
		set(t, s, "k/3", "90")
		set(t, s, "k/1", "90")
		wantTold(t, sub, "set k/2 80 +", "set k/4 80", "set k/5 90", "set k/3 90", "set k/1 90")
	})
}

func TestLagErrorEndsBehindWhatWaits(t *testing.T) {
	forEachKind(t, Options{}, func(t *testing.T, s *Layered, _ storeKind) {
		sub := subscribe(t, s, "k/*", SubscribeOptions{Lag: LagError, Buffer: 3})
		wantTold(t, sub, "live")
		writeKeys(t, s, 0, 3)
		lastTold := s.Stats().Revision
		writeKeys(t, s, 3, 9)
		wantEnd(t, sub, ErrLagged, "set k/0 0", "set k/1 1", "set k/2 2")
		if got := sub.Revision(); got != lastTold {
			t.Errorf("Revision is %d, want %d, up to which all was told", got, lastTold)
		}
		writeKeys(t, s, 9, 10)
		if got := sub.Revision(); got != lastTold {
			t.Errorf("Revision is %d later on, want %d", got, lastTold)
		}
		resume(t, s, "k/*", lastTold, "set k/3 3", "set k/4 4", "set k/5 5", "set k/6 6", "set k/7 7", "set k/8 8", "set k/9 9", "live")
		sub.Close()
		wantEnd(t, sub, ErrSubscriptionClosed)
	})
}

// A state does not count as lag, and the changes behind it do.
func TestLagErrorWhileAStateIsTold(t *testing.T) {
	memoryBubble(t, Options{}, func(t *testing.T, s *Layered) {
		writeKeys(t, s, 0, 10)
		sub := subscribe(t, s, "k/*", SubscribeOptions{Lag: LagError, Buffer: 2})
		writeKeys(t, s, 10, 14)
		notices, err := restOf(t, sub)
		if got := noticeTexts(notices); len(got) != 13 || got[10] != "live" || got[12] != "set k/1 11" {
			t.Errorf("told %q, then %v", got, err)
		}
		wantEnd(t, sub, ErrLagged)
	})
}

// A subscriber that never reads costs its buffer, or an entry for each key, whatever is written, and
// the feed keeps its history and no more.
func TestSubscriberThatNeverReadsIsBounded(t *testing.T) {
	memoryBubble(t, Options{History: 500}, func(t *testing.T, s *Layered) {
		const buffer, keys, writes = 100, 50, 60_000
		subs := map[string]*Subscription{
			"reset":  subscribe(t, s, "k/*", SubscribeOptions{Buffer: buffer}),
			"newest": subscribe(t, s, "k/*", SubscribeOptions{Buffer: buffer, Lag: LagNewest}),
			"error":  subscribe(t, s, "k/*", SubscribeOptions{Buffer: buffer, Lag: LagError}),
			"other":  subscribe(t, s, "other/*", SubscribeOptions{Buffer: buffer}),
		}
		f := &s.run.Load().feed
		for i := range writes {
			set(t, s, numbered(i%keys), "1")
			if i%1000 == 0 {
				for name, sub := range subs {
					sub.mu.Lock()
					room, newest := cap(sub.queue.slots), len(sub.queue.newest)
					sub.mu.Unlock()
					if room > 8*buffer || newest > keys {
						t.Fatalf("%s: room for %d changes and %d keys after %d writes", name, room, newest, i)
					}
				}
				f.mu.Lock()
				kept, room := f.history.n, len(f.history.ring)
				f.mu.Unlock()
				if kept > 500 || room > 501 {
					t.Fatalf("the history keeps %d changes in room for %d", kept, room)
				}
				if n, _ := f.backlog(); n > feedFold+1 {
					t.Fatalf("%d changes wait for the feed", n)
				}
			}
		}
		if got := s.Stats(); got.SubscriptionLag > buffer+1 || got.Subscriptions != 4 {
			t.Errorf("Stats = %+v", got)
		}
	})
}

// backlog is how many changes wait for the feed, and how large their data is.
func (f *feed) backlog() (changes, bytes int) {
	f.incoming.Lock()
	defer f.incoming.Unlock()
	return len(f.waiting), f.bytes
}

// When the feed gets no turn, writers do its work before too much waits, and nothing is lost.
func TestWritersHelpTheFeed(t *testing.T) {
	memoryBubble(t, Options{}, func(t *testing.T, s *Layered) {
		sub := subscribe(t, s, "k/*", SubscribeOptions{Buffer: 10 * feedFold})
		f := &s.run.Load().feed
		f.busy = true // its goroutine gets no turn
		data := make([]byte, 1<<20)
		for i := range data {
			data[i] = '1'
		}
		for range 40 {
			_, err := s.Set("k/large", data)
			must(t, err)
			if _, n := f.backlog(); n > feedFoldBytes+len(data) { // and one change
				t.Fatalf("%d bytes wait", n)
			}
		}
		writeKeys(t, s, 0, 0)
		for i := range 2*feedFold + 10 {
			set(t, s, numbered(i%10), "1")
			if n, _ := f.backlog(); n > feedFold+1 {
				t.Fatalf("%d changes wait", n)
			}
		}
		f.dispatch()
		if got := sub.Lag(); got != 40+2*feedFold+10 {
			t.Errorf("%d changes came, want %d", got, 40+2*feedFold+10)
		}
	})
}

// The last fresh state, at the end of the store, is begun by Next or by Close: each may find that the other is at it, or
// has been. Whoever looks second neither takes away the notice that says it is a fresh one, nor the state that is read.
func TestTheLastStateBeginsOnce(t *testing.T) {
	for _, c := range []struct {
		name    string
		catchUp bool
		first   string
	}{{"reset", false, "reset"}, {"catch-up", true, "catch-up"}} {
		t.Run(c.name, func(t *testing.T) {
			memoryBubble(t, Options{}, func(t *testing.T, s *Layered) {
				set(t, s, "k/9", "0")
				sub := subscribe(t, s, "k/*", SubscribeOptions{Buffer: 2, CatchUp: c.catchUp})
				wantTold(t, sub, "state k/9 0", "live")
				writeKeys(t, s, 0, 3)
				r := s.run.Load()
				last := func(reading bool) {
					r.feed.mu.Lock()
					defer r.feed.mu.Unlock()
					must(t, sub.beginLast(r, reading))
				}
				if _, _, next, _ := sub.takeAtHand(); next != stepRefresh {
					t.Fatalf("the next step is %v, want a fresh state", next)
				}
				last(false) // of Close, which saw that the subscription fell behind before Next did
				last(true)
				last(true)
				sub.mu.Lock()
				sub.endReadLocked()
				sub.mu.Unlock()
				if got := nextNotice(t, sub); got != c.first {
					t.Fatalf("it begins anew with %s, want %s", got, c.first)
				}
				if _, _, next, _ := sub.takeAtHand(); next != stepRead {
					t.Fatalf("the next step is %v, want to read the state", next)
				}
				sub.mu.Lock()
				sub.overflow = true // it falls behind once more, while Next reads
				sub.mu.Unlock()
				set(t, s, "k/1", "9")
				last(false)
				if n, ok, err := sub.read(); !ok || err != nil || string(n.Object.Data) == "9" {
					t.Errorf("reading the state gives %v, %v, %v", noticeText(n), ok, err)
				}
				for range 3 {
					if got := nextNotice(t, sub); !strings.HasPrefix(got, "state ") && !strings.HasPrefix(got, "unchanged ") {
						t.Errorf("of the rest of the state it tells %s", got)
					}
				}
			})
		})
	}
}
