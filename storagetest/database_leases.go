package storagetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// This file checks leases: locks with an owner and an end.

var leaseClauses = []Clause{
	{"DATABASE-90", "Acquire locks like Lock, also a path without an object: a lease excludes leases and locks until its Release.", onLeases(leaseLocks)},
	{"DATABASE-91", "Callers that wait for a lease or a lock get it in the order in which they came.", onLeases(leaseFIFO)},
	{"DATABASE-92", "The tokens of leases strictly increase, over all paths and over a restart. Renew does not change them.", onLeases(leaseTokens)},
	{"DATABASE-93", "Unlock and SetAndUnlock of a path that a lease holds return ErrLockOwned. They write nothing and release nothing.", onLeases(leaseOwned)},
	{"DATABASE-94", "After Release a lease is lost: Done is closed, Release and Renew return ErrLeaseLost and do not affect the lock of another caller.", onLeases(leaseReleasedOnce)},
	{"DATABASE-95", "A lease ends at its time and not before: Done is closed, the next caller has the lock, Release and Renew return ErrLeaseLost.", onLeases(leaseExpires)},
	{"DATABASE-96", "After Renew a lease lasts for the given time from now, longer or shorter than before.", onLeases(leaseRenews)},
	{"DATABASE-97", "Acquire with a star returns ErrCantLockGlob, with an invalid path ErrInvalidPath; with a ttl of zero or less it returns ErrInvalidTTL, as Renew does.", onLeases(leaseInvalid)},
	{"DATABASE-98", "Acquire fails with the error of its context, and the lock goes to the next caller.", onLeases(leaseContext)},
	{"DATABASE-99", "Close wakes callers that wait in Acquire, with ErrNotActive, and ends all leases. They affect no lock after a restart.", onLeases(leaseClose)},
}

// Lease is the result of the Acquire of a database: *storage.Lease, or another type with the same rules.
type Lease interface {
	Path() string
	Token() uint64
	Expires() time.Time
	Done() <-chan struct{}
	Renew(ttl time.Duration) error
	Release() error
}

// acquirer is the Acquire of a database.
type acquirer func(ctx context.Context, path string, ttl time.Duration) (Lease, error)

// leasesOf returns the Acquire of a database that offers it, for both result types.
func leasesOf(db storage.Database) (acquirer, bool) {
	switch l := db.(type) {
	case interface {
		Acquire(ctx context.Context, path string, ttl time.Duration) (*storage.Lease, error)
	}:
		return func(ctx context.Context, path string, ttl time.Duration) (Lease, error) {
			lease, err := l.Acquire(ctx, path, ttl)
			if lease == nil {
				return nil, err
			}
			return lease, err
		}, true
	case interface {
		Acquire(ctx context.Context, path string, ttl time.Duration) (Lease, error)
	}:
		return l.Acquire, true
	}
	return nil, false
}

// onLeases returns the run of a clause. It checks nothing if the database offers no leases.
func onLeases(check func(t T, s *subject, db storage.Database, acquire acquirer)) func(T, *subject) {
	return onDatabase(func(t T, s *subject, db storage.Database) {
		t.Helper()
		acquire, ok := leasesOf(db)
		if !ok {
			t.Logf("%T has no Acquire: nothing is checked", db)
			return
		}
		check(t, s, db, acquire)
	})
}

// now takes a lease of a free lock.
func (a acquirer) now(t T, s *subject, path string, ttl time.Duration) Lease {
	t.Helper()
	w := a.start(path, ttl)
	must(t, "Acquire "+path, w.result(t, s, "Acquire of "+path+", which is free"))
	return w.lease
}

// leaseWaiter is an Acquire in a separate goroutine.
type leaseWaiter struct {
	*waiter
	lease Lease // once there is a result
}

// start begins an Acquire.
func (a acquirer) start(path string, ttl time.Duration) *leaseWaiter {
	w := &leaseWaiter{}
	w.waiter = start(func() (err error) {
		w.lease, err = a(context.Background(), path, ttl)
		return err
	})
	return w
}

// ended reports whether the Done of a lease is closed.
func ended(lease Lease) bool {
	select {
	case <-lease.Done():
		return true
	default:
		return false
	}
}

