package etcd

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oolith-db/oolith/storage"
)

// fakeLeases are the leases of a fake. One that is revoked takes the keys with it that are bound to it.
type fakeLeases struct {
	clientv3.Lease
	kv    *fakeKV
	mu    sync.Mutex
	given clientv3.LeaseID
	live  map[clientv3.LeaseID]bool
	// revoking is called before a lease is revoked, if it is not nil.
	revoking func()
}

func (f *fakeLeases) Grant(context.Context, int64) (*clientv3.LeaseGrantResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.given++
	f.live[f.given] = true
	return &clientv3.LeaseGrantResponse{ID: f.given}, nil
}

func (f *fakeLeases) KeepAlive(ctx context.Context, _ clientv3.LeaseID) (<-chan *clientv3.LeaseKeepAliveResponse, error) {
	alive := make(chan *clientv3.LeaseKeepAliveResponse)
	context.AfterFunc(ctx, func() { close(alive) })
	return alive, nil
}

func (f *fakeLeases) Revoke(_ context.Context, id clientv3.LeaseID) (*clientv3.LeaseRevokeResponse, error) {
	if f.revoking != nil {
		f.revoking()
	}
	f.mu.Lock()
	delete(f.live, id)
	f.mu.Unlock()
	f.kv.mu.Lock()
	defer f.kv.mu.Unlock()
	for key, kv := range f.kv.held {
		if kv.Lease == int64(id) {
			delete(f.kv.held, key)
		}
	}
	return &clientv3.LeaseRevokeResponse{}, nil
}

func (f *fakeLeases) lives(id clientv3.LeaseID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.live[id]
}

func newFakeLocks(t *testing.T) (*Layer, *fakeKV, *fakeLeases) {
	t.Helper()
	l, f := newFake(t)
	leases := &fakeLeases{kv: f, live: make(map[clientv3.LeaseID]bool)}
	l.session.Load().client.Lease, f.leases = leases, leases
	return l, f, leases
}

// places are the keys in the queues of locks.
func (f *fakeKV) places() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key := range maps.Keys(f.held) {
		if len(key) > len(defaultPrefix) && key[len(defaultPrefix)] == 'l' {
			n++
		}
	}
	return n
}

// A lock whose Acquire fails, at any step and whether or not that took place, keeps nobody out.
func TestAcquireFailsAndLeavesNothing(t *testing.T) {
	for step := range 2 {
		for _, takes := range []bool{false, true} {
			l, f, leases := newFakeLocks(t)
			n := 0
			f.answer = func([]clientv3.Op) (bool, error) {
				if n++; n-1 == step {
					return takes, context.DeadlineExceeded
				}
				return true, nil
			}
			if _, err := l.Acquire(t.Context(), "p", time.Hour, true); !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("Acquire that fails at step %d: %v, want ErrUnavailable", step, err)
			}
			if f.places() > 0 || len(leases.live) > 0 {
				t.Errorf("at step %d, which took place: %v, %d places and %d leases stay", step, takes, f.places(), len(leases.live))
			}
		}
	}
}

// An Acquire whose context ends returns while the cluster does not answer, and leaves nothing in the end.
func TestAcquireCalledOff(t *testing.T) {
	l, f, leases := newFakeLocks(t)
	ctx, cancel := context.WithCancel(t.Context())
	answers := make(chan struct{})
	n := 0
	f.answer = func([]clientv3.Op) (bool, error) {
		switch n++; n {
		case 1: // it enters the queue
		case 2:
			cancel()
			return false, ctx.Err()
		default:
			<-answers
		}
		return true, nil
	}
	if _, err := l.Acquire(ctx, "p", time.Hour, true); !errors.Is(err, context.Canceled) {
		t.Errorf("Acquire: %v, want its context's error", err)
	}
	close(answers)
	if l.session.Load().work.Wait(); f.places() > 0 || len(leases.live) > 0 {
		t.Errorf("%d places and %d leases stay", f.places(), len(leases.live))
	}
}

