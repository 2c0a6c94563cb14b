package storage

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

func TestChangesOnly(t *testing.T) {
	forEachKind(t, Options{History: 3}, func(t *testing.T, s *Layered, _ storeKind) {
		set(t, s, "a/1", "0")
		set(t, s, "a/2", "0")
		sub := subscribe(t, s, "a/*", SubscribeOptions{ChangesOnly: true, Buffer: 2})
		wantTold(t, sub, "live")
		if got, want := sub.Revision(), s.Revision(); got != want {
			t.Errorf("Revision is %d, want %d", got, want)
		}
		must(t, s.Del("a/1"))
		set(t, s, "a/3", "1")
		wantTold(t, sub, "del a/1 0", "set a/3 1")
		from := sub.Revision()

		set(t, s, "a/3", "2")
		resumed := subscribe(t, s, "a/*", SubscribeOptions{ChangesOnly: true, From: from})
		wantTold(t, resumed, "set a/3 2", "live")
		wantTold(t, sub, "set a/3 2")

		// One that falls behind, and one that resumes from too long ago, is told that changes are lost.
		for i := range 6 {
			set(t, s, "a/4", fmt.Sprint(i))
		}
		wantTold(t, sub, "reset", "live")
		wantTold(t, subscribe(t, s, "a/*", SubscribeOptions{ChangesOnly: true, From: from}), "reset", "live")
		set(t, s, "a/5", "3")
		wantTold(t, sub, "set a/5 3")
		if got, want := sub.Revision(), s.Revision(); got != want {
			t.Errorf("Revision is %d, want %d", got, want)
		}
	})
}

// TestOrderedStates compares states in an order with lists, where some objects are expired, or hidden.
func TestOrderedStates(t *testing.T) {
	options := Options{NoBroadcastKeys: []string{"a/7*", "b/**"}}
	forEachKind(t, options, func(t *testing.T, s *Layered, _ storeKind) {
		r := testrand.New(t)
		setCreated(t, s, "top", 40)
		for i := range 120 {
			path := fmt.Sprintf("%c/%d", 'a'+r.IntN(3), i)
			if r.IntN(4) == 0 {
				path += "/deep"
			}
			setCreated(t, s, path, int64(r.IntN(80)))
			if r.IntN(5) == 0 {
				_, err := s.Touch(path, time.Duration(1+r.IntN(2))*time.Hour)
				must(t, err)
			}
		}
		time.Sleep(time.Hour) // at that instant, what has an hour to live is past it
		for _, pattern := range []string{"", "**", "*", "*/*", "a/*", "a/*1*", "*/1*", "a/**", "c/*", "b/*", "top", "none/*", "*/*/deep"} {
			for _, order := range []StateOrder{OrderOldest, OrderNewest} {
				for _, limit := range []int{0, 1, 2, 7, 50, 1000, math.MaxInt} {
					wantOrdered(t, s, pattern, SubscribeOptions{Order: order, Limit: limit}, options.NoBroadcastKeys)
				}
			}
		}
		// Changes beyond the limit are told, too.
		sub := subscribe(t, s, "n/*", SubscribeOptions{Order: OrderNewest, Limit: 2})
		wantTold(t, sub, "live")
		for i := range 4 {
			setCreated(t, s, fmt.Sprintf("n/%d", i), int64(i))
		}
		must(t, s.Del("n/0"))
		wantTold(t, sub, "set n/0 1", "set n/1 1", "set n/2 1", "set n/3 1", "del n/0 1")
		sub = subscribe(t, s, "n/*", SubscribeOptions{Order: OrderNewest, Limit: 2, Buffer: 1})
		must(t, s.Del("n/1"))
		if got := inTurn(t, sub); !slices.Equal(got, []string{"state n/3", "state n/2", "live", "del n/1"}) {
			t.Errorf("behind its state one with a limit tells %q", got)
		}
		for range 4 {
			set(t, s, "n/3", "2")
		}
		set(t, s, "n/4", "2")
		if got := inTurn(t, sub); !slices.Equal(got, []string{"reset", "state n/4", "state n/3", "live"}) {
			t.Errorf("one with a limit that fell behind tells %q", got)
		}
	})
}