// wantLost checks a lease that has ended.
func wantLost(t T, lease Lease, when string) {
	t.Helper()
	if !ended(lease) {
		t.Errorf("Done of a lease is open %s, want it closed", when)
	}
	wantErr(t, "Renew "+when, lease.Renew(time.Hour), storage.ErrLeaseLost)
	wantErr(t, "Release "+when, lease.Release(), storage.ErrLeaseLost)
}

func leaseLocks(t T, s *subject, db storage.Database, acquire acquirer) {
	for _, path := range []string{"lease/absent", "lease/a"} {
		begin := time.Now()
		first := acquire.now(t, s, path, time.Hour)
		least, most := begin.Add(time.Hour), time.Now().Add(time.Hour)
		if at := first.Expires(); first.Path() != path || at.Before(least) || at.After(most) {
			t.Errorf("the lease is of %q until %v, want %q until %v", first.Path(), at, path, most)
		}
		second := acquire.start(path, time.Hour)
		if !second.waits(t, s, "a second Acquire") {
			return
		}
		if ended(first) {
			t.Errorf("Done is closed while the lease holds its lock, want it open")
		}
		must(t, "Release", first.Release())
		must(t, "second Acquire", second.result(t, s, "the second Acquire after Release"))
		if !ended(first) || ended(second.lease) {
			t.Errorf("Done closed after Release: %v, of the next lease: %v; want true and false", ended(first), ended(second.lease))
		}
		set(t, db, path, 1) // as the holder does
		third := start(lockCall(db, path))
		if !third.waits(t, s, "GetAndLock of a path that a lease holds") {
			return
		}
		must(t, "second Release", second.lease.Release())
		must(t, "GetAndLock", third.result(t, s, "GetAndLock after Release"))
		fourth := acquire.start(path, time.Hour)
		if !fourth.waits(t, s, "Acquire of a path that GetAndLock holds") {
			return
		}
		must(t, "Unlock", db.Unlock(path))
		must(t, "Acquire", fourth.result(t, s, "Acquire after Unlock"))
		must(t, "Release", fourth.lease.Release())
	}
}

func leaseFIFO(t T, s *subject, db storage.Database, acquire acquirer) {
	const path, waiters = "fifo/a", 7
	set(t, db, path, 1)
	must(t, "GetAndLock", lockCall(db, path)())
	order := make(chan int, waiters)
	lease := func(i int) error {
		lease, err := acquire(context.Background(), path, time.Hour)
		if err != nil {
			return err
		}
		order <- i
		return lease.Release()
	}
	lock := func(i int) error {
		if _, err := db.GetAndLock(path); err != nil {
			return err
		}
		order <- i
		return db.Unlock(path)
	}
	for i := range waiters {
		call := lease
		if i%2 == 1 {
			call = lock
		}
		w := start(func() error { return call(i) })
		if !w.waits(t, s, fmt.Sprintf("waiter %d", i)) {
			return
		}
	}
	must(t, "Unlock", db.Unlock(path))
	for want := range waiters {
		got, ok := await(s, order)
		if !ok {
			t.Fatalf("waiter %d has no lock, %s", want, s.impatient())
		}
		if got != want {
			t.Errorf("waiter %d got the lock, want waiter %d, which came before", got, want)
			return
		}
	}
}

func leaseTokens(t T, s *subject, db storage.Database, acquire acquirer) {
	last := uint64(0)
	for run := range 2 {
		for i := range 6 {
			path := fmt.Sprintf("token/%d", i%2)
			lease := acquire.now(t, s, path, time.Hour)
			token := lease.Token()
			if token <= last {
				t.Errorf("run %d: the token of a lease of %s is %d, want more than %d, the one before", run, path, token, last)
			}
			last = token
			must(t, "Renew", lease.Renew(time.Hour))
			if again := lease.Token(); again != token {
				t.Errorf("the token is %d after Renew, want %d as before", again, token)
			}
			must(t, "Release", lease.Release())
		}
		db = s.restarted(t, db)
		again, ok := leasesOf(db)
		if !ok {
			t.Fatalf("%T has no Acquire after a restart", db)
		}
		acquire = again
	}
}

