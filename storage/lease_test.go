package storage

import (
	"context"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// acquire takes a lease that is expected to be free.
func acquire(t *testing.T, s *Layered, path string, ttl time.Duration) *Lease {
	t.Helper()
	lease, err := s.Acquire(t.Context(), path, ttl)
	must(t, err)
	return lease
}

// isDone reports whether a lease has told its end.
func isDone(lease *Lease) bool {
	select {
	case <-lease.Done():
		return true
	default:
		return false
	}
}

// checkHeld verifies that a lease holds its lock, as far as anybody can tell.
func checkHeld(t *testing.T, s *Layered, lease *Lease) {
	t.Helper()
	if isDone(lease) {
		t.Error("Done is closed, want the lease held")
	}
	if err := s.Unlock(lease.Path()); !errors.Is(err, ErrLockOwned) {
		t.Errorf("Unlock = %v, want ErrLockOwned", err)
	}
	if s.TryLock(lease.Path()) {
		t.Error("TryLock took the lock of a lease")
	}
}

// checkLost verifies that a lease has ended, for good.
func checkLost(t *testing.T, lease *Lease) {
	t.Helper()
	if !isDone(lease) {
		t.Error("Done is open, want the lease ended")
	}
	for range 2 {
		if err := lease.Renew(time.Hour); !errors.Is(err, ErrLeaseLost) || errors.Is(err, ErrNotActive) {
			t.Errorf("Renew = %v, want ErrLeaseLost", err)
		}
		if err := lease.Release(); !errors.Is(err, ErrLeaseLost) || errors.Is(err, ErrNotActive) {
			t.Errorf("Release = %v, want ErrLeaseLost", err)
		}
	}
}

func TestLeaseIsALock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		for _, take := range []struct {
			name    string
			lock    func() error
			release func() error
		}{
			{"Lock", func() error { return s.Lock("a") }, func() error { return s.Unlock("a") }},
			{"GetAndLock", func() error { _, err := s.GetAndLock("a"); return err },
				func() error { _, err := s.SetAndUnlock("a", []byte("1")); return err }},
		} {
			set(t, s, "a", "1")
			must(t, take.lock())
			var lease *Lease
			go func() { lease = acquire(t, s, "a", time.Minute) }()
			time.Sleep(time.Hour) // a plain lock has no end
			if lease != nil {
				t.Fatalf("a lease was given of what %s holds", take.name)
			}
			must(t, take.release())
			synctest.Wait()
			if want := time.Now().Add(time.Minute); !lease.Expires().Equal(want) || lease.Path() != "a" {
				t.Errorf("a lease of %q until %v, want %q until %v", lease.Path(), lease.Expires(), "a", want)
			}
			locked := make(chan error, 1)
			go func() { locked <- take.lock() }()
			synctest.Wait()
			checkHeld(t, s, lease)
			must(t, lease.Release())
			synctest.Wait()
			must(t, <-locked)
			checkLost(t, lease)
			must(t, take.release())
			checkNoLocks(t, s)
		}
	})
}

func TestLeaseBelongsToItsOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := newFakeBatcher()
		s := withLayer(t, layer)
		set(t, s, "a", "1")
		lease := acquire(t, s, "a", time.Minute)
		if _, err := s.SetAndUnlock("a", []byte("2")); !errors.Is(err, ErrLockOwned) {
			t.Errorf("SetAndUnlock = %v, want ErrLockOwned", err)
		}
		checkHeld(t, s, lease)
		if n := len(layer.commits()); n != 1 {
			t.Errorf("%d commits, want the first only", n)
		}
		expect(t, s, "a", "1")
		set(t, s, "a", "3") // the lock is advisory, and how its owner writes
		expect(t, s, "a", "3")
		must(t, lease.Release())
		if err := s.Unlock("a"); !errors.Is(err, ErrLockNotFound) {
			t.Errorf("Unlock after Release = %v, want ErrLockNotFound", err)
		}
		checkNoLocks(t, s)
	})
}

// What one lease does once it has ended leaves the next holder of its lock alone.
func TestLateReleaseTouchesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		released := acquire(t, s, "a", time.Minute)
		must(t, released.Release())
		expired := acquire(t, s, "a", time.Minute)
		time.Sleep(time.Minute)
		synctest.Wait()
		checkLost(t, expired)
		must(t, s.Lock("a"))
		checkLost(t, expired)
		checkLost(t, released)
		if s.TryLock("a") {
			t.Error("a lease that had ended released another's lock")
		}
		must(t, s.Unlock("a"))
		third := acquire(t, s, "a", time.Minute)
		checkLost(t, expired)
		checkHeld(t, s, third)
	})
}

