package collection_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/oolith-db/oolith/collection"
	"github.com/oolith-db/oolith/storage"
)

// TestSubscribe follows a collection in which some objects do not fit: they are told too, and the
// subscription goes on.
func TestSubscribe(t *testing.T) {
	both(t, func(t *testing.T, store *home) {
		cities := open[city](t, store, "cities/*")
		raw(t, store, "cities/a", `{"name":"A","trams":1}`)
		raw(t, store, "elsewhere/a", `{}`)
		s, err := cities.Subscribe(t.Context(), storage.SubscribeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		// The state of a server is that of the moment at which it gets to it.
		var told, removed []string
		for n, err := range s.All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			told = append(told, fmt.Sprint(n.Kind, " ", n.Item.Path, " ", n.Item.Value, " @", n.Revision))
			if n.Kind == storage.NoticeLive {
				break
			}
		}
		if err := cities.Set("a", city{"A", 2}); err != nil {
			t.Fatal(err)
		}
		raw(t, store, "cities/b", `{"trams":"many"}`)
		if err := cities.Set("c", city{"C", 3}); err != nil {
			t.Fatal(err)
		}
		if err := cities.DelAll(); err != nil {
			t.Fatal(err)
		}
		for n, err := range s.All(t.Context()) {
			line := fmt.Sprint(n.Kind, " ", n.Item.Path, " ", n.Item.Value)
			if err != nil {
				isDecodeError(t, err, "cities/b")
				line = fmt.Sprint(n.Kind, " ", n.Item.Path, " does not fit")
			}
			if n.Kind == storage.NoticeDel {
				if removed = append(removed, line); !n.More {
					break
				}
				continue
			}
			told = append(told, fmt.Sprint(line, " @", n.Revision))
		}
		want := []string{
			"state cities/a {A 1} @1", "live  { 0} @2", "set cities/a {A 2} @3", "set cities/b does not fit @4", "set cities/c {C 3} @5",
		}
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
		slices.Sort(removed)
		gone := []string{"del cities/a {A 2}", "del cities/b does not fit", "del cities/c {C 3}"}
		if store.remote != nil { // what was there does not come over the network
			gone = []string{"del cities/a { 0}", "del cities/b { 0}", "del cities/c { 0}"}
		}
		if !slices.Equal(removed, gone) {
			t.Errorf("removed %q, want %q", removed, gone)
		}
		if got := s.Revision(); got != 6 {
			t.Errorf("all is told up to revision %d, want 6", got)
		}
	})
}

func TestLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := local(t)
		defer store.Close()
		cities := open[city](t, store, "cities/*")
		s, err := cities.Subscribe(t.Context(), storage.SubscribeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for i := range 3 {
			if err := cities.Set("a", city{Trams: i}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if got := s.Lag(); got != 3 {
			t.Errorf("%d changes wait, want 3", got)
		}
	})
}

func TestSubscriptionEnds(t *testing.T) {
	both(t, func(t *testing.T, store *home) {
		cities := open[city](t, store, "cities/*")
		subscribe := func(ctx context.Context) *collection.Subscription[city] {
			t.Helper()
			s, err := cities.Subscribe(ctx, storage.SubscribeOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if n, err := s.Next(t.Context()); err != nil || n.Kind != storage.NoticeLive {
				t.Fatalf("%+v, %v, want the end of an empty state", n, err)
			}
			return s
		}
		ends := func(s *collection.Subscription[city], want error) {
			t.Helper()
			calls := 0
			for n, err := range s.All(t.Context()) {
				if calls++; !errors.Is(err, want) || n != (collection.Notice[city]{}) {
					t.Errorf("%+v, %v, want %v", n, err, want)
				}
			}
			if calls != 1 {
				t.Errorf("%d notices, want the error alone", calls)
			}
		}
		closed := subscribe(t.Context())
		closed.Close()
		ends(closed, storage.ErrSubscriptionClosed)

		ctx, cancel := context.WithCancel(t.Context())
		canceled := subscribe(ctx)
		cancel()
		ends(canceled, context.Canceled)

		if store.remote != nil {
			return // a client comes back once the server has a store again
		}
		left := subscribe(t.Context())
		store.Close()
		ends(left, storage.ErrNotActive)
		if _, err := cities.Subscribe(t.Context(), storage.SubscribeOptions{}); !errors.Is(err, storage.ErrNotActive) {
			t.Errorf("Subscribe to a closed store: %v", err)
		}
	})
}