func leaseOwned(t T, s *subject, db storage.Database, acquire acquirer) {
	obj := set(t, db, "owned/a", 1)
	for _, path := range []string{"owned/a", "owned/absent"} {
		lease := acquire.now(t, s, path, time.Hour)
		for range 2 {
			wantErr(t, "Unlock of "+path, db.Unlock(path), storage.ErrLockOwned)
			_, err := db.SetAndUnlock(path, dataOf(2))
			wantErr(t, "SetAndUnlock of "+path, err, storage.ErrLockOwned)
		}
		wantContent(t, db, obj)
		if ended(lease) {
			t.Errorf("Unlock ended the lease of %s", path)
		}
		must(t, "Release", lease.Release())
		wantErr(t, "Unlock of "+path+" after Release", db.Unlock(path), storage.ErrLockNotFound)
	}
}

func leaseReleasedOnce(t T, s *subject, db storage.Database, acquire acquirer) {
	const path = "once/a"
	first := acquire.now(t, s, path, time.Hour)
	must(t, "Release", first.Release())
	wantLost(t, first, "after Release")
	second := acquire.now(t, s, path, time.Hour)
	wantLost(t, first, "when another holds the lock")
	third := acquire.start(path, time.Hour)
	if !third.waits(t, s, "Acquire beside a lease, after a Release of one that had ended") {
		return
	}
	must(t, "Release of the second lease", second.Release())
	must(t, "third Acquire", third.result(t, s, "the third Acquire"))
	wantLost(t, second, "after Release with a waiter")
	if ended(third.lease) {
		t.Errorf("the third lease has ended, want it to hold the lock")
	}
}

func leaseExpires(t T, s *subject, db storage.Database, acquire acquirer) {
	const path, ttl = "expire/a", 30 * time.Millisecond
	set(t, db, path, 1)
	lease := acquire.now(t, s, path, ttl)
	next := start(lockCall(db, path))
	must(t, "GetAndLock", next.result(t, s, "GetAndLock of a path whose lease has come to its end"))
	if at := lease.Expires(); time.Now().Before(at) {
		t.Errorf("the lock went on at %v, before the end of its lease at %v", time.Now(), at)
	}
	wantLost(t, lease, "after its end, with the lock of the next one")
	must(t, "Unlock by the next one", db.Unlock(path))

	lease = acquire.now(t, s, path, ttl) // without waiters
	if _, ok := await(s, lease.Done()); !ok {
		t.Fatalf("Done of a lease of %v is still open, %s", ttl, s.impatient())
	}
	if at := lease.Expires(); time.Now().Before(at) {
		t.Errorf("Done was closed at %v, before the end of the lease at %v", time.Now(), at)
	}
	wantErr(t, "Unlock after the end of a lease", db.Unlock(path), storage.ErrLockNotFound)
	wantLost(t, lease, "after its end")
}

func leaseRenews(t T, s *subject, _ storage.Database, acquire acquirer) {
	const path = "renew/a"
	for ttl := 20 * time.Millisecond; ; ttl *= 2 {
		lease := acquire.now(t, s, path, ttl)
		end := lease.Expires()
		begin := time.Now()
		err := lease.Renew(time.Hour)
		if !time.Now().Before(end) && errors.Is(err, storage.ErrLeaseLost) && ttl < s.patience() {
			continue // this machine is busy: Renew came too late
		}
		must(t, "Renew", err)
		if at, most := lease.Expires(), time.Now().Add(time.Hour); at.Before(begin.Add(time.Hour)) || at.After(most) {
			t.Errorf("a lease that was renewed for an hour at %v ends at %v, want an hour later", begin, at)
			return
		}
		time.Sleep(time.Until(end) + 10*time.Millisecond)
		if ended(lease) {
			t.Errorf("a lease that was renewed has ended at its earlier time")
		}
		must(t, "Renew after the earlier end", lease.Renew(20*time.Millisecond))
		if _, ok := await(s, lease.Done()); !ok {
			t.Errorf("a lease that was renewed for less than was left has not ended, %s", s.impatient())
		}
		wantLost(t, lease, "after the end of the renewed lease")
		return
	}
}

