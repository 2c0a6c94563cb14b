package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oolith-db/oolith/storage"
)

// Locks across nodes follow the recipe of etcd's own package concurrency. A locker puts a key below that of the lock,
// bound to a lease of etcd, and has the lock once no key there is older. It then writes its own key again: the
// revision of this write is the token. Unlike in that package, nothing renews a held lock: it ends with the lease of
// the store above.

// placeTTL is how long the place of a crashed node stays in a queue. A waiting node keeps its place alive.
const placeTTL = 10 * time.Second

// lockSlack is how much longer the lock lasts in etcd than for its holder.
const lockSlack = 2 * time.Second

func (k keys) lock(path string) string { return k.prefix + "l/" + path + "\x00" }

// leavePatience is how long an Acquire whose context has ended waits until its place is gone.
const leavePatience = 100 * time.Millisecond

// lock is a key in the queue of a lock. It holds the lock once no other key is older.
type lock struct {
	s       *session
	path    string
	key     string
	created int64 // etcd's revision of the key's creation
	token   uint64

	renewing sync.Mutex // serialises Renew; acquired before mu
	bound    int64      // etcd's revision of the last known write of the key; guarded by renewing
	mu       sync.Mutex // guards the fields below
	// leases are the leases of etcd that the key may be bound to: the last confirmed one, and later ones whose answer
	// was lost.
	leases []clientv3.LeaseID
	over   bool // it was released
}

// Acquire acquires the lock of a path.
func (l *Layer) Acquire(ctx context.Context, path string, ttl time.Duration, wait bool) (storage.SharedLock, error) {
	s, err := l.active()
	if err != nil {
		return nil, err
	}
	if s.options.ReadOnly {
		return nil, storage.ErrReadOnly
	}
	held := &lock{s: s, path: path}
	if err = held.enter(ctx, min(ttl, placeTTL)); err == nil {
		err = held.grant(ctx, ttl, wait)
	}
	if err != nil {
		held.leave(ctx)
		return nil, lockError(ctx, err)
	}
	return held, nil
}

func lockError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return explain(err)
}

// leave gives up the place of a failed Acquire. A caller whose context ends does not wait for a cluster that is lost.
func (k *lock) leave(ctx context.Context) {
	left := make(chan struct{})
	k.s.work.Go(func() {
		defer close(left)
		_ = k.Release(context.WithoutCancel(ctx)) // its place ends by itself
	})
	select {
	case <-left:
		return
	case <-ctx.Done():
	}
	select {
	case <-left: // usually at once: the next TryAcquire of this node finds no place of its own
	case <-time.After(leavePatience):
	}
}

func ttlOf(ttl time.Duration) int64 { return int64((ttl + lockSlack + time.Second - 1) / time.Second) }

// enter enters the queue.
func (k *lock) enter(ctx context.Context, ttl time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, k.s.options.RequestTimeout)
	defer cancel()
	granted, err := k.s.client.Grant(ctx, ttlOf(ttl))
	if err != nil {
		return err
	}
	k.leases = []clientv3.LeaseID{granted.ID} // not shared yet
	k.key = fmt.Sprintf("%s%x", k.s.keys.lock(k.path), granted.ID)
	put, err := k.s.client.Put(ctx, k.key, "", clientv3.WithLease(granted.ID))
	if err != nil {
		return err
	}
	k.created, k.bound = put.Header.Revision, put.Header.Revision
	return nil
}

// grant returns once the lock is held. Its duration begins then.
func (k *lock) grant(ctx context.Context, ttl time.Duration, wait bool) error {
	// The place in the queue must not end while it waits.
	waiting, stop := context.WithCancel(ctx)
	alive, err := k.s.client.KeepAlive(waiting, k.leases[0])
	if err != nil {
		stop()
		return err
	}
	go func() {
		for range alive {
		}
	}()
	err = k.await(ctx, wait)
	stop()
	if err != nil {
		return err
	}
	began := time.Now()
	err = k.Renew(ctx, ttl)
	if errors.Is(err, storage.ErrLeaseLost) {
		err = fmt.Errorf("%w, the place in the queue of the lock was lost", storage.ErrUnavailable)
	}
	if err != nil {
		return err
	}
	if time.Since(began) > lockSlack {
		return fmt.Errorf("%w, the lock took too long to be had for the time it was asked for", storage.ErrUnavailable)
	}
	return nil
}

