package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// checkNoLocks verifies that the registry holds nothing when nothing is locked.
func checkNoLocks(t *testing.T, s *Layered) {
	t.Helper()
	table := s.run.Load().locks
	table.mu.Lock()
	defer table.mu.Unlock()
	if len(table.held) != 0 {
		t.Errorf("the registry holds %d locks, want none", len(table.held))
	}
}

func TestLocksAreFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		must(t, s.Lock("a"))
		var order []int // guarded by the lock itself
		for i := range 50 {
			go func() {
				if err := s.Lock("a"); err != nil {
					t.Error(err)
				}
				order = append(order, i)
				must(t, s.Unlock("a"))
			}()
			synctest.Wait() // it waits in its place
		}
		must(t, s.Unlock("a"))
		synctest.Wait()
		if !slices.IsSorted(order) || len(order) != 50 {
			t.Errorf("the lock went to %v", order)
		}
		checkNoLocks(t, s)
	})
}

func TestLockContextGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		must(t, s.Lock("a"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.LockContext(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("LockContext = %v, want the context's error", err)
		}
		if err := s.LockContext(ctx, "free"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("LockContext of a free path with an ended context = %v", err)
		}
		must(t, s.Unlock("a"))
		if !s.TryLock("a") {
			t.Fatal("the lock was lost to a waiter that had given up")
		}
		must(t, s.Unlock("a"))
		checkNoLocks(t, s)
	})
}

// A cancel that races with the grant neither loses the lock nor gives it to two.
func TestCancelRacesWithGrant(t *testing.T) {
	s := inMemory(t)
	var holders atomic.Int32
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for i := range 3000 {
				ctx, cancel := context.WithCancel(t.Context())
				if (i+g)%3 != 0 {
					go cancel()
				}
				err := s.LockContext(ctx, "a")
				if err == nil {
					if n := holders.Add(1); n != 1 {
						t.Errorf("%d hold the lock", n)
					}
					holders.Add(-1)
					must(t, s.Unlock("a"))
				} else if !errors.Is(err, context.Canceled) {
					t.Errorf("LockContext = %v", err)
				}
				cancel()
			}
		})
	}
	group.Wait()
	checkNoLocks(t, s)
}

func TestCloseWakesWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openMemory(t, Options{})
		set(t, s, "a", "1")
		must(t, s.Lock("a"))
		woken := make(chan error, 2)
		go func() { woken <- s.Lock("a") }()
		go func() { _, err := s.GetAndLock("a"); woken <- err }()
		synctest.Wait()
		s.Close()
		for range 2 {
			if err := <-woken; !errors.Is(err, ErrNotActive) {
				t.Errorf("a waiter got %v, want ErrNotActive", err)
			}
		}
		must(t, s.Start(Options{}))
		if !s.TryLock("a") {
			t.Error("the lock of an earlier run is held")
		}
		s.Close()
	})
}

// A holder that comes late for its release, when the store is closing, hears that.
func TestReleaseDuringClose(t *testing.T) {
	s := inMemory(t)
	must(t, s.Lock("a"))
	locks := s.run.Load().locks
	locks.close() // what Close does while an Unlock is past its first check
	if err := s.Unlock("a"); !errors.Is(err, ErrNotActive) {
		t.Errorf("Unlock = %v, want ErrNotActive", err)
	}
	if _, err := s.SetAndUnlock("a", []byte("1")); !errors.Is(err, ErrNotActive) {
		t.Errorf("SetAndUnlock = %v, want ErrNotActive", err)
	}
}

// Of two that release one lock, one does.
func TestOneReleaseForOneLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := newFakeBatcher()
		committing, proceed := make(chan struct{}), make(chan struct{})
		layer.commit = func([]Change) error {
			committing <- struct{}{}
			<-proceed
			return nil
		}
		s := withLayer(t, layer)
		must(t, s.Lock("a"))
		released := make(chan error)
		go func() { _, err := s.SetAndUnlock("a", []byte("1")); released <- err }()
		<-committing
		if err := s.Unlock("a"); !errors.Is(err, ErrLockNotFound) {
			t.Errorf("Unlock while SetAndUnlock writes = %v, want ErrLockNotFound", err)
		}
		if _, err := s.SetAndUnlock("a", []byte("2")); !errors.Is(err, ErrLockNotFound) {
			t.Errorf("a second SetAndUnlock = %v, want ErrLockNotFound", err)
		}
		if s.TryLock("a") {
			t.Error("TryLock took a lock that is held")
		}
		next := make(chan error)
		go func() { next <- s.Lock("a") }()
		close(proceed)
		must(t, <-released)
		must(t, <-next)
		expect(t, s, "a", "1")
		must(t, s.Unlock("a"))
		checkNoLocks(t, s)
	})
}

func TestSetAndUnlockReleasesWhenTheWriteFails(t *testing.T) {
	layer := newFake()
	layer.before = func(method, _ string) error {
		if method == "Set" {
			return errors.New("disk full")
		}
		return nil
	}
	s := withLayer(t, layer)
	for _, data := range []string{"1", "{broken", ""} {
		must(t, s.Lock("a"))
		if _, err := s.SetAndUnlock("a", []byte(data)); err == nil {
			t.Errorf("SetAndUnlock of %q worked", data)
		}
		checkNoLocks(t, s)
		if err := s.Unlock("a"); !errors.Is(err, ErrLockNotFound) {
			t.Errorf("Unlock after SetAndUnlock = %v, want ErrLockNotFound", err)
		}
	}
	expect(t, s, "a", "")
}

func TestGetAndLockThatFailsHoldsNoLock(t *testing.T) {
	layer := newFake()
	fault := func() error { return ErrNotFound }
	layer.before = func(method, _ string) error {
		if method == "Get" {
			return fault()
		}
		return nil
	}
	s := start(t, LayeredConfig{Embedded: layer}, Options{})
	if _, err := s.GetAndLock("a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("GetAndLock of an absent key = %v", err)
	}
	checkNoLocks(t, s)
	fault = func() error { panic("broken layer") }
	if _, err := s.GetAndLock("a"); err == nil || !strings.Contains(err.Error(), "broken layer") {
		t.Errorf("GetAndLock over a layer that panics = %v", err)
	}
	checkNoLocks(t, s)
}

func TestLockedCounter(t *testing.T) {
	s := inMemory(t)
	set(t, s, "n", "0")
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 200 {
				obj, err := s.GetAndLock("n")
				if err != nil {
					t.Error(err)
					return
				}
				var n int
				if _, err := fmt.Sscan(string(obj.Data), &n); err != nil {
					t.Error(err)
				}
				if _, err := s.SetAndUnlock("n", fmt.Append(nil, n+1)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	expect(t, s, "n", "1600")
	checkNoLocks(t, s)
}