func TestLeaseBadInput(t *testing.T) {
	s := inMemory(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
		path string
		ttl  time.Duration
		want error
		says string
	}{
		{"glob", t.Context(), "a/*", time.Minute, ErrCantLockGlob, `"a/*"`},
		{"glob in the middle", t.Context(), "a/*/b", time.Minute, ErrCantLockGlob, `"a/*/b"`},
		{"empty path", t.Context(), "", time.Minute, ErrInvalidPath, `""`},
		{"invalid path", t.Context(), "a//b", time.Minute, ErrInvalidPath, `"a//b"`},
		{"long path", t.Context(), strings.Repeat("a", 1025), time.Minute, ErrInvalidPath, "1025 bytes"},
		{"no time", t.Context(), "a/b", 0, ErrInvalidTTL, "0s"},
		{"negative time", t.Context(), "a/b", -time.Second, ErrInvalidTTL, "-1s"},
		{"least time", t.Context(), "a/b", math.MinInt64, ErrInvalidTTL, "-2562047h"},
		{"ended context", ended, "a/b", time.Minute, context.Canceled, `"a/b"`},
		{"glob before the time", ended, "a/*", 0, ErrCantLockGlob, `"a/*"`},
		{"time before the context", ended, "a/b", 0, ErrInvalidTTL, "0s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lease, err := s.Acquire(c.ctx, c.path, c.ttl)
			if !errors.Is(err, c.want) || lease != nil {
				t.Errorf("Acquire = %v, %v, want no lease and %v", lease, err, c.want)
			} else if text := err.Error(); !strings.HasPrefix(text, "acquire ") || !strings.Contains(text, c.says) {
				t.Errorf("the error is %q, want it to say acquire and %s", text, c.says)
			}
			checkNoLocks(t, s)
		})
	}
}

func TestRenewBadInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		lease := acquire(t, s, "a/b", time.Minute)
		want := lease.Expires()
		time.Sleep(time.Second)
		for _, ttl := range []time.Duration{0, -1, math.MinInt64} {
			err := lease.Renew(ttl)
			if !errors.Is(err, ErrInvalidTTL) || !strings.Contains(err.Error(), ttl.String()) || !strings.Contains(err.Error(), `"a/b"`) {
				t.Errorf("Renew(%v) = %v, want ErrInvalidTTL that names the time and the path", ttl, err)
			}
		}
		if got := lease.Expires(); !got.Equal(want) {
			t.Errorf("Expires is %v after a Renew that was refused, want %v", got, want)
		}
		checkHeld(t, s, lease)
	})
}

// The longest time there is does not run over into the past.
func TestLeaseForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		lease := acquire(t, s, "a", math.MaxInt64)
		for range 3 {
			time.Sleep(1000 * time.Hour)
			checkHeld(t, s, lease)
			must(t, lease.Renew(math.MaxInt64))
		}
		must(t, lease.Release())
	})
}

func TestLeaseInactive(t *testing.T) {
	s := New(LayeredConfig{Memory: NewMemoryLayer()})
	check := func(when string) {
		t.Helper()
		if lease, err := s.Acquire(t.Context(), "a", time.Minute); !errors.Is(err, ErrNotActive) || lease != nil {
			t.Errorf("Acquire %s = %v, %v, want ErrNotActive", when, lease, err)
		}
	}
	check("before Start")
	must(t, s.Start(Options{}))
	s.Close()
	check("after Close")
}

func TestLeasesAndLocksAreFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		must(t, s.Lock("a"))
		const waiters = 30
		order := make(chan int, waiters)
		lease := func(i int, release bool) error {
			lease, err := s.Acquire(t.Context(), "a", time.Minute)
			if err != nil {
				return err
			}
			order <- i
			if !release {
				return nil
			}
			return lease.Release()
		}
		lock := func(i int) error {
			if err := s.Lock("a"); err != nil {
				return err
			}
			order <- i
			return s.Unlock("a")
		}
		for i := range waiters {
			go func() {
				var err error
				if i%2 == 0 {
					err = lease(i, i%4 == 0) // the others are left to their end
				} else {
					err = lock(i)
				}
				if err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait() // it waits in its place
		}
		must(t, s.Unlock("a"))
		for want := range waiters {
			if got := <-order; got != want {
				t.Errorf("the lock went to %d, want %d, which came before", got, want)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		checkNoLocks(t, s)
	})
}

func TestAcquireGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		lease := acquire(t, s, "a", time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if got, err := s.Acquire(ctx, "a", time.Minute); !errors.Is(err, context.DeadlineExceeded) || got != nil {
			t.Errorf("Acquire = %v, %v, want the context's error", got, err)
		}
		checkHeld(t, s, lease)
		must(t, lease.Release())
		checkNoLocks(t, s)
	})
}