// await returns once no key in the queue is older.
func (k *lock) await(ctx context.Context, wait bool) error {
	queue := k.s.keys.lock(k.path)
	for {
		request, cancel := context.WithTimeout(ctx, k.s.options.RequestTimeout)
		before, err := k.s.client.Get(request, queue, append(clientv3.WithLastCreate(), clientv3.WithMaxCreateRev(k.created-1))...)
		cancel()
		switch {
		case err != nil:
			return err
		case len(before.Kvs) == 0:
			return nil
		case !wait:
			return storage.ErrLocked
		}
		if err := k.gone(ctx, string(before.Kvs[0].Key), before.Header.Revision+1); err != nil {
			return err
		}
	}
}

// gone returns when a key is deleted.
func (k *lock) gone(ctx context.Context, key string, revision int64) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	for response := range k.s.client.Watch(ctx, key, clientv3.WithRev(revision)) {
		if response.CompactRevision != 0 {
			return nil // the caller checks again
		}
		if err := response.Err(); err != nil {
			return err
		}
		for _, event := range response.Events {
			if event.Type == clientv3.EventTypeDelete {
				return nil
			}
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return storage.ErrUnavailable
}

// Token returns the revision at which the lock was acquired.
func (k *lock) Token() uint64 { return k.token }

// held is a condition: the lock is held.
func (k *lock) held() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(k.key), "=", k.created)
}

// Renew binds the lock to a new lease of etcd. If the answer is lost, the lock is bound to the new lease or to the
// previous one, and both stay until they end.
func (k *lock) Renew(ctx context.Context, ttl time.Duration) error {
	k.renewing.Lock()
	defer k.renewing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, k.s.options.RequestTimeout)
	defer cancel()
	granted, err := k.s.client.Grant(ctx, ttlOf(ttl))
	if err != nil {
		return explain(err)
	}
	if !k.note(granted.ID) {
		k.s.revoke(granted.ID)
		return storage.ErrLeaseLost
	}
	if err := k.bind(ctx, granted.ID); err != nil {
		return err
	}
	if k.token == 0 {
		k.token = revisionOf(k.bound, 0)
	}
	for _, lease := range k.noteBound(granted.ID) {
		k.s.revoke(lease) // the key is no longer bound to it
	}
	return nil
}

// bind binds the key to a lease. It requires the key as the previous bind left it, so an earlier one whose answer was
// lost has taken place before or never does.
func (k *lock) bind(ctx context.Context, lease clientv3.LeaseID) error {
	for {
		done, err := k.s.client.Txn(ctx).If(k.held(), clientv3.Compare(clientv3.ModRevision(k.key), "=", k.bound)).
			Then(clientv3.OpPut(k.key, "", clientv3.WithLease(lease))).Commit()
		if err != nil {
			return explain(err)
		}
		if done.Succeeded {
			k.bound = done.Header.Revision
			return nil
		}
		now, err := k.s.client.Get(ctx, k.key)
		if err != nil {
			return explain(err)
		}
		if len(now.Kvs) == 0 || now.Kvs[0].CreateRevision != k.created {
			return storage.ErrLeaseLost
		}
		k.bound = now.Kvs[0].ModRevision
	}
}

// note records a lease that the key may soon be bound to, unless the lock was released.
func (k *lock) note(lease clientv3.LeaseID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.over {
		k.leases = append(k.leases, lease)
	}
	return !k.over
}

// noteBound records the lease that the key is bound to, and returns the earlier ones.
func (k *lock) noteBound(lease clientv3.LeaseID) (before []clientv3.LeaseID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if at := slices.Index(k.leases, lease); at > 0 {
		before, k.leases = k.leases[:at], k.leases[at:]
	}
	return before
}

// Release removes the key from the queue. A Renew in progress finds it gone.
func (k *lock) Release(ctx context.Context) error {
	k.mu.Lock()
	leases := k.leases
	k.leases, k.over = nil, true
	k.mu.Unlock()
	if len(leases) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, k.s.options.RequestTimeout)
	defer cancel()
	gone, err := k.s.client.Delete(ctx, k.key)
	for _, lease := range leases {
		_, _ = k.s.client.Revoke(ctx, lease) // removes the key too, if it still exists; the lease ends by itself
	}
	if err == nil && gone.Deleted == 0 {
		return storage.ErrLeaseLost
	}
	return explain(err)
}
