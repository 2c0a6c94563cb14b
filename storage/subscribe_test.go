package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSubscriptionTellsStateAndChanges(t *testing.T) {
	tests := []struct {
		pattern       string
		state, change []string
	}{
		{"a/*",
			[]string{"state a/1 1", "state a/2 1", "live"},
			[]string{"set a/1 2", "set a/3 2", "del a/2 1", "set a/1 5", "del a/1 5 +", "del a/3 2", "set a/9 6", "del a/9 6"}},
		{"a/1",
			[]string{"state a/1 1", "live"},
			[]string{"set a/1 2", "set a/1 5", "del a/1 5"}},
		{"*/1*",
			[]string{"state a/1 1", "state b/1 1", "live"},
			[]string{"set a/1 2", "set b/10 3", "set a/1 5", "del a/1 5", "del b/1 1 +", "del b/10 3"}},
		{"none/*", []string{"live"}, nil},
		{"",
			[]string{"state a/1 1", "state a/2 1", "state b/1 1", "state c 1", "live"},
			[]string{
				"set a/1 2", "set a/3 2", "set b/10 3", "del a/2 1", "set c 4", "set a/1 5",
				"del a/1 5 +", "del a/3 2", "set a/9 6", "del a/9 6 +", "del b/1 1 +", "del b/10 3 +", "del c 4",
			}},
	}
	for _, test := range tests {
		t.Run(test.pattern, func(t *testing.T) {
			forEachKind(t, Options{}, func(t *testing.T, s *Layered, _ storeKind) {
				for _, path := range []string{"a/1", "a/2", "b/1", "c"} {
					set(t, s, path, "1")
				}
				sub := subscribe(t, s, test.pattern, SubscribeOptions{})
				wantTold(t, sub, test.state...)
				set(t, s, "a/1", "2")
				set(t, s, "a/3", "2")
				set(t, s, "b/10", "3")
				must(t, s.Del("a/2"))
				set(t, s, "c", "4")
				set(t, s, "a/1", "5")
				must(t, s.Del("a/*"))
				must(t, s.Del("none/*"))
				set(t, s, "a/9", "6")
				must(t, s.Truncate())
				must(t, s.Truncate()) // of nothing
				notices, err := restOf(t, sub)
				must(t, err)
				if got := sortedParts(notices); !slices.Equal(got, test.change) {
					t.Errorf("%q tells\n\t%q\nwant\n\t%q", test.pattern, got, test.change)
				}
				set(t, s, "d", "7")
				must(t, s.Del("d"))
			})
		})
	}
}

// sortedParts is noticeTexts with the keys of a change, whose order is that of the store's kind, sorted by path.
func sortedParts(notices []Notice) []string {
	begin := 0
	for i, n := range notices {
		if !n.More {
			slices.SortFunc(notices[begin:i+1], func(a, b Notice) int { return strings.Compare(a.Path, b.Path) })
			for k := begin; k <= i; k++ {
				notices[k].More = k < i
			}
			begin = i + 1
		}
	}
	return noticeTexts(notices)
}

func TestNoticesCarryRevisions(t *testing.T) {
	forEachKind(t, Options{}, func(t *testing.T, s *Layered, _ storeKind) {
		set(t, s, "a/1", "1")
		set(t, s, "b", "1")
		begin := s.Stats().Revision
		sub := subscribe(t, s, "a/*", SubscribeOptions{})
		if got := sub.Revision(); got != 0 {
			t.Errorf("Revision is %d before NoticeLive, want 0", got)
		}
		set(t, s, "a/2", "2")
		must(t, s.Del("a/1"))
		notices, err := restOf(t, sub)
		must(t, err)
		want := []uint64{begin - 1, begin, begin + 1, begin + 2}
		if len(notices) != len(want) {
			t.Fatalf("told %q", noticeTexts(notices))
		}
		for i, n := range notices {
			if n.Revision != want[i] {
				t.Errorf("%s has revision %d, want %d", noticeText(n), n.Revision, want[i])
			}
		}
		if obj := notices[3].Object; obj.Revision != begin-1 {
			t.Errorf("the object of a delete has revision %d, want its own, %d", obj.Revision, begin-1)
		}
		if got := sub.Revision(); got != begin+2 {
			t.Errorf("Revision is %d, want %d", got, begin+2)
		}
		// What concerns others moves the revision of one who has caught up on.
		set(t, s, "b", "3")
		if got := sub.Revision(); got != begin+3 {
			t.Errorf("Revision is %d after a change of another key, want %d", got, begin+3)
		}
		set(t, s, "a/3", "3")
		set(t, s, "b", "4")
		if got := sub.Revision(); got != begin+3 {
			t.Errorf("Revision is %d with a change of %d to tell, want %d", got, begin+4, begin+3)
		}
	})
}

