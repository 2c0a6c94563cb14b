package storagetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// brokenLeases is a brokenDatabase whose leases can be wrong too.
type brokenLeases struct {
	*brokenDatabase
	acquire acquirer
}

func (b *brokenLeases) Acquire(ctx context.Context, path string, ttl time.Duration) (Lease, error) {
	return b.acquire(ctx, path, ttl)
}

// brokenLease is a lease of which some methods are replaced by wrong ones.
type brokenLease struct {
	*storage.Lease
	token   func() uint64
	expires func() time.Time
	done    func() <-chan struct{}
	renew   func(ttl time.Duration) error
	release func() error
}

func (l *brokenLease) Token() uint64                 { return l.token() }
func (l *brokenLease) Expires() time.Time            { return l.expires() }
func (l *brokenLease) Done() <-chan struct{}         { return l.done() }
func (l *brokenLease) Renew(ttl time.Duration) error { return l.renew(ttl) }
func (l *brokenLease) Release() error                { return l.release() }

// real is the Acquire that nothing is wrong with.
func (b *brokenLeases) real(ctx context.Context, path string, ttl time.Duration) (*brokenLease, error) {
	l, err := b.Layered.Acquire(ctx, path, ttl)
	if err != nil {
		return nil, err
	}
	return &brokenLease{Lease: l, token: l.Token, expires: l.Expires, done: l.Done, renew: l.Renew, release: l.Release}, nil
}

// given returns the lease of real as an acquirer does.
func given(l *brokenLease, err error) (Lease, error) {
	if err != nil {
		return nil, err
	}
	return l, nil
}

// each does harm to every lease that is given.
func (b *brokenLeases) each(harm func(l *brokenLease)) {
	b.acquire = func(ctx context.Context, path string, ttl time.Duration) (Lease, error) {
		l, err := b.real(ctx, path, ttl)
		if err == nil {
			harm(l)
		}
		return given(l, err)
	}
}

// leaseFault is what can be wrong with leases, and the clauses that must notice.
type leaseFault struct {
	name string
	want []string
	harm func(b *brokenLeases)
}

