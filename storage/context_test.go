package storage

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oolith-db/oolith/meta"
)

// contextWrites are the writes that a context can end. Each sets "a".
var contextWrites = []struct {
	name  string
	write func(ctx context.Context, s *Layered) error
}{
	{"SetContext", func(ctx context.Context, s *Layered) error {
		return failure(s.SetContext(ctx, "a", json.RawMessage("1"), SetOptions{}))
	}},
	{"CommitContext", func(ctx context.Context, s *Layered) error {
		var b Batch
		b.Set("a", json.RawMessage("1"))
		b.Set("b", json.RawMessage("1"))
		return failure(s.CommitContext(ctx, &b))
	}},
	{"UpdateContext", func(ctx context.Context, s *Layered) error {
		return failure(s.UpdateContext(ctx, "a", func(meta.Object) (json.RawMessage, error) { return json.RawMessage("1"), nil }))
	}},
}

func TestContextBeforeTheWrite(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, w := range contextWrites {
		s := inMemory(t)
		if err := w.write(ended, s); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a context that has ended = %v", w.name, err)
		}
		var none context.Context
		if err := w.write(none, s); !errors.Is(err, ErrInvalidOptions) {
			t.Errorf("%s without a context = %v", w.name, err)
		}
		expect(t, s, "a", "")
		must(t, w.write(t.Context(), s))
		expect(t, s, "a", "1")
	}
}

// stuckCommits makes each commit of a layer wait: for the returned gate, at its beginning.
func stuckCommits(layer *fakeBatcher) *gate {
	g := newGate()
	layer.onCommit(func([]Change) error { g.pass(); return nil })
	return g
}

// A write that waits behind a disk is withdrawn when its context ends: nothing is written, and those before and behind
// it are.
func TestContextEndsInTheQueue(t *testing.T) {
	for _, w := range contextWrites {
		t.Run(w.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				layer := newFakeBatcher()
				s := withLayer(t, layer)
				g := stuckCommits(layer)
				var group sync.WaitGroup
				group.Go(func() { set(t, s, "first", "1") })
				<-g.arrived
				group.Go(func() { set(t, s, "before", "1") })
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				begin := time.Now()
				group.Go(func() {
					if err := w.write(ctx, s); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("%s = %v, want the context's error", w.name, err)
					}
					if took := time.Since(begin); took != time.Minute {
						t.Errorf("%s came back after %v", w.name, took)
					}
				})
				synctest.Wait()
				group.Go(func() { set(t, s, "behind", "1") })
				time.Sleep(time.Hour)
				close(g.open)
				group.Wait()
				expect(t, s, "a", "")
				expect(t, s, "b", "")
				for _, path := range []string{"first", "before", "behind"} {
					expect(t, s, path, "1")
				}
				if got := object(t, s, "behind").Revision; got != 3 {
					t.Errorf("the write behind it has revision %d, want 3", got)
				}
			})
		})
	}
}

// A write that is in a commit is awaited, whatever becomes of its context.
func TestContextEndsInTheCommit(t *testing.T) {
	for _, async := range []bool{false, true} {
		for _, w := range contextWrites {
			t.Run(w.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					layer := newFakeBatcher()
					over := EmbeddedLayer(layer)
					if async {
						over = &fakeAsync{fakeBatcher: layer}
					}
					s := withLayer(t, over)
					g := stuckCommits(layer)
					ctx, cancel := context.WithCancel(t.Context())
					var group sync.WaitGroup
					var answered atomic.Bool
					group.Go(func() {
						if err := w.write(ctx, s); err != nil {
							t.Errorf("%s in a commit = %v", w.name, err)
						}
						answered.Store(true)
					})
					<-g.arrived
					group.Go(func() { set(t, s, "first", "1") })
					synctest.Wait()
					cancel()
					synctest.Wait()
					if answered.Load() {
						t.Errorf("%s came back before its outcome was known", w.name)
					}
					close(g.open)
					group.Wait()
					expect(t, s, "a", "1")
				})
			})
		}
	}
}

// The leader of a group that waits for the syncs of two others gives up too, and hands the lead on.
func TestContextOfALeaderThatWaits(t *testing.T) {
	for _, w := range contextWrites {
		t.Run(w.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				layer := newFakeBatcher()
				syncs := newGate()
				s := withLayer(t, &fakeAsync{fakeBatcher: layer, sync: func([]Change) error { syncs.pass(); return nil }})
				var group sync.WaitGroup
				for _, path := range []string{"first", "second"} {
					group.Go(func() { set(t, s, path, "1") })
					synctest.Wait()
				}
				ctx, cancel := context.WithCancel(t.Context())
				var gaveUp error
				group.Go(func() { gaveUp = w.write(ctx, s) })
				synctest.Wait()
				group.Go(func() { set(t, s, "behind", "1") })
				synctest.Wait()
				cancel()
				synctest.Wait()
				if !errors.Is(gaveUp, context.Canceled) {
					t.Errorf("%s = %v, want the context's error", w.name, gaveUp)
				}
				close(syncs.open)
				group.Wait()
				expect(t, s, "a", "")
				expect(t, s, "behind", "1")
			})
		})
	}
}

// Contexts that end at any time: each write was made, or came back with the context's error and left no trace. The store
// takes writes and closes behind all of it.
func TestContextsRace(t *testing.T) {
	each(t, Options{}, nil, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		var group sync.WaitGroup
		var mu sync.Mutex // guards made
		made := map[string]bool{}
		for g := range 8 {
			group.Go(func() {
				for i := range 100 {
					path := numbered(g*1000 + i)
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Microsecond)
					_, err := s.SetContext(ctx, path, json.RawMessage("1"), SetOptions{})
					cancel()
					if err != nil && !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("SetContext = %v", err)
					}
					mu.Lock()
					made[path] = err == nil
					mu.Unlock()
				}
			})
		}
		group.Wait()
		for path, was := range made {
			if _, err := s.Get(path); (err == nil) != was {
				t.Errorf("%s was written: %v, and Get = %v", path, was, err)
			}
		}
		set(t, s, "end", "1")
	})
}

func TestIterateContext(t *testing.T) {
	each(t, Options{}, nil, func(t *testing.T, k kind, s *Layered, _ *fakeBatcher) {
		var want []string
		for i := range 10 {
			set(t, s, numbered(i), "1")
			want = append(want, numbered(i))
		}
		all := func(ctx context.Context, end func()) (paths []string, err error) {
			for obj, err := range s.IterateContext(ctx, "k/*", ListOptions{}) {
				if err != nil {
					return paths, err
				}
				if paths = append(paths, obj.Path); len(paths) == 3 {
					end()
				}
			}
			return paths, nil
		}
		paths, err := all(t.Context(), func() {})
		if err != nil || !slices.Equal(paths, want) {
			t.Errorf("IterateContext = %q, %v, want %q", paths, err, want)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range 2 { // the second time it has ended before
			paths, err = all(ctx, cancel)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("IterateContext whose context ended = %q, %v", paths, err)
			}
		}
		if len(paths) != 0 {
			t.Errorf("with a context that has ended it yields %q", paths)
		}
	})
}