func TestBatchesComeWhole(t *testing.T) {
	forEachKind(t, Options{NoBroadcastKeys: []string{"hidden/*"}}, func(t *testing.T, s *Layered, kind storeKind) {
		if !kind.batches {
			return
		}
		set(t, s, "a/1", "1")
		all, as, bs := subscribe(t, s, "", SubscribeOptions{}), subscribe(t, s, "a/*", SubscribeOptions{}), subscribe(t, s, "b", SubscribeOptions{})
		for _, sub := range []*Subscription{all, as, bs} {
			toldNow(t, sub)
		}
		before := s.Stats().Revision
		batchOf(t, s, "2", "a/2", "b", "-a/1", "a/3", "hidden/1")
		set(t, s, "a/4", "3")
		batchOf(t, s, "4", "hidden/1", "a/1", "hidden/2")
		batchOf(t, s, "5", "b")
		wantTold(t, all, "set a/2 2 +", "set b 2 +", "del a/1 1 +", "set a/3 2", "set a/4 3", "set a/1 4", "set b 5")
		// What is told in part is not known: a revision to resume from comes behind the whole.
		for _, want := range []struct {
			told     string
			revision uint64
		}{{"set a/2 2 +", before}, {"del a/1 1 +", before}, {"set a/3 2", before + 4}} {
			if got := nextNotice(t, as); got != want.told || as.Revision() != want.revision {
				t.Errorf("told %q, with Revision %d, want %q, %d", got, as.Revision(), want.told, want.revision)
			}
		}
		wantTold(t, as, "set a/4 3", "set a/1 4")
		if text := nextNotice(t, bs); text != "set b 2" {
			t.Errorf("the only matching part of a batch is told as %q", text)
		}
		if got := bs.Revision(); got != before+2 {
			t.Errorf("Revision is %d behind it, want %d", got, before+2)
		}
		wantTold(t, bs, "set b 5")
	})
}

func TestWhatIsNotTold(t *testing.T) {
	options := Options{NoBroadcastKeys: []string{"hidden", "logs/*/raw"}}
	forEachKind(t, options, func(t *testing.T, s *Layered, kind storeKind) {
		for _, path := range []string{"hidden", "logs/1/raw", "logs/1/text", "a/1", "a/2", "a/3"} {
			set(t, s, path, "1")
		}
		sub := subscribe(t, s, "", SubscribeOptions{})
		wantTold(t, sub, "state a/1 1", "state a/2 1", "state a/3 1", "state logs/1/text 1", "live")
		set(t, s, "hidden", "2")
		must(t, s.DelSilent("a/1"))
		must(t, s.DelSilent("a/*"))
		must(t, s.Del("hidden"))
		set(t, s, "hidden", "3")
		wantTold(t, sub)
		must(t, s.Del("logs/*/*"))
		wantTold(t, sub, "del logs/1/text 1")
		hidden := subscribe(t, s, "logs/1/raw", SubscribeOptions{})
		set(t, s, "logs/1/raw", "4")
		wantTold(t, hidden, "live")
		set(t, s, "z", "5")
		must(t, s.Truncate())
		wantTold(t, sub, "set z 5", "del z 5")
		// Writes that fail.
		if err := s.Del("none"); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		if kind.batches {
			var b Batch
			b.Set("q/1", []byte("1"))
			b.Del("none")
			if _, err := s.Commit(&b); !errors.Is(err, ErrNotFound) {
				t.Error(err)
			}
		}
		wantTold(t, sub)
	})
}

