package storage

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/oolith-db/oolith/meta"
)

// The hook of reads can be replaced while the store runs, by nil too, also in the hook; a Start that is given none
// keeps the last.
func TestSetBeforeRead(t *testing.T) {
	each(t, Options{}, nil, func(t *testing.T, k kind, s *Layered, _ *fakeBatcher) {
		set(t, s, "a", "1")
		var first, second hooks
		ran := func(what string, h *hooks, want ...string) {
			t.Helper()
			if _, err := s.Get("a"); err != nil && (k.persistent || !errors.Is(err, ErrNotFound)) {
				t.Errorf("%s: Get = %v", what, err)
			}
			if got := h.paths(); !slices.Equal(got, want) {
				t.Errorf("%s: the hook ran for %q, want %q", what, got, want)
			}
		}
		ran("without a hook", &first)
		s.SetBeforeRead(first.run)
		ran("with a hook", &first, "a")
		s.SetBeforeRead(second.run)
		ran("with another hook", &second, "a")
		ran("the first one", &first)
		second.paths()
		restart(t, s)
		ran("after a restart", &second, "a")
		s.SetBeforeRead(func(string) { s.SetBeforeRead(nil) })
		ran("in a hook", &second)
		ran("without one again", &second)
		s.Close()
		s.SetBeforeRead(first.run)
		must(t, s.Start(Options{}))
		ran("set while closed", &first, "a")
		s.Close()
		must(t, s.Start(Options{BeforeRead: second.run}))
		ran("that of Start", &second, "a")
	})
}

func TestSetBeforeReadRacesWithReads(t *testing.T) {
	s := inMemory(t)
	set(t, s, "a", "1")
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 200 {
				expect(t, s, "a", "1")
			}
		})
	}
	for range 200 {
		s.SetBeforeRead(func(string) {})
		s.SetBeforeRead(nil)
	}
	group.Wait()
}

// AfterOperation runs for each write that AfterWrite runs for, behind it, with the operation.
func TestAfterOperation(t *testing.T) {
	var seen tape
	options := Options{
		AfterWrite:     func(path string) { seen.record(Event{Key: path, Operation: "write"}) },
		AfterOperation: func(path, operation string) { seen.record(Event{Key: path, Operation: operation}) },
	}
	each(t, options, batching, func(t *testing.T, k kind, s *Layered, _ *fakeBatcher) {
		seen.mu.Lock()
		seen.events = nil
		seen.mu.Unlock()
		set(t, s, "a", "1")
		must(t, failure(s.SetWith("a", json.RawMessage("2"), SetOptions{})))
		must(t, failure(s.Touch("a", 0)))
		must(t, failure(s.Update("a", func(meta.Object) (json.RawMessage, error) { return json.RawMessage("3"), nil })))
		must(t, failure(s.SetWithMeta("a", json.RawMessage("4"), 1, 2)))
		must(t, s.Lock("a"))
		must(t, failure(s.SetAndUnlock("a", json.RawMessage("5"))))
		var b Batch
		b.Set("b", json.RawMessage("1"))
		b.Del("a")
		must(t, failure(s.Commit(&b)))
		must(t, s.Del("b"))
		must(t, s.Del("none/*"))
		set(t, s, "c", "1")
		must(t, s.DelSilent("c"))
		if err := s.Del("none"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Del = %v", err)
		}
		want := []string{"set a", "set a", "set a", "set a", "set a", "set a", "set b", "del a", "del b", "del none/*", "set c"}
		var got []string
		seen.mu.Lock()
		defer seen.mu.Unlock()
		for i, e := range seen.events {
			if i%2 == 0 {
				if e.Operation != "write" {
					t.Errorf("AfterOperation of %q runs before AfterWrite", e.Key)
				}
				continue
			}
			got = append(got, e.Operation+" "+e.Key)
		}
		if !slices.Equal(got, want) {
			t.Errorf("AfterOperation saw %q, want %q", got, want)
		}
	})
}

func TestWatchContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		ctx, cancel := context.WithCancel(t.Context())
		var seen tape
		must(t, s.WatchContext(ctx, seen.record))
		set(t, s, "a", "1")
		synctest.Wait()
		cancel()
		synctest.Wait()
		set(t, s, "a", "2")
		synctest.Wait()
		if got := seen.lines(); !slices.Equal(got, []string{"set a 1"}) {
			t.Errorf("a watch that its context ended saw %q", got)
		}
		var none context.Context
		for what, c := range map[string]struct{ got, want error }{
			"ended":       {s.WatchContext(ctx, seen.record), context.Canceled},
			"no context":  {s.WatchContext(none, seen.record), ErrInvalidOptions},
			"no callback": {s.WatchContext(t.Context(), nil), ErrInvalidOptions},
		} {
			if !errors.Is(c.got, c.want) {
				t.Errorf("%s: %v, want %v", what, c.got, c.want)
			}
		}
		s.Close()
		if err := s.WatchContext(t.Context(), seen.record); !errors.Is(err, ErrNotActive) {
			t.Errorf("WatchContext of a closed store = %v", err)
		}
	})
}