// A turn that comes when its context has ended goes on to the next, once.
func TestDroppedTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		locks := s.run.Load().locks
		turn := &hold{lease: &Lease{table: locks, path: "a", ttl: time.Minute, done: make(chan struct{})}}
		must(t, locks.acquire(t.Context(), "a", turn))
		var next *Lease
		go func() { next = acquire(t, s, "a", time.Minute) }()
		synctest.Wait()
		for range 2 { // the second time it is another's
			locks.drop("a", turn)
			synctest.Wait()
			checkLost(t, turn.lease)
			checkHeld(t, s, next)
		}
		must(t, next.Release())
		locks.drop("a", turn)

		// While a SetAndUnlock writes, the release is its own.
		plain := &hold{}
		must(t, locks.acquire(t.Context(), "a", plain))
		must(t, locks.claim("a"))
		locks.drop("a", plain)
		if s.TryLock("a") {
			t.Error("a turn that was dropped released what another is releasing")
		}
		locks.release("a")
		checkNoLocks(t, s)
	})
}

func TestCloseEndsLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openMemory(t, Options{})
		held := acquire(t, s, "a", time.Minute)
		released := acquire(t, s, "b", time.Minute)
		must(t, released.Release())
		woken := make(chan error, 2)
		go func() { _, err := s.Acquire(t.Context(), "a", time.Minute); woken <- err }()
		go func() { woken <- s.Lock("a") }()
		synctest.Wait()
		s.Close()
		for range 2 {
			if err := <-woken; !errors.Is(err, ErrNotActive) {
				t.Errorf("a waiter got %v, want ErrNotActive", err)
			}
		}
		check := func(when string) {
			t.Helper()
			if !isDone(held) {
				t.Errorf("%s: Done is open", when)
			}
			for name, err := range map[string]error{"Release": held.Release(), "Renew": held.Renew(time.Minute)} {
				if !errors.Is(err, ErrLeaseLost) || !errors.Is(err, ErrNotActive) {
					t.Errorf("%s: %s = %v, want ErrLeaseLost and ErrNotActive", when, name, err)
				}
			}
			checkLost(t, released)
		}
		check("after Close")
		must(t, s.Start(Options{}))
		if !s.TryLock("a") {
			t.Error("the lease of an earlier run holds the lock")
		}
		check("after another Start")
		if s.TryLock("a") {
			t.Error("the lease of an earlier run released the lock")
		}
		time.Sleep(time.Hour)
		check("after its time")
		s.Close()
	})
}

// A lease leaves no goroutine behind: what it has is a timer, which Close stops. The
// bubble of the test ends only when all of its goroutines have.
func TestLeasesLeaveNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openMemory(t, Options{})
		var leases []*Lease
		for i := range 100 {
			leases = append(leases, acquire(t, s, numbered(i), time.Duration(1+i%7)*time.Second))
			go func() { // ends for the turn that it gets, or for Close
				if _, err := s.Acquire(context.Background(), numbered(i), time.Hour); err != nil && !errors.Is(err, ErrNotActive) {
					t.Error(err)
				}
			}()
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		for i, lease := range leases {
			if i%5 == 0 && !isDone(lease) {
				must(t, lease.Release())
			}
		}
		s.Close()
		for _, lease := range leases {
			if !isDone(lease) || lease.timer.Stop() {
				t.Fatal("a lease outlives the store")
			}
		}
	})
}

func TestTokensGrow(t *testing.T) {
	s := openMemory(t, Options{})
	defer func() { s.Close() }()
	last := uint64(0)
	for i := range 3000 {
		lease := acquire(t, s, numbered(i%3), time.Minute)
		if lease.Token() <= last {
			t.Fatalf("token %d after %d", lease.Token(), last)
		}
		last = lease.Token()
		must(t, lease.Release())
		if i%1000 == 0 { // also over a restart and in another store
			s.Close()
			s = openMemory(t, Options{})
		}
	}
}

// A lease that somebody keeps does not keep the memory of a store that is closed.
func TestLeaseHoldsNoStore(t *testing.T) {
	s := start(t, LayeredConfig{Memory: NewMemoryLayer()}, Options{})
	lease, err := s.Acquire(t.Context(), "a", time.Hour)
	must(t, err)
	collected := make(chan struct{})
	runtime.AddCleanup(s.run.Load(), func(done chan struct{}) { close(done) }, collected)
	s.Close()
	eventually(t, "the run of a closed store is collected", func() bool {
		runtime.GC()
		return isClosed(collected)
	})
	if err := lease.Release(); !errors.Is(err, ErrLeaseLost) {
		t.Errorf("Release = %v, want ErrLeaseLost", err)
	}
}
