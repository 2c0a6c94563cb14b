package storagetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// slowLocks is a node whose calls about locks take their time.
type slowLocks struct {
	*TwinNode
	renew, release time.Duration
	failure        error         // of Renew
	givesUp        time.Duration // how long an Acquire that is called off takes to leave nothing
	busy           atomic.Int32
	closedBusy     atomic.Bool // Close came while an Acquire was under way
}

type slowLock struct {
	storage.SharedLock
	node *slowLocks
}

func (n *slowLocks) Acquire(ctx context.Context, path string, ttl time.Duration, wait bool) (storage.SharedLock, error) {
	n.busy.Add(1)
	defer n.busy.Add(-1)
	lock, err := n.TwinNode.Acquire(ctx, path, ttl, wait)
	if err != nil {
		time.Sleep(n.givesUp)
		return nil, err
	}
	return slowLock{lock, n}, nil
}

func (n *slowLocks) Close() {
	if n.busy.Load() > 0 {
		n.closedBusy.Store(true)
	}
	n.TwinNode.Close()
}

func (l slowLock) Renew(ctx context.Context, ttl time.Duration) error {
	time.Sleep(l.node.renew)
	if l.node.failure != nil {
		return l.node.failure
	}
	return l.SharedLock.Renew(ctx, ttl)
}

func (l slowLock) Release(ctx context.Context) error {
	time.Sleep(l.node.release)
	return l.SharedLock.Release(ctx)
}

// A lease ends no later than the lock among all nodes may, however long its Renew takes and whether or not its outcome is known.
func TestSharedRenewIsNeverTooLong(t *testing.T) {
	for name, failure := range map[string]error{"slow": nil, "unknown": storage.ErrUnavailable} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				layer := &slowLocks{TwinNode: new(Twin).Node(), renew: 3 * time.Second, failure: failure}
				s := startOver(t, layer, storage.Options{})
				defer s.Close()
				lease, err := s.Acquire(t.Context(), "l", time.Minute)
				must(t, "Acquire", err)
				began := time.Now()
				if err := lease.Renew(10 * time.Second); !errors.Is(err, failure) {
					t.Errorf("Renew: %v, want %v", err, failure)
				}
				if end := lease.Expires(); end.Sub(began) > 10*time.Second {
					t.Errorf("the lease lasts for %v from when it asked for 10 s", end.Sub(began))
				}
				<-lease.Done()
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("Done comes after %v", took)
				}
				if _, err := s.SetWith("k", json.RawMessage(`1`), storage.SetOptions{Lease: lease}); !errors.Is(err, storage.ErrLeaseLost) {
					t.Errorf("SetWith bound to the lease: %v", err)
				}
			})
		})
	}
}

// An Acquire behind a lock that is being given up ends with its context, and Close waits until what was begun left nothing.
func TestSharedAcquireEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		twin := new(Twin)
		layer := &slowLocks{TwinNode: twin.Node(), release: 4 * time.Second, givesUp: time.Second}
		s, other := startOver(t, layer, storage.Options{}), startOver(t, twin.Node(), storage.Options{})
		defer other.Close()
		lease, err := s.Acquire(t.Context(), "l", time.Second)
		must(t, "Acquire", err)
		<-lease.Done() // it is given up among all nodes from now on
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		began := time.Now()
		if _, err := s.Acquire(ctx, "l", time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire: %v, want its context's error", err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("Acquire took %v, its context %v", took, time.Second/2)
		}
		_, err = other.Acquire(t.Context(), "l", time.Hour)
		must(t, "Acquire on the other node", err)
		ended := make(chan error, 1)
		go func() {
			_, err := s.Acquire(context.Background(), "l", time.Second)
			ended <- err
		}()
		synctest.Wait()
		s.Close()
		if err := <-ended; !errors.Is(err, storage.ErrNotActive) {
			t.Errorf("Acquire that waits at Close: %v, want ErrNotActive", err)
		}
		if layer.closedBusy.Load() {
			t.Error("the layer was closed while an Acquire was under way")
		}
	})
}

// lateAnswers is a node whose locks are renewed at once, and whose answer to a renewal for an hour is late.
type lateAnswers struct {
	*TwinNode
	last time.Duration // that the lock was renewed for
}

type lateLock struct {
	storage.SharedLock
	node *lateAnswers
}

func (n *lateAnswers) Acquire(ctx context.Context, path string, ttl time.Duration, wait bool) (storage.SharedLock, error) {
	lock, err := n.TwinNode.Acquire(ctx, path, ttl, wait)
	return lateLock{lock, n}, err
}

func (l lateLock) Renew(_ context.Context, ttl time.Duration) error {
	l.node.last = ttl
	if ttl == time.Hour {
		time.Sleep(time.Second)
	}
	return nil
}

// A lease that is renewed twice at once ends no later than the lock among all nodes.
func TestSharedRenewAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &lateAnswers{TwinNode: new(Twin).Node()}
		s := startOver(t, node, storage.Options{})
		defer s.Close()
		lease, err := s.Acquire(t.Context(), "l", time.Minute)
		must(t, "Acquire", err)
		var both sync.WaitGroup
		both.Go(func() { must(t, "Renew", lease.Renew(time.Hour)) })
		synctest.Wait()
		must(t, "Renew", lease.Renew(time.Minute))
		both.Wait()
		if left := time.Until(lease.Expires()); left > node.last {
			t.Errorf("the lease lasts for %v, the lock among all nodes for %v", left, node.last)
		}
	})
}

// guardedNode keeps how many guards of locks the last proposal had.
type guardedNode struct {
	*TwinNode
	locks int
}

func (n *guardedNode) Propose(ctx context.Context, p *storage.SharedTransaction) (uint64, error) {
	n.locks = 0
	for _, g := range p.Guards {
		if g.Lock != nil {
			n.locks++
		}
	}
	return n.TwinNode.Propose(ctx, p)
}

// A batch has one guard for each lease that it is bound to: engines limit their number.
func TestSharedGuardsOfLeases(t *testing.T) {
	node := &guardedNode{TwinNode: new(Twin).Node()}
	s := startOver(t, node, storage.Options{})
	var batch storage.Batch
	for _, name := range []string{"a", "b"} {
		lease, err := s.Acquire(t.Context(), name, time.Minute)
		must(t, "Acquire", err)
		for i := range 10 {
			batch.SetWith(fmt.Sprint(name, "/", i), json.RawMessage(`1`), storage.SetOptions{Lease: lease})
		}
	}
	must(t, "Commit", second(s.Commit(&batch)))
	if node.locks != 2 {
		t.Errorf("%d guards of locks, want 2", node.locks)
	}
}