func leaseInvalid(t T, s *subject, db storage.Database, acquire acquirer) {
	refused := func(what, path string, ttl time.Duration, want error) {
		lease, err := acquire(context.Background(), path, ttl)
		wantErr(t, "Acquire, "+what, err, want)
		if lease != nil {
			t.Errorf("Acquire, %s, returns a lease with its error, want none", what)
		}
	}
	s.within(t, "Acquire with bad input", func() {
		for _, path := range []string{"*", "a/*", "*/b", "a/b*"} {
			refused(path, path, time.Hour, storage.ErrCantLockGlob)
		}
		for _, p := range invalidPaths {
			refused(p.name, p.path, time.Hour, storage.ErrInvalidPath)
		}
		for _, ttl := range []time.Duration{0, -1, -time.Hour} {
			refused(fmt.Sprintf("a ttl of %v", ttl), "a/b", ttl, storage.ErrInvalidTTL)
		}
	})
	wantErr(t, "Unlock", db.Unlock("a/b"), storage.ErrLockNotFound)
	lease := acquire.now(t, s, "a/b", time.Hour)
	end := lease.Expires()
	for _, ttl := range []time.Duration{0, -1, -time.Hour} {
		wantErr(t, fmt.Sprintf("Renew for %v", ttl), lease.Renew(ttl), storage.ErrInvalidTTL)
	}
	if at := lease.Expires(); ended(lease) || !at.Equal(end) {
		t.Errorf("after a Renew that was refused the lease ends at %v (ended: %v), want %v", at, ended(lease), end)
	}
	must(t, "Release", lease.Release())
}

func leaseContext(t T, s *subject, _ storage.Database, acquire acquirer) {
	const path = "context/a"
	lease := acquire.now(t, s, path, time.Hour)
	ctx, cancel := context.WithCancel(context.Background())
	var given Lease
	w := start(func() (err error) {
		given, err = acquire(ctx, path, time.Hour)
		return err
	})
	if !w.waits(t, s, "Acquire of a lock that is held") {
		cancel()
		return
	}
	behind := acquire.start(path, time.Hour)
	if !behind.waits(t, s, "Acquire behind it") {
		cancel()
		return
	}
	cancel()
	wantErr(t, "Acquire whose context was cancelled", w.result(t, s, "Acquire whose context was cancelled"), context.Canceled)
	if given != nil {
		t.Errorf("Acquire returns a lease with its error, want none")
	}
	late, stop := context.WithTimeout(context.Background(), time.Millisecond)
	defer stop()
	w = start(func() error { _, err := acquire(late, path, time.Hour); return err })
	wantErr(t, "Acquire past its deadline", w.result(t, s, "Acquire past its deadline"), context.DeadlineExceeded)
	must(t, "Release", lease.Release())
	must(t, "Acquire", behind.result(t, s, "Acquire behind those that gave up"))
	must(t, "Release", behind.lease.Release())
	must(t, "Release", acquire.now(t, s, path, time.Hour).Release())
	_, err := acquire(ctx, path, time.Hour)
	wantErr(t, "Acquire of a free lock with a context that has ended", err, context.Canceled)
}

func leaseClose(t T, s *subject, db storage.Database, acquire acquirer) {
	const path = "close/a"
	lease := acquire.now(t, s, path, time.Hour)
	waiters := []*leaseWaiter{acquire.start(path, time.Hour), acquire.start(path, time.Hour)}
	for i, w := range waiters {
		if !w.waits(t, s, fmt.Sprintf("waiter %d", i)) {
			return
		}
	}
	s.within(t, "Close", db.Close)
	for i, w := range waiters {
		wantErr(t, fmt.Sprintf("waiter %d after Close", i), w.result(t, s, "a waiter after Close"), storage.ErrNotActive)
	}
	lost := func(when string) {
		t.Helper()
		if !ended(lease) {
			t.Errorf("Done of a lease is open %s, want it closed", when)
		}
		for call, err := range map[string]error{"Renew": lease.Renew(time.Hour), "Release": lease.Release()} {
			if !errors.Is(err, storage.ErrLeaseLost) && !errors.Is(err, storage.ErrNotActive) {
				t.Errorf("%s %s: error is %v, want ErrLeaseLost or ErrNotActive", call, when, err)
			}
		}
	}
	lost("after Close")
	acquire, ok := leasesOf(s.startedAgain(t, db))
	if !ok {
		t.Fatalf("there is no Acquire after a restart")
	}
	again := acquire.now(t, s, path, time.Hour)
	lost("after a restart")
	if ended(again) {
		t.Errorf("a lease of the run before ended the one of this run")
	}
	must(t, "Release", again.Release())
}
