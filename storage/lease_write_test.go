package storage

import (
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// boundWrites are the writes that can be bound to a lease. Each changes something if it is made.
var boundWrites = []struct {
	name  string
	write func(s *Layered, lease *Lease) error
}{
	{"SetWith", func(s *Layered, l *Lease) error {
		return failure(s.SetWith("a", json.RawMessage("2"), SetOptions{Lease: l}))
	}},
	{"SetWith of a new path", func(s *Layered, l *Lease) error {
		return failure(s.SetWith("new", json.RawMessage("2"), SetOptions{Lease: l, IfAbsent: true}))
	}},
	{"PushWith", func(s *Layered, l *Lease) error {
		return failure(s.PushWith("u/*", json.RawMessage("2"), SetOptions{Lease: l}))
	}},
	{"DelWith", func(s *Layered, l *Lease) error { return s.DelWith("a", DelOptions{Lease: l}) }},
	{"TouchWith", func(s *Layered, l *Lease) error { return failure(s.TouchWith("a", SetOptions{Lease: l})) }},
	{"Commit with one change bound", func(s *Layered, l *Lease) error {
		var b Batch
		b.Set("b", json.RawMessage("2"))
		b.SetWith("a", json.RawMessage("2"), SetOptions{Lease: l})
		return failure(s.Commit(&b))
	}},
	{"Commit with a delete bound", func(s *Layered, l *Lease) error {
		var b Batch
		b.Set("b", json.RawMessage("2"))
		b.DelWith("a", DelOptions{Lease: l})
		return failure(s.Commit(&b))
	}},
}

// A write that is bound to a lease is made as long as the lease holds its lock, of whichever path, and leaves no trace
// once it does not.
func TestWritesBoundToALease(t *testing.T) {
	lost := func(t *testing.T, s *Layered, lease *Lease, want error) {
		t.Helper()
		before, revision := object(t, s, "a"), s.run.Load().pipeline.revision.Load()
		for _, bound := range boundWrites {
			if err := bound.write(s, lease); !errors.Is(err, want) || errors.Is(err, ErrNotActive) {
				t.Errorf("%s = %v, want %v", bound.name, err, want)
			}
		}
		if keys, err := s.Keys(); err != nil || len(keys) != 1 || !same(object(t, s, "a"), before) {
			t.Errorf("refused writes left %v, %v", keys, err)
		}
		if got := s.run.Load().pipeline.revision.Load(); got != revision {
			t.Errorf("refused writes took revisions %d to %d", revision, got)
		}
	}
	for _, bound := range boundWrites {
		t.Run(bound.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := inMemory(t)
				for _, path := range []string{"a", "somewhere/else"} {
					must(t, s.Truncate())
					set(t, s, "a", "1")
					lease := acquire(t, s, path, time.Minute)
					time.Sleep(time.Minute - 1)
					must(t, bound.write(s, lease))
					must(t, lease.Release())
				}
			})
		})
	}
	t.Run("lost", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, other := inMemory(t), inMemory(t)
			set(t, s, "a", "1")
			released := acquire(t, s, "a", time.Minute)
			must(t, released.Release())
			lost(t, s, released, ErrLeaseLost)
			expired := acquire(t, s, "a", time.Minute)
			time.Sleep(time.Minute)
			lost(t, s, expired, ErrLeaseLost)
			lost(t, s, &Lease{}, ErrLeaseLost)
			lost(t, s, acquire(t, other, "a", time.Minute), ErrInvalidOptions)

			earlier := acquire(t, s, "a", time.Minute)
			restart(t, s)
			set(t, s, "a", "1")
			lost(t, s, earlier, ErrLeaseLost)
		})
	})
}