func TestRemovalsOfTheStoreAreTold(t *testing.T) {
	options := Options{Retention: []Retention{{Pattern: "log/*", Count: 2}, {Pattern: "day/*", Age: time.Hour}}}
	for _, kind := range storeKinds {
		if !kind.batches {
			continue
		}
		t.Run(kind.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(kind.open(), options)
				must(t, s.Start(Options{}))
				defer s.Close()
				sub := subscribe(t, s, "", SubscribeOptions{})
				wantTold(t, sub, "live")
				for _, path := range []string{"log/1", "log/2", "log/3"} {
					set(t, s, path, "1")
				}
				wantTold(t, sub, "set log/1 1", "set log/2 1", "set log/3 1 +", "del log/1 1")
				batchOf(t, s, "2", "log/4", "b", "log/5")
				wantTold(t, sub, "set log/4 2 +", "set b 2 +", "set log/5 2 +", "del log/2 1 +", "del log/3 1")
				_, err := s.SetWith("t", []byte("3"), SetOptions{TTL: time.Second})
				must(t, err)
				_, err = s.SetWithMeta("day/1", []byte("4"), time.Now().UnixNano(), 0)
				must(t, err)
				wantTold(t, sub, "set t 3", "set day/1 4")
				time.Sleep(2 * time.Second)
				wantTold(t, sub, "del t 3")
				time.Sleep(time.Hour)
				wantTold(t, sub, "del day/1 4")
				wantTold(t, subscribe(t, s, "", SubscribeOptions{}), "state b 2", "state log/4 2", "state log/5 2", "live")
			})
		})
	}
}

// A clear tells of what was expired and not yet removed: whoever was told of it must hear its end.
func TestClearTellsOfTheExpired(t *testing.T) {
	forEachKind(t, Options{}, func(t *testing.T, s *Layered, _ storeKind) {
		_, err := s.SetWith("t", []byte("1"), SetOptions{TTL: time.Second})
		must(t, err)
		sub := subscribe(t, s, "", SubscribeOptions{})
		wantTold(t, sub, "state t 1", "live")
		r := s.run.Load()
		r.expirer.mu.Lock()
		r.expirer.timer.Stop() // as if its turn did not come
		r.expirer.mu.Unlock()
		time.Sleep(2 * time.Second)
		wantTold(t, sub)
		late := subscribe(t, s, "*", SubscribeOptions{})
		set(t, s, "u", "2")
		must(t, s.Truncate())
		wantTold(t, sub, "set u 2", "del t 1 +", "del u 2")
		wantTold(t, late, "live", "set u 2", "del u 2")
	})
}

// What is written with a time that is over already is told, and its removal too.
func TestWhatIsWrittenExpiredIsTold(t *testing.T) {
	forEachKind(t, Options{}, func(t *testing.T, s *Layered, _ storeKind) {
		sub := subscribe(t, s, "", SubscribeOptions{})
		_, err := s.SetWith("t", []byte("1"), SetOptions{Expires: 1})
		must(t, err)
		wantTold(t, sub, "live", "set t 1", "del t 1")
	})
}

func TestSubscribeChecksItsArguments(t *testing.T) {
	s := New(LayeredConfig{Memory: NewMemoryLayer()})
	if _, err := s.Subscribe(t.Context(), "a", SubscribeOptions{}); !errors.Is(err, ErrNotActive) {
		t.Errorf("before Start: %v", err)
	}
	must(t, s.Start(Options{}))
	set(t, s, "a", "1")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name    string
		ctx     context.Context
		pattern string
		opt     SubscribeOptions
		want    error
	}{
		{"invalid path", t.Context(), "a//b", SubscribeOptions{}, ErrInvalidPath},
		{"double star in the middle", t.Context(), "a/**/b", SubscribeOptions{}, ErrInvalidPath},
		{"negative buffer", t.Context(), "a", SubscribeOptions{Buffer: -1}, ErrInvalidOptions},
		{"unknown policy", t.Context(), "a", SubscribeOptions{Lag: LagError + 1}, ErrInvalidOptions},
		{"a context that is done", gone, "a", SubscribeOptions{}, context.Canceled},
		{"from the future", t.Context(), "a", SubscribeOptions{From: 2}, ErrFutureRevision},
	}
	for _, test := range tests {
		_, err := s.Subscribe(test.ctx, test.pattern, test.opt)
		if !errors.Is(err, test.want) || !strings.Contains(err.Error(), fmt.Sprintf("subscribe %q", test.pattern)) {
			t.Errorf("%s: %v, want %v with the pattern", test.name, err, test.want)
		}
	}
	if got := s.Stats(); got.Subscriptions != 0 {
		t.Errorf("%d subscriptions are left", got.Subscriptions)
	}
	s.Close()
	if _, err := s.Subscribe(t.Context(), "a", SubscribeOptions{}); !errors.Is(err, ErrNotActive) {
		t.Errorf("after Close: %v", err)
	}
}

