package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oolith-db/oolith/monotonic"
)

// Lease is a lock with an owner and an end. Only the holder of the Lease can release it, and it ends by itself when
// its time is over, so a stuck or vanished holder does not block others forever. Layered.Acquire creates leases.
//
// A holder can lose its lease without noticing, for example if its process is suspended for longer than the lease
// lasts. Done and Expires show this, but a write may already be in progress. To be safe, bind each write to this
// store to the lease (SetOptions.Lease, DelOptions.Lease). For other systems, send the Token with each write, and let
// the system reject tokens smaller than the greatest it has seen.
//
// All methods may be called concurrently. The zero value has ended.
type Lease struct {
	table *lockTable // nil for the zero value
	path  string
	ttl   time.Duration // as passed to Acquire; expires counts after Renew
	done  chan struct{}

	// Set once, when the lock is granted, before Acquire returns.
	token  uint64
	timer  *time.Timer
	shared SharedLock // in a store over a SharedLayer; nil otherwise
	// mirror is the mirror of such a store, which tracks the lock among its nodes; nil otherwise.
	mirror *mirror
	// renewing is full during Renew in such a store: of two calls at once, the last to renew the lock among the nodes is
	// the last to set expires.
	renewing chan struct{}

	// Guarded by table.mu.

	expires time.Time
	ended   error // why it no longer holds the lock; nil while it holds it
}

// Why a lease ended. Release and Renew return these errors.
var (
	errLeaseReleased = fmt.Errorf("%w, it was released", ErrLeaseLost)
	errLeaseExpired  = fmt.Errorf("%w, it expired", ErrLeaseLost)
	errLeaseClosed   = fmt.Errorf("%w, %w", ErrLeaseLost, ErrNotActive)
	errLeaseNever    = fmt.Errorf("%w, Acquire did not create it", ErrLeaseLost)
	errLeaseEarlier  = fmt.Errorf("%w, the store was closed in the meantime", ErrLeaseLost)
)

// Acquire locks a path for the duration ttl and returns the lease. The time starts when the lock is granted. Acquire
// waits for its turn, first come first served together with Lock and GetAndLock. All of them use the same lock, which
// excludes other lockers but not plain reads and writes. The path need not hold an object.
//
// Acquire returns the context's error if the context ends first, and ErrNotActive if the store is closed, even while
// it waits. A glob fails with ErrCantLockGlob, a ttl of zero or less with ErrInvalidTTL. With a very short ttl the
// lease may already have expired when Acquire returns.
//
// While the lease holds the path, Unlock and SetAndUnlock of the path return ErrLockOwned. The owner writes with Set.
func (l *Layered) Acquire(ctx context.Context, path string, ttl time.Duration) (*Lease, error) {
	lease, err := l.acquire(ctx, path, ttl)
	if err != nil {
		return nil, failed("acquire", path, err)
	}
	return lease, nil
}

// TryAcquire is Acquire without waiting. It returns ErrLocked if another caller holds the lock, by a lease or by
// Lock, TryLock or GetAndLock.
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

// lease creates a lease that does not hold its lock yet. The input is valid.
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
	lease := &Lease{table: r.locks, path: path, ttl: ttl, done: make(chan struct{}), mirror: r.mirror}
	if lease.mirror != nil {
		lease.renewing = make(chan struct{}, 1)
	}
	return lease, nil
}

// checkLease validates the duration of a lease.
func checkLease(ttl time.Duration) error {
	if ttl <= 0 {
		return fmt.Errorf("%w, %v, expected more than 0", ErrInvalidTTL, ttl)
	}
	return nil
}

// Path returns the path that the lease locks.
func (l *Lease) Path() string { return l.path }

// Token returns the fencing token. Of two leases, of the same path or of different ones, the one that got its lock
// later has the greater token. Renewing a lease does not change its token.
//
// This holds among all leases of a process. A token is a time in Unix nanoseconds (monotonic.Now), so it also holds
// across a restart unless the wall clock was set back, during the restart or in the run before. In that case new
// tokens can be smaller than earlier ones until the wall clock has passed them, and a check of tokens rejects the
// newer holder instead of the older one.
//
// A token exceeds 2^53: send it as a string to JSON readers that parse numbers as floats.
func (l *Lease) Token() uint64 { return l.token }

