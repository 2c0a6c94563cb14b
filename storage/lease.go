package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oolith-db/oolith/monotonic"
)

// Lease is a lock with an owner and an end: nobody but who has the Lease releases it, and it
// ends by itself when its time is over, so that a holder that is stuck or gone keeps no one
// out for ever. Layered.Acquire makes them.
//
// A holder can lose its lease without noticing: it is put aside for longer than its time, and
// goes on. Done and Expires tell it, though a write may be under way by then. Where that
// matters, bind each write of this store to the lease (SetOptions.Lease, DelOptions.Lease). For what is
// outside of the store, give the Token along with each write, and refuse what has a smaller one than was seen.
//
// All methods may be called from any number of goroutines. The zero value has ended.
type Lease struct {
	table *lockTable // nil for the zero value
	path  string
	ttl   time.Duration // what Acquire asked for; expires counts after Renew
	done  chan struct{}

	// Set once, when the lock is granted, before Acquire returns.
	token  uint64
	timer  *time.Timer
	shared SharedLock // of a store over a SharedLayer; nil else
	// mirror is that store's, which holds the lock among its nodes; nil else.
	mirror *mirror

	// Guarded by table.mu.

	expires time.Time
	ended   error // why it no longer holds the lock; nil while it does
}

// Why a lease ended. Release and Renew return it.
var (
	errLeaseReleased = fmt.Errorf("%w: it was released", ErrLeaseLost)
	errLeaseExpired  = fmt.Errorf("%w: it expired", ErrLeaseLost)
	errLeaseClosed   = fmt.Errorf("%w: %w", ErrLeaseLost, ErrNotActive)
	errLeaseNever    = fmt.Errorf("%w: Acquire did not make it", ErrLeaseLost)
	errLeaseEarlier  = fmt.Errorf("%w: the store was closed since", ErrLeaseLost)
)

// Acquire locks a path for a time that counts from when it has the lock, and returns the lease.
// It waits for its turn, first come first served together with Lock and GetAndLock: they
// are one lock, which excludes other lockers and not plain reads and writes. The path need
// not hold an object.
//
// It returns the context's error when that ends first, and ErrNotActive when the store is
// closed, also while waiting. A glob is ErrCantLockGlob, a ttl of zero or less
// ErrInvalidTTL. With a very short ttl the lease may have expired when Acquire returns.
//
// Unlock and SetAndUnlock of the path are ErrLockOwned as long as the lease holds it; its owner
// writes with Set.
func (l *Layered) Acquire(ctx context.Context, path string, ttl time.Duration) (*Lease, error) {
	lease, err := l.acquire(ctx, path, ttl)
	if err != nil {
		return nil, failed("acquire", path, err)
	}
	return lease, nil
}

// TryAcquire is Acquire that does not wait: a lease at once, or ErrLocked when another holds the lock, by a lease
// or by Lock, TryLock or GetAndLock.
func (l *Layered) TryAcquire(path string, ttl time.Duration) (*Lease, error) {
	lease, err := l.lease(path, ttl)
	if err == nil {
		h := &hold{lease: lease}
		if err = lease.table.try(path, h); err == nil {
			err = lease.share(context.Background(), h, false)
		}
	}
	if err != nil {
		return nil, failed("try acquire", path, err)
	}
	return lease, nil
}

func (l *Layered) acquire(ctx context.Context, path string, ttl time.Duration) (*Lease, error) {
	lease, err := l.lease(path, ttl)
	if err != nil {
		return nil, err
	}
	h := &hold{lease: lease}
	if err := lease.table.acquire(ctx, path, h); err != nil {
		return nil, err
	}
	if err := lease.share(ctx, h, true); err != nil {
		return nil, err
	}
	return lease, nil
}

// lease makes a lease that does not hold its lock yet, from checked input.
func (l *Layered) lease(path string, ttl time.Duration) (*Lease, error) {
	r, err := l.active()
	if err != nil {
		return nil, err
	}
	if err := checkLock(path); err != nil {
		return nil, err
	}
	if err := checkLease(ttl); err != nil {
		return nil, err
	}
	return &Lease{table: r.locks, path: path, ttl: ttl, done: make(chan struct{}), mirror: r.mirror}, nil
}

// checkLease accepts the time that a lease is to last.
func checkLease(ttl time.Duration) error {
	if ttl <= 0 {
		return fmt.Errorf("%w: %v, expected more than 0", ErrInvalidTTL, ttl)
	}
	return nil
}

// Path returns the path that the lease locks.
func (l *Lease) Path() string { return l.path }

// Token returns the fencing token: of two leases, of one path or of several, the one that
// had its lock later has the greater token. It does not change when the lease is renewed.
//
// That holds among all leases of a process. A token is a time in Unix nanoseconds
// (monotonic.Now), so that it also holds over a restart as long as the wall clock is not set
// back. When it was, during the restart or in the run before, new tokens can be smaller than
// earlier ones until the wall clock has passed those: a check of tokens then keeps out the
// newer holder instead of the older.
//
// A token is beyond 2^53: in JSON, readers that take numbers for floats need it as a string.
func (l *Lease) Token() uint64 { return l.token }