func TestBeforeReadRunsOnceForASubscription(t *testing.T) {
	var read []string
	s := start(t, LayeredConfig{Memory: NewMemoryLayer()}, Options{BeforeRead: func(path string) { read = append(read, path) }})
	sub := subscribe(t, s, "a/*", SubscribeOptions{})
	n, err := sub.Next(t.Context())
	must(t, err)
	if n.Kind != NoticeLive {
		t.Errorf("told %s", noticeText(n))
	}
	if !slices.Equal(read, []string{"a/*"}) {
		t.Errorf("BeforeRead got %q", read)
	}
}

func TestReasonsHaveNames(t *testing.T) {
	for reason, want := range map[Reason]string{
		ReasonNone: "none", ReasonDeleted: "deleted", ReasonExpired: "expired", ReasonLimit: "limit",
		ReasonCleared: "cleared", ReasonPattern: "pattern", 9: "Reason(9)",
	} {
		if got := reason.String(); got != want {
			t.Errorf("Reason %d is %q, want %q", uint8(reason), got, want)
		}
	}
}

func TestNoticeKindsHaveNames(t *testing.T) {
	for kind, want := range map[NoticeKind]string{
		0: "none", NoticeState: "state", NoticeLive: "live", NoticeSet: "set", NoticeDel: "del", NoticeReset: "reset", 9: "NoticeKind(9)",
	} {
		if got := kind.String(); got != want {
			t.Errorf("NoticeKind %d is %q, want %q", uint8(kind), got, want)
		}
	}
}

// Objects that a subscription tells are those that reads return, whole and clipped.
func TestNoticesHoldWhatReadsReturn(t *testing.T) {
	options := Options{Retention: []Retention{{Pattern: "a/*", Age: time.Hour}}}
	forEachKind(t, options, func(t *testing.T, s *Layered, _ storeKind) {
		set(t, s, "a/1", "1")
		sub := subscribe(t, s, "*/*", SubscribeOptions{})
		set(t, s, "a/2", "2")
		notices, err := restOf(t, sub)
		must(t, err)
		for _, n := range notices {
			if n.Kind == NoticeLive {
				continue
			}
			want, err := s.Get(n.Path)
			must(t, err)
			got := *n.Object
			if string(got.Data) != string(want.Data) || got.Created != want.Created || got.Updated != want.Updated ||
				got.Index != want.Index || got.Path != want.Path || got.Revision != want.Revision || got.Expires != want.Expires {
				t.Errorf("%s is %+v, Get returns %+v", n.Kind, got, want)
			}
			if cap(got.Data) != len(got.Data) {
				t.Errorf("the data of %s has room behind it", noticeText(n))
			}
		}
	})
}

func TestManySubscriptions(t *testing.T) {
	memoryBubble(t, Options{}, func(t *testing.T, s *Layered) {
		const n = 1200
		subs := make([]*Subscription, n)
		for i := range subs {
			pattern := fmt.Sprintf("rooms/%d/*", i)
			switch i % 3 {
			case 1:
				pattern = fmt.Sprintf("rooms/%d/door", i)
			case 2:
				pattern = fmt.Sprintf("rooms/*%d/door", i)
			}
			subs[i] = subscribe(t, s, pattern, SubscribeOptions{})
			wantTold(t, subs[i], "live")
		}
		if got := s.Stats().Subscriptions; got != n {
			t.Errorf("Stats tells of %d subscriptions, want %d", got, n)
		}
		for i := range n {
			set(t, s, fmt.Sprintf("rooms/%d/door", i), fmt.Sprint(i))
		}
		s.run.Load().feed.dispatch()
		for i, sub := range subs {
			notices, err := restOf(t, sub)
			must(t, err)
			want := 0
			for k := range n {
				if k == i || i%3 == 2 && strings.HasSuffix(fmt.Sprint(k), fmt.Sprint(i)) {
					want++
				}
			}
			if len(notices) != want {
				t.Errorf("%q tells %q, want %d notices", sub.pattern, noticeTexts(notices), want)
			}
			sub.Close()
		}
		f := &s.run.Load().feed
		if f.index.Len() != 0 || len(f.subscriptions) != 0 || s.Stats().Subscriptions != 0 {
			t.Errorf("%d subscriptions are left in the index, %d in the books", f.index.Len(), len(f.subscriptions))
		}
	})
}