// Expires returns when the lease ends, or would have ended, unless it is renewed. The monotonic clock measures the
// time, so setting the wall clock neither extends nor shortens a lease.
func (l *Lease) Expires() time.Time {
	if l.table == nil {
		return time.Time{}
	}
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	return l.expires
}

// Done returns a channel that is closed when the lease ends: when it is released, when it expires, or when the store
// is closed. It is closed before another caller can get the lock. On a busy process it can close slightly after the
// time that Expires returns.
func (l *Lease) Done() <-chan struct{} {
	if l.table == nil {
		ended := make(chan struct{})
		close(ended)
		return ended
	}
	return l.done
}

// Renew makes the lease last for ttl from now on, even if that is sooner than before. After the lease has ended it
// returns ErrLeaseLost: a lease never revives. See Release for a closed store. A ttl of zero or less fails with
// ErrInvalidTTL and changes nothing.
func (l *Lease) Renew(ttl time.Duration) error {
	if err := checkLease(ttl); err != nil {
		return failed("renew", l.path, err)
	}
	if l.table == nil {
		return failed("renew", l.path, errLeaseNever)
	}
	if l.renewing != nil {
		l.renewing <- struct{}{}
		defer func() { <-l.renewing }()
	}
	end := time.Now().Add(ttl) // before renewing the lock among all nodes, which has to last longer
	failure := l.renewShared(ttl)
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	if err := l.lostLocked(); err != nil {
		return failed("renew", l.path, err)
	}
	// After an error it is unknown whether the lock among all nodes lasts as long as before or as requested.
	if failure == nil || end.Before(l.expires) {
		l.expires = end
		l.timer.Reset(time.Until(end))
	}
	if failure != nil {
		return failed("renew", l.path, failure)
	}
	return nil
}

// Release ends the lease and hands the lock to its first waiter. It returns ErrLeaseLost if the lease has already
// ended, by an earlier Release or by its time. The lock then belongs to another caller or to nobody, and Release does
// not affect it. If Close ended the lease, the error matches both ErrLeaseLost and ErrNotActive, even after another
// Start.
func (l *Lease) Release() error {
	if l.table == nil {
		return failed("release", l.path, errLeaseNever)
	}
	if err := l.release(); err != nil {
		return failed("release", l.path, err)
	}
	if l.mirror != nil {
		_ = l.mirror.unlocked(context.Background(), l.path) // the context never ends
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

// beginLocked starts the time of the lease. The token is drawn under the registry's lock, so tokens follow the order
// in which locks are granted.
func (l *Lease) beginLocked() {
	if l.mirror != nil && l.shared == nil {
		return // share starts it
	}
	l.token = uint64(monotonic.Now())
	l.expires = time.Now().Add(l.ttl)
	l.timer = time.AfterFunc(l.ttl, l.expire)
}

// expire runs when the timer fires.
func (l *Lease) expire() {
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	// There is nothing to do if the lease was released or renewed after the timer fired.
	_ = l.lostLocked()
}

// lostLocked returns why the lease no longer holds its lock, or nil while it does. The clock decides, not the timer.
// The timer only makes sure that somebody checks: a caller that comes between the end and the timer finds that the
// lease has expired, and the lock with the next waiter.
func (l *Lease) lostLocked() error {
	if l.ended == nil && l.timer != nil && !time.Now().Before(l.expires) {
		l.endLocked(errLeaseExpired)
		l.table.releaseLocked(l.path)
	}
	return l.ended
}

// holdsIn returns why a write that requires the lease must fail in a store, or nil if the lease holds its lock in
// that store. The leader of the pipeline calls it. It holds table.mu only briefly, and no holder of table.mu waits
// for anything.
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
		return fmt.Errorf("%w, the lease of %q belongs to another store", ErrInvalidOptions, l.path)
	case errors.Is(lost, ErrNotActive):
		return errLeaseEarlier // an earlier run of this store, or another store
	default:
		return lost
	}
}

// endLocked ends a lease that holds its lock. The caller passes the lock on.
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
