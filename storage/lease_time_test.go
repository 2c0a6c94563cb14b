package storage

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A holder that is stuck loses its lock at its time, to the nanosecond, and the time of the
// next one begins then.
func TestExpiryHandsTheLockOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		begin := time.Now()
		first := acquire(t, s, "a", time.Minute)
		var second *Lease
		go func() { second = acquire(t, s, "a", time.Hour) }()
		time.Sleep(time.Minute - 1)
		synctest.Wait()
		if second != nil {
			t.Fatal("the lock went on before its time")
		}
		checkHeld(t, s, first)
		time.Sleep(1)
		synctest.Wait()
		checkLost(t, first)
		if second == nil {
			t.Fatal("the lock did not go on at its time")
		}
		if got, want := second.Expires(), begin.Add(time.Minute+time.Hour); !got.Equal(want) {
			t.Errorf("the second lease ends at %v, want %v", got, want)
		}
		if got, want := first.Expires(), begin.Add(time.Minute); !got.Equal(want) {
			t.Errorf("the first lease ended at %v, want %v", got, want)
		}
		checkHeld(t, s, second)
		time.Sleep(time.Hour)
		synctest.Wait()
		checkLost(t, second)
		checkNoLocks(t, s)
	})
}

func TestRenewCountsFromNow(t *testing.T) {
	for _, c := range []struct {
		name  string
		after time.Duration // since the lease began
		ttl   time.Duration
	}{
		{"at once", 0, time.Minute},
		{"half way", 30 * time.Second, time.Minute},
		{"at the last moment", time.Minute - 1, time.Minute},
		{"for long", time.Second, 1000 * time.Hour},
		{"for less than was left", time.Second, 2 * time.Second},
		{"for a moment", time.Second, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := inMemory(t)
				lease := acquire(t, s, "a", time.Minute)
				token := lease.Token()
				time.Sleep(c.after)
				must(t, lease.Renew(c.ttl))
				if got, want := lease.Expires(), time.Now().Add(c.ttl); !got.Equal(want) {
					t.Errorf("Expires is %v, want %v", got, want)
				}
				if lease.Token() != token {
					t.Errorf("the token is %d, and was %d before Renew", lease.Token(), token)
				}
				time.Sleep(c.ttl - 1)
				checkHeld(t, s, lease)
				time.Sleep(1)
				synctest.Wait()
				checkLost(t, lease)
				checkNoLocks(t, s)
			})
		})
	}
}

// A lease that is renewed again and again outlives its time by far.
func TestRenewedLeaseStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		lease := acquire(t, s, "a", time.Second)
		for range 1000 {
			time.Sleep(time.Second - 1)
			must(t, lease.Renew(time.Second))
		}
		checkHeld(t, s, lease)
		must(t, lease.Release())
		checkNoLocks(t, s)
	})
}

// At its very end a lease is lost, whoever runs first there: its timer or a call.
func TestCallsAtTheEnd(t *testing.T) {
	for _, c := range []struct {
		name string
		call func(lease *Lease) error
	}{
		{"Release", (*Lease).Release},
		{"Renew", func(l *Lease) error { return l.Renew(time.Minute) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := inMemory(t)
				for _, early := range []time.Duration{1, 0} {
					for range 50 {
						lease := acquire(t, s, "a", time.Minute)
						var group sync.WaitGroup
						var inTime atomic.Int32
						for range 4 {
							group.Go(func() {
								time.Sleep(time.Minute - early)
								err := c.call(lease)
								if err == nil {
									inTime.Add(1)
								} else if !errors.Is(err, ErrLeaseLost) {
									t.Errorf("%s = %v, want ErrLeaseLost", c.name, err)
								}
							})
						}
						group.Wait()
						got, want := inTime.Load(), int32(0)
						switch {
						case early == 1 && c.name == "Release":
							want = 1
						case early == 1:
							want = 4
						}
						if got != want {
							t.Errorf("%d of 4 calls of %s, %v before the end, were in time, want %d", got, c.name, early, want)
						}
						time.Sleep(time.Hour)
						synctest.Wait()
						checkLost(t, lease)
						checkNoLocks(t, s)
					}
				}
			})
		})
	}
}

// The clock decides, also while the timer has yet to run.
func TestLateTimer(t *testing.T) {
	for _, c := range []struct {
		name string
		call func(t *testing.T, s *Layered, lease *Lease)
	}{
		{"TryLock takes the lock", func(t *testing.T, s *Layered, _ *Lease) {
			if !s.TryLock("a") {
				t.Error("TryLock of a lock that is over is false")
			}
			must(t, s.Unlock("a"))
		}},
		{"Acquire takes the lock", func(t *testing.T, s *Layered, _ *Lease) {
			must(t, acquire(t, s, "a", time.Minute).Release())
		}},
		{"Unlock finds none", func(t *testing.T, s *Layered, _ *Lease) {
			if err := s.Unlock("a"); !errors.Is(err, ErrLockNotFound) {
				t.Errorf("Unlock = %v, want ErrLockNotFound", err)
			}
		}},
		{"Renew is too late", func(t *testing.T, _ *Layered, lease *Lease) {
			if err := lease.Renew(time.Hour); !errors.Is(err, ErrLeaseLost) {
				t.Errorf("Renew = %v, want ErrLeaseLost", err)
			}
		}},
		{"Release is too late", func(t *testing.T, _ *Layered, lease *Lease) {
			if err := lease.Release(); !errors.Is(err, ErrLeaseLost) {
				t.Errorf("Release = %v, want ErrLeaseLost", err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := inMemory(t)
				lease := acquire(t, s, "a", time.Minute)
				lease.timer.Stop() // it comes late
				time.Sleep(time.Minute)
				if isDone(lease) {
					t.Fatal("the lease ended without its timer")
				}
				c.call(t, s, lease)
				checkLost(t, lease)
				lease.expire() // now it comes, and finds its work done
				checkLost(t, lease)
				checkNoLocks(t, s)
			})
		})
	}
	t.Run("the waiter comes before a newcomer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := inMemory(t)
			lease := acquire(t, s, "a", time.Minute)
			lease.timer.Stop()
			var waited *Lease
			go func() { waited = acquire(t, s, "a", time.Minute) }()
			time.Sleep(time.Minute)
			if s.TryLock("a") {
				t.Error("TryLock overtook a waiter")
			}
			synctest.Wait()
			checkLost(t, lease)
			checkHeld(t, s, waited)
		})
	})
}

// A timer that went off just before a Renew finds the lease renewed.
func TestTimerComesBehindRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		lease := acquire(t, s, "a", time.Minute)
		time.Sleep(time.Minute - 1)
		must(t, lease.Renew(time.Hour))
		lease.expire()
		checkHeld(t, s, lease)
		time.Sleep(time.Hour)
		synctest.Wait()
		checkLost(t, lease)
	})
}