// A lock is held on when the answer to its Renew is lost, whether or not that took place, and a later Release gives it up.
func TestRenewWithLostAnswer(t *testing.T) {
	for _, takes := range []bool{false, true} {
		l, f, leases := newFakeLocks(t)
		lock, err := l.Acquire(t.Context(), "p", time.Hour, true)
		if err != nil {
			t.Fatal(err)
		}
		f.answer = func([]clientv3.Op) (bool, error) { return takes, context.DeadlineExceeded }
		if err := lock.Renew(t.Context(), time.Hour); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("Renew: %v, want ErrUnavailable", err)
		}
		f.answer = nil
		if f.places() != 1 {
			t.Errorf("after a Renew that took place: %v, another can have the lock", takes)
		}
		if err := lock.Renew(t.Context(), time.Hour); err != nil {
			t.Errorf("Renew again: %v", err)
		}
		if len(leases.live) != 1 {
			t.Errorf("%d leases live, want the last one", len(leases.live))
		}
		f.answer = func([]clientv3.Op) (bool, error) { return takes, context.DeadlineExceeded }
		_ = lock.Renew(t.Context(), time.Hour) // its answer is lost
		f.answer = nil
		if err := lock.Release(t.Context()); err != nil {
			t.Errorf("Release: %v", err)
		}
		if f.places() > 0 || len(leases.live) > 0 {
			t.Errorf("%d places and %d leases stay", f.places(), len(leases.live))
		}
		if err := lock.Renew(t.Context(), time.Hour); !errors.Is(err, storage.ErrLeaseLost) {
			t.Errorf("Renew after Release: %v, want ErrLeaseLost", err)
		}
	}
}

// A Renew whose answer was lost, and which takes place after a later one, does not bind the lock to its lease.
func TestRenewComesLate(t *testing.T) {
	l, f, leases := newFakeLocks(t)
	lock, err := l.Acquire(t.Context(), "p", time.Hour, true)
	if err != nil {
		t.Fatal(err)
	}
	var late *fakeTxn
	f.late = func(x *fakeTxn) { late = x }
	f.answer = func([]clientv3.Op) (bool, error) { return false, context.DeadlineExceeded }
	if err := lock.Renew(t.Context(), time.Second); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Renew: %v, want ErrUnavailable", err)
	}
	f.answer = nil
	leases.revoking = sync.OnceFunc(func() { late.apply() })
	if err := lock.Renew(t.Context(), time.Hour); err != nil {
		t.Errorf("Renew again: %v", err)
	}
	if f.places() != 1 {
		t.Error("the lock is lost")
	}
}

// Renew and Release beside each other, as a lease that ends while its holder renews it: the lock is given up in the end.
func TestRenewBesideRelease(t *testing.T) {
	for range 100 {
		l, f, leases := newFakeLocks(t)
		lock, err := l.Acquire(t.Context(), "p", time.Hour, true)
		if err != nil {
			t.Fatal(err)
		}
		var work sync.WaitGroup
		for range 2 {
			work.Go(func() { _ = lock.Renew(t.Context(), time.Hour) }) // it may be lost
		}
		work.Go(func() {
			if err := lock.Release(t.Context()); err != nil {
				t.Errorf("Release: %v", err)
			}
		})
		work.Wait()
		if f.places() > 0 || len(leases.live) > 0 {
			t.Fatalf("%d places and %d leases stay", f.places(), len(leases.live))
		}
	}
}

// Nothing is written by a layer that is opened to read only: no lock either.
func TestAcquireReadOnly(t *testing.T) {
	l, f, _ := newFakeLocks(t)
	l.options.ReadOnly, l.session.Load().options.ReadOnly = true, true
	if _, err := l.Acquire(t.Context(), "p", time.Hour, true); !errors.Is(err, storage.ErrReadOnly) || f.places() > 0 {
		t.Errorf("Acquire: %v, %d places", err, f.places())
	}
}

func (f *fakeLeases) Close() error { return nil }