// Expires returns when the lease ends, or would have ended, unless it is renewed. The time is
// measured by the monotonic clock: setting the wall clock neither lengthens nor
// shortens a lease.
func (l *Lease) Expires() time.Time {
	if l.table == nil {
		return time.Time{}
	}
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	return l.expires
}

// Done returns a channel that is closed when the lease ends: when it is released, when it
// expires, or when the store is closed. It is closed before another can have the lock. Its
// closing can come a moment after the time that Expires tells, when the process is busy.
func (l *Lease) Done() <-chan struct{} {
	if l.table == nil {
		ended := make(chan struct{})
		close(ended)
		return ended
	}
	return l.done
}

// Renew makes the lease last for ttl from now on, also when that ends sooner than before. After
// the lease has ended it is ErrLeaseLost: a lease is never taken up again. See Release for a
// store that is closed. A ttl of zero or less is ErrInvalidTTL, and changes nothing.
func (l *Lease) Renew(ttl time.Duration) error {
	if err := checkLease(ttl); err != nil {
		return failed("renew", l.path, err)
	}
	if l.table == nil {
		return failed("renew", l.path, errLeaseNever)
	}
	end := time.Now().Add(ttl) // before the lock among all nodes is renewed, which is to last longer
	failure := l.renewShared(ttl)
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	if err := l.lostLocked(); err != nil {
		return failed("renew", l.path, err)
	}
	// After an error nobody knows whether the lock among all nodes lasts as long as before, or as was asked for.
	if failure == nil || end.Before(l.expires) {
		l.expires = end
		l.timer.Reset(time.Until(end))
	}
	if failure != nil {
		return failed("renew", l.path, failure)
	}
	return nil
}

// Release ends the lease and hands the lock to its first waiter. It is ErrLeaseLost when the
// lease has ended already, by an earlier Release or by its time; the lock is then another's, or
// nobody's, and stays so. When it was Close that ended the lease, the error is both
// ErrLeaseLost and ErrNotActive, and stays that after another Start.
func (l *Lease) Release() error {
	if l.table == nil {
		return failed("release", l.path, errLeaseNever)
	}
	if err := l.release(); err != nil {
		return failed("release", l.path, err)
	}
	if l.mirror != nil {
		_ = l.mirror.unlocked(context.Background(), l.path) // which does not end
	}
	return nil
}

func (l *Lease) release() error {
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	if err := l.lostLocked(); err != nil {
		return err
	}
	l.endLocked(errLeaseReleased)
	l.table.releaseLocked(l.path)
	return nil
}

// beginLocked starts the time of the lease. Its token is drawn while the registry is locked: in
// the order in which locks are granted.
func (l *Lease) beginLocked() {
	if l.mirror != nil && l.shared == nil {
		return // share begins it
	}
	l.token = uint64(monotonic.Now())
	l.expires = time.Now().Add(l.ttl)
	l.timer = time.AfterFunc(l.ttl, l.expire)
}

// expire runs when the time is over, as far as its timer knows.
func (l *Lease) expire() {
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	// Nothing to do when it was released or renewed since the timer went off.
	_ = l.lostLocked()
}

// lostLocked says why the lease no longer holds its lock, or nothing while it does. It is the
// clock that counts here, and not the timer, which only makes sure that somebody asks: whoever
// comes between the end and the timer finds the lease expired, and the lock with the next.
func (l *Lease) lostLocked() error {
	if l.ended == nil && l.timer != nil && !time.Now().Before(l.expires) {
		l.endLocked(errLeaseExpired)
		l.table.releaseLocked(l.path)
	}
	return l.ended
}

// holdsIn says why a write that is bound to the lease must not be made in a store, or nothing when it may: the lease
// holds its lock in that very store. The leader of the pipeline calls it: table.mu is held for a moment, and nobody
// who holds it waits for anything.
func (l *Lease) holdsIn(locks *lockTable) error {
	if l.table == nil {
		return errLeaseNever
	}
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	switch lost := l.lostLocked(); {
	case l.table == locks:
		return lost
	case lost == nil:
		return fmt.Errorf("%w: the lease of %q is one of another store", ErrInvalidOptions, l.path)
	case errors.Is(lost, ErrNotActive):
		return errLeaseEarlier // of this store or another one, which is not what is not active
	default:
		return lost
	}
}

// endLocked ends a lease that holds its lock, which it leaves to the caller.
func (l *Lease) endLocked(why error) {
	l.ended = why
	if l.timer != nil {
		l.timer.Stop()
	}
	close(l.done)
	if l.shared != nil {
		l.mirror.unlock(l.path, l.shared)
	}
}