func setCreated(t *testing.T, s *Layered, path string, created int64) {
	t.Helper()
	_, err := s.SetWithMeta(path, []byte("1"), created, 0)
	must(t, err)
}

// inTurn is what a subscription tells now, each in short, in the order in which it comes.
func inTurn(t *testing.T, sub *Subscription) (lines []string) {
	t.Helper()
	notices, err := restOf(t, sub)
	must(t, err)
	for _, n := range notices {
		line := n.Kind.String()
		if n.Path != "" {
			line += " " + n.Path
		}
		lines = append(lines, line)
	}
	return lines
}

func wantOrdered(t *testing.T, s *Layered, pattern string, opt SubscribeOptions, hidden []string) {
	t.Helper()
	sub := subscribe(t, s, pattern, opt)
	defer sub.Close()
	list := pattern
	if pattern == "" {
		list = "**"
	}
	var want []meta.Object
	if key.HasGlob(list) {
		call := s.GetListDescending
		if opt.Order == OrderOldest {
			call = s.GetList
		}
		var err error
		want, err = call(list)
		must(t, err)
	} else {
		want = []meta.Object{object(t, s, list)}
	}
	want = slices.DeleteFunc(want, func(obj meta.Object) bool { return key.Contains(hidden, obj.Path) })
	if opt.Limit > 0 {
		want = want[:min(opt.Limit, len(want))]
	}
	lines := make([]string, 0, len(want)+1)
	for _, obj := range want {
		lines = append(lines, "state "+obj.Path)
	}
	if got := inTurn(t, sub); !slices.Equal(got, append(lines, "live")) {
		t.Errorf("%q in order %d, limit %d tells\n\t%q\nwant\n\t%q", pattern, opt.Order, opt.Limit, got, lines)
	}
}

// TestALimitedStateCostsItsLimit looks at what is taken while writers wait.
func TestALimitedStateCostsItsLimit(t *testing.T) {
	for _, n := range []int{500, 2000} {
		s := openMemory(t, Options{NoBroadcastKeys: []string{"d/hidden*"}})
		for i := range n {
			set(t, s, fmt.Sprintf("d/%d", i), "1")
		}
		set(t, s, "d/hidden", "1")
		for _, pattern := range []string{"", "d/*", "*/*", "**"} {
			state, err := s.run.Load().stateOf(pattern, OrderNewest, 50, true)
			must(t, err)
			if !state.arranged || len(state.lists) != 1 || cap(state.lists[0]) > 4*50 {
				t.Errorf("of %d objects %q has %d lists, or too long a one", n, pattern, len(state.lists))
			}
		}
		s.Close()
	}
}

func TestSubscribeOptionsThatContradict(t *testing.T) {
	s := openMemory(t, Options{})
	for _, c := range []struct {
		opt  SubscribeOptions
		want error
	}{
		{SubscribeOptions{Limit: 5}, ErrInvalidOptions},
		{SubscribeOptions{Limit: -1, Order: OrderNewest}, ErrInvalidLimit},
		{SubscribeOptions{Order: OrderNewest + 1}, ErrInvalidOptions},
		{SubscribeOptions{ChangesOnly: true, CatchUp: true}, ErrInvalidOptions},
		{SubscribeOptions{ChangesOnly: true, Order: OrderOldest}, ErrInvalidOptions},
		{SubscribeOptions{ChangesOnly: true, Order: OrderOldest, Limit: 1}, ErrInvalidOptions},
		{SubscribeOptions{CatchUp: true, Order: OrderOldest, Limit: 1}, ErrInvalidOptions},
	} {
		if _, err := s.Subscribe(t.Context(), "a/*", c.opt); !errors.Is(err, c.want) {
			t.Errorf("%+v: error is %v, want %v", c.opt, err, c.want)
		}
	}
}