// What counts is the moment at which a write takes its place, however long it waits for it.
func TestLeaseIsLostInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := newFakeBatcher()
		s := withLayer(t, layer)
		lease := acquire(t, s, "lock", time.Minute)
		kept := acquire(t, s, "kept", time.Hour)
		g := newGate()
		var passed atomic.Bool
		layer.onCommit(func([]Change) error {
			if passed.CompareAndSwap(false, true) {
				g.pass()
			}
			return nil
		})
		var group sync.WaitGroup
		group.Go(func() { set(t, s, "first", "1") })
		<-g.arrived
		errs := make([]error, 2)
		for i, l := range []*Lease{lease, kept} {
			path := []string{"a", "b"}[i]
			group.Go(func() { errs[i] = failure(s.SetWith(path, json.RawMessage("1"), SetOptions{Lease: l})) })
		}
		time.Sleep(time.Minute) // both wait in the queue, and one of the leases ends
		close(g.open)
		group.Wait()
		if !errors.Is(errs[0], ErrLeaseLost) || errs[1] != nil {
			t.Errorf("the writes = %v and %v, want ErrLeaseLost and none", errs[0], errs[1])
		}
		expect(t, s, "a", "")
		expect(t, s, "b", "1")
	})
}

// Holders that outlive their leases write on: no write of an earlier holder comes behind one of a later.
func TestBoundWritesRaceWithExpiry(t *testing.T) {
	s := inMemory(t)
	var last, refused, made atomic.Int64
	stop := s.Watch(func(e Event) {
		var token int64
		if err := json.Unmarshal(e.Object.Data, &token); err != nil {
			t.Errorf("an event has %s: %v", e.Object.Data, err)
		}
		if before := last.Swap(token); token < before {
			t.Errorf("a write of lease %d comes behind one of %d", token, before)
		}
	})
	defer stop()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 300 {
				lease, err := s.Acquire(t.Context(), "lock", 50*time.Microsecond)
				if err != nil {
					t.Errorf("Acquire = %v", err)
					return
				}
				data, err := json.Marshal(lease.Token())
				for err == nil {
					if _, err = s.SetWith("a", data, SetOptions{Lease: lease}); err == nil {
						made.Add(1)
					}
				}
				if !errors.Is(err, ErrLeaseLost) {
					t.Errorf("SetWith = %v, want ErrLeaseLost", err)
				}
				refused.Add(1)
			}
		})
	}
	group.Wait()
	if refused.Load() != 8*300 || made.Load() == 0 {
		t.Errorf("%d writes were refused, %d made", refused.Load(), made.Load())
	}
}

func TestTryAcquire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		taken := func(when string) {
			t.Helper()
			if lease, err := s.TryAcquire("a", time.Minute); !errors.Is(err, ErrLocked) || lease != nil {
				t.Errorf("TryAcquire %s = %v, %v, want ErrLocked", when, lease, err)
			}
		}
		first, err := s.TryAcquire("a", time.Minute)
		must(t, err)
		checkHeld(t, s, first)
		taken("of a lease")
		time.Sleep(time.Minute - 1)
		taken("at the last moment")
		time.Sleep(1)
		second, err := s.TryAcquire("a", time.Minute) // also when the timer is late
		must(t, err)
		checkLost(t, first)
		if second.Token() <= first.Token() || !second.Expires().Equal(time.Now().Add(time.Minute)) {
			t.Errorf("the second lease is %d until %v", second.Token(), second.Expires())
		}
		must(t, second.Release())
		must(t, s.Lock("a"))
		taken("of a lock")
		must(t, s.Unlock("a"))
		for _, c := range []struct {
			path string
			ttl  time.Duration
			want error
		}{{"a/*", 1, ErrCantLockGlob}, {"", 1, ErrInvalidPath}, {"a", 0, ErrInvalidTTL}, {"a", -1, ErrInvalidTTL}} {
			if lease, err := s.TryAcquire(c.path, c.ttl); !errors.Is(err, c.want) || lease != nil {
				t.Errorf("TryAcquire(%q, %v) = %v, %v, want %v", c.path, c.ttl, lease, err, c.want)
			}
		}
		checkNoLocks(t, s)
		s.Close()
		if _, err := s.TryAcquire("a", time.Minute); !errors.Is(err, ErrNotActive) {
			t.Errorf("TryAcquire of a closed store = %v, want ErrNotActive", err)
		}
	})
}

// failure is the error of a call that returns something else too.
func failure[T any](_ T, err error) error { return err }
