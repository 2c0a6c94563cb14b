package storage

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// writingHandler is a log handler that writes to the store whose records it gets.
type writingHandler struct {
	slog.Handler
	store *Layered
	told  atomic.Int32
}

func (h *writingHandler) Handle(context.Context, slog.Record) error {
	h.told.Add(1)
	_, err := h.store.Set("records/1", []byte("1"))
	if errors.Is(err, ErrNotActive) {
		return nil
	}
	return err
}

// A log handler may write to the store: nothing is logged under a lock, nor by who leads the commits.
func TestLogHandlerThatWrites(t *testing.T) {
	refuseDeletes := func(f *fakeBatcher) {
		f.onCommit(func(changes []Change) error {
			for i, c := range changes {
				if c.Object == nil {
					return &EntryError{i, errors.New("kept")}
				}
			}
			return nil
		})
	}
	cases := map[string]struct {
		lists bool // come from the layer
		make  func(t *testing.T, s *Layered, f *fakeBatcher)
	}{
		"a list that is too long": {false, func(t *testing.T, s *Layered, f *fakeBatcher) {
			refuseDeletes(f)
			for range 3 {
				_, err := s.Push("logs/*", []byte("1"))
				must(t, err)
			}
		}},
		"what cannot be removed": {false, func(t *testing.T, s *Layered, f *fakeBatcher) {
			refuseDeletes(f)
			_, err := s.SetWith("a", []byte("1"), SetOptions{TTL: time.Second})
			must(t, err)
			time.Sleep(2 * time.Second)
		}},
		"a search that ends": {true, func(t *testing.T, s *Layered, f *fakeBatcher) {
			s.Close()
			f.onCall(func(method, _ string) error {
				if method == "Scan" {
					return errors.New("unreadable")
				}
				return nil
			})
			must(t, s.Start(Options{}))
		}},
		"a watcher that panics": {false, func(t *testing.T, s *Layered, f *fakeBatcher) {
			s.Watch(func(e Event) {
				if e.Key == "a" {
					panic("on purpose")
				}
			})
			set(t, s, "a", "1")
		}},
		"a clear that fails": {false, func(t *testing.T, s *Layered, f *fakeBatcher) {
			set(t, s, "a", "1")
			refuseDeletes(f)
			s.Clear()
		}},
		"a layer that does not close": {false, func(t *testing.T, s *Layered, f *fakeBatcher) {
			s.cfg.Embedded.(*fakeScanner).closing = func() { panic("on purpose") }
			s.Close()
			s.cfg.Embedded.(*fakeScanner).closing = nil
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := newFakeBatcher()
				cfg := LayeredConfig{Embedded: &fakeScanner{fakeBatcher: fake}}
				if !c.lists {
					cfg.Memory = NewMemoryLayer()
				}
				handler := &writingHandler{Handler: slog.DiscardHandler}
				options := Options{Logger: slog.New(&enabled{handler})}
				if !c.lists {
					options.Retention = []Retention{{Pattern: "logs/*", Count: 1}}
				}
				s := New(cfg, options)
				handler.store = s
				must(t, s.Start(Options{}))
				defer s.Close()
				c.make(t, s, fake)
				synctest.Wait()
				if handler.told.Load() == 0 {
					t.Error("nothing was logged")
				}
			})
		})
	}
}

// enabled is a handler of all levels.
type enabled struct{ slog.Handler }

func (enabled) Enabled(context.Context, slog.Level) bool { return true }