var leaseFaults = []leaseFault{
	{"nothing is wrong", nil, func(*brokenLeases) {}},
	{"is open when it is not started", []string{"DATABASE-01", "DATABASE-03"}, func(b *brokenLeases) {
		b.acquire = func(ctx context.Context, path string, ttl time.Duration) (Lease, error) {
			active := b.Active()
			l, err := b.real(ctx, path, ttl)
			if errors.Is(err, storage.ErrNotActive) && !active {
				err = storage.ErrLockNotFound
			}
			return given(l, err)
		}
	}},
	{"has leases that exclude no plain lock", []string{"DATABASE-90"}, func(b *brokenLeases) {
		b.getAndLock = func(path string) (meta.Object, error) {
			if path == "lease/a" && errors.Is(b.Layered.Unlock(path), storage.ErrLockOwned) {
				return b.Layered.Get(path)
			}
			return b.Layered.GetAndLock(path)
		}
	}},
	{"leases what is absent to everybody", []string{"DATABASE-90"}, func(b *brokenLeases) {
		var n atomic.Int64
		b.acquire = func(ctx context.Context, path string, ttl time.Duration) (Lease, error) {
			if path == "lease/absent" && n.Add(1) > 1 {
				path = fmt.Sprintf("lease/absent/%d", n.Load())
			}
			return given(b.real(ctx, path, ttl))
		}
	}},
	{"leases for longer than it is asked", []string{"DATABASE-90"}, func(b *brokenLeases) {
		b.each(func(l *brokenLease) {
			if l.Path() == "lease/a" {
				l.expires = func() time.Time { return l.Lease.Expires().Add(time.Minute) }
			}
		})
	}},
	{"serves the last to come first", []string{"DATABASE-91"}, func(b *brokenLeases) {
		type result struct {
			lease Lease
			err   error
		}
		var mu sync.Mutex
		var stack []chan result
		b.acquire = func(ctx context.Context, path string, ttl time.Duration) (Lease, error) {
			if path != "fifo/a" {
				return given(b.real(ctx, path, ttl))
			}
			mine := make(chan result, 1)
			mu.Lock()
			stack = append(stack, mine)
			mu.Unlock()
			go func() {
				lease, err := given(b.real(ctx, path, ttl))
				mu.Lock()
				top := stack[len(stack)-1]
				stack = stack[:len(stack)-1]
				mu.Unlock()
				top <- result{lease, err}
			}()
			r := <-mine
			return r.lease, r.err
		}
	}},
	{"counts tokens for each path", []string{"DATABASE-92"}, func(b *brokenLeases) {
		var mu sync.Mutex
		last := map[string]uint64{}
		b.each(func(l *brokenLease) {
			mu.Lock()
			defer mu.Unlock()
			last[l.Path()]++
			token := last[l.Path()]
			l.token = func() uint64 { return token }
		})
	}},
	{"begins tokens anew at a start", []string{"DATABASE-92"}, func(b *brokenLeases) {
		var last atomic.Uint64
		b.start = func(opt storage.Options) error {
			last.Store(0)
			return b.Layered.Start(opt)
		}
		b.each(func(l *brokenLease) {
			token := last.Add(1)
			l.token = func() uint64 { return token }
		})
	}},
	{"changes the token when it renews", []string{"DATABASE-92"}, func(b *brokenLeases) {
		b.each(func(l *brokenLease) {
			var renewed atomic.Uint64
			l.token = func() uint64 { return l.Lease.Token() + renewed.Load() }
			l.renew = func(ttl time.Duration) error { renewed.Add(1); return l.Lease.Renew(ttl) }
		})
	}},
	{"lets anybody unlock a lease", []string{"DATABASE-93"}, func(b *brokenLeases) {
		var newest sync.Map // path to lease
		b.each(func(l *brokenLease) { newest.Store(l.Path(), l) })
		b.unlock = func(path string) error {
			err := b.Layered.Unlock(path)
			if l, ok := newest.Load(path); ok && errors.Is(err, storage.ErrLockOwned) {
				return l.(*brokenLease).Lease.Release()
			}
			return err
		}
	}},
	{"does not find the lock of a lease", []string{"DATABASE-93"}, func(b *brokenLeases) {
		b.unlock = func(path string) error {
			err := b.Layered.Unlock(path)
			if errors.Is(err, storage.ErrLockOwned) {
				return storage.ErrLockNotFound
			}
			return err
		}
	}},
	{"writes at what another leases", []string{"DATABASE-93"}, func(b *brokenLeases) {
		b.setAndUnlock = func(path string, data json.RawMessage) (string, error) {
			index, err := b.Layered.SetAndUnlock(path, data)
			if errors.Is(err, storage.ErrLockOwned) {
				_, failed := b.Layered.Set(path, data)
				err = errors.Join(err, failed)
			}
			return index, err
		}
	}},
	{"releases a lease twice", []string{"DATABASE-94"}, func(b *brokenLeases) {
		b.each(func(l *brokenLease) {
			var released atomic.Bool
			l.release = func() error {
				err := l.Lease.Release()
				if released.Load() {
					return nil
				}
				released.Store(err == nil)
				return err
			}
		})
	}},
	{"releases the lock of the next", []string{"DATABASE-94"}, func(b *brokenLeases) {
		var newest sync.Map // path to lease
		b.each(func(l *brokenLease) {
			newest.Store(l.Path(), l)
			l.release = func() error {
				err := l.Lease.Release()
				if next, ok := newest.Load("once/a"); ok && l.Path() == "once/a" && err != nil && next != l {
					return errors.Join(err, next.(*brokenLease).Lease.Release())
				}
				return err
			}
		})
	}},
	{"revives a lease that was released", []string{"DATABASE-94"}, func(b *brokenLeases) {
		b.each(func(l *brokenLease) {
			if l.Path() == "once/a" {
				l.renew = func(ttl time.Duration) error { return forgiven(l.Lease.Renew(ttl), storage.ErrLeaseLost) }
			}
		})
	}},
	{"has leases without an end", []string{"DATABASE-95"}, func(b *brokenLeases) {
		b.acquire = func(ctx context.Context, path string, ttl time.Duration) (Lease, error) {
			if path == "expire/a" {
				ttl = time.Hour
			}
			return given(b.real(ctx, path, ttl))
		}
	}},
	{"ends leases too soon", []string{"DATABASE-95"}, func(b *brokenLeases) {
		b.acquire = func(ctx context.Context, path string, ttl time.Duration) (Lease, error) {
			if path != "expire/a" {
				return given(b.real(ctx, path, ttl))
			}
			l, err := b.real(ctx, path, ttl/2)
			if err == nil {
				end := l.Lease.Expires().Add(ttl / 2)
				l.expires = func() time.Time { return end }
			}
			return given(l, err)
		}
	}},
	{"does not tell the end of a lease", []string{"DATABASE-95"}, func(b *brokenLeases) {
		b.each(func(l *brokenLease) {
			if l.Path() == "expire/a" {
				l.done = func() <-chan struct{} { return nil }
			}
		})
	}},
	{"lets a lease that has expired release the lock", []string{"DATABASE-95"}, func(b *brokenLeases) {
		b.each(func(l *brokenLease) {
			if l.Path() != "expire/a" {
				return
			}
			l.release = func() error {
				return errors.Join(l.Lease.Release(), forgiven(b.Layered.Unlock(l.Path()), storage.ErrLockNotFound))
			}
		})
	}},
	{"renews nothing", []string{"DATABASE-96"}, func(b *brokenLeases) {
		b.each(func(l *brokenLease) {
			if l.Path() != "renew/a" {
				return
			}
			end := l.Lease.Expires()
			l.renew = func(ttl time.Duration) error {
				end = time.Now().Add(ttl)
				return nil
			}
			l.expires = func() time.Time { return end }
		})
	}},
	{"adds to what is left of a lease", []string{"DATABASE-96"}, func(b *brokenLeases) {
		b.each(func(l *brokenLease) {
			if l.Path() == "renew/a" {
				l.renew = func(ttl time.Duration) error { return l.Lease.Renew(ttl + time.Until(l.Lease.Expires())) }
			}
		})
	}},
	{"renews for longer only", []string{"DATABASE-96"}, func(b *brokenLeases) {
		b.each(func(l *brokenLease) {
			l.renew = func(ttl time.Duration) error {
				if ttl > 0 && ttl < time.Until(l.Lease.Expires()) {
					return nil
				}
				return l.Lease.Renew(ttl)
			}
		})
	}},
	{"leases a glob", []string{"DATABASE-97"}, func(b *brokenLeases) {
		b.acquire = func(ctx context.Context, path string, ttl time.Duration) (Lease, error) {
			if key.IsValid(path) && key.HasGlob(path) {
				path, ttl = "glob", 1
			}
			return given(b.real(ctx, path, ttl))
		}
	}},
	{"takes no time for a moment", []string{"DATABASE-97"}, func(b *brokenLeases) {
		b.acquire = func(ctx context.Context, path string, ttl time.Duration) (Lease, error) {
			if ttl == 0 {
				ttl = 1
			}
			return given(b.real(ctx, path, ttl))
		}
	}},
	{"ends a lease that is renewed for no time", []string{"DATABASE-97"}, func(b *brokenLeases) {
		b.each(func(l *brokenLease) {
			l.renew = func(ttl time.Duration) error {
				err := l.Lease.Renew(ttl)
				if errors.Is(err, storage.ErrInvalidTTL) {
					err = errors.Join(err, l.Lease.Release())
				}
				return err
			}
		})
	}},
	{"returns a lease with an error", []string{"DATABASE-97"}, func(b *brokenLeases) {
		b.acquire = func(ctx context.Context, path string, ttl time.Duration) (Lease, error) {
			l, err := b.real(ctx, path, ttl)
			if err != nil && ttl <= 0 {
				return &brokenLease{}, err
			}
			return given(l, err)
		}
	}},
	{"waits on when the context has ended", []string{"DATABASE-98"}, func(b *brokenLeases) {
		b.acquire = func(_ context.Context, path string, ttl time.Duration) (Lease, error) {
			return given(b.real(context.Background(), path, ttl))
		}
	}},
	{"locks for one who gave up", []string{"DATABASE-98"}, func(b *brokenLeases) {
		b.acquire = func(ctx context.Context, path string, ttl time.Duration) (Lease, error) {
			l, err := b.real(ctx, path, ttl)
			if errors.Is(err, context.DeadlineExceeded) {
				w := start(func() error { _, err := b.real(context.Background(), path, ttl); return err })
				for !parked(w.id) && len(w.done) == 0 {
					time.Sleep(50 * time.Microsecond)
				}
			}
			return given(l, err)
		}
	}},
	{"leases what is free to one who gave up", []string{"DATABASE-98"}, func(b *brokenLeases) {
		b.acquire = func(ctx context.Context, path string, ttl time.Duration) (Lease, error) {
			if ctx.Err() != nil {
				ctx = context.Background()
			}
			return given(b.real(ctx, path, ttl))
		}
	}},
	{"keeps leases when it closes", []string{"DATABASE-99"}, func(b *brokenLeases) {
		b.each(func(l *brokenLease) {
			if l.Path() == "close/a" {
				l.done = func() <-chan struct{} { return nil }
			}
		})
	}},
	{"does not say that it closes", []string{"DATABASE-99"}, func(b *brokenLeases) {
		b.acquire = func(ctx context.Context, path string, ttl time.Duration) (Lease, error) {
			active := b.Active()
			l, err := b.real(ctx, path, ttl)
			if active && errors.Is(err, storage.ErrNotActive) {
				err = errOnPurpose
			}
			return given(l, err)
		}
	}},
	{"lets the leases of an earlier run release a lock", []string{"DATABASE-99"}, func(b *brokenLeases) {
		var newest sync.Map // path to lease
		b.each(func(l *brokenLease) {
			newest.Store(l.Path(), l)
			l.release = func() error {
				err := l.Lease.Release()
				if next, ok := newest.Load(l.Path()); ok && errors.Is(err, storage.ErrNotActive) && next != l {
					return errors.Join(err, next.(*brokenLease).Lease.Release())
				}
				return err
			}
		})
	}},
}

// TestBrokenLeases is TestBrokenDatabases for leases.
func TestBrokenLeases(t *testing.T) {
	for _, broken := range leaseFaults {
		t.Run(broken.name, func(t *testing.T) {
			t.Parallel()
			s := &subject{openDatabase: func(T) storage.Database {
				b := &brokenLeases{brokenDatabase: newBrokenDatabase()}
				b.each(func(*brokenLease) {})
				broken.harm(b)
				return b
			}}
			wantFailures(t, databaseClauses, s, broken.want...)
		})
	}
}

// TestEachLeaseClauseHasAFault checks that a store is broken in each clause on leases, and in
// it alone.
func TestEachLeaseClauseHasAFault(t *testing.T) {
	for _, c := range leaseClauses {
		if !slices.ContainsFunc(leaseFaults, func(f leaseFault) bool { return slices.Equal(f.want, []string{c.ID}) }) {
			t.Errorf("no store is broken in %s", c)
		}
	}
}
