package storage

import (
	"container/list"
	"context"
	"sync"

	"github.com/oolith-db/oolith/meta"
)

// Lock waits until it holds the advisory lock of a path, first come first served. The lock excludes other lockers but
// not plain reads and writes. The path need not hold an object. Lock returns ErrNotActive if the store is closed,
// even while it waits.
func (l *Layered) Lock(path string) error {
	return l.LockContext(context.Background(), path)
}

// LockContext is Lock with a context. It returns the context's error if the context ends first.
func (l *Layered) LockContext(ctx context.Context, path string) error {
	r, err := l.active()
	if err == nil {
		err = checkLock(path)
	}
	if err == nil {
		err = r.locks.acquire(ctx, path, &hold{})
	}
	if err != nil {
		return failed("lock", path, err)
	}
	return nil
}

// TryLock locks a path without waiting and reports whether it did. It returns false for a path that cannot be locked
// and for a store that is not active.
func (l *Layered) TryLock(path string) bool {
	r, err := l.active()
	return err == nil && checkLock(path) == nil && r.locks.try(path, &hold{}) == nil
}

// GetAndLock locks a path, waiting for its turn, and returns the object at the path. If there is none it returns
// ErrNotFound and does not lock the path.
func (l *Layered) GetAndLock(path string) (meta.Object, error) {
	obj, err := l.getAndLock(path)
	if err != nil {
		return meta.Object{}, failed("get and lock", path, err)
	}
	return obj, nil
}

func (l *Layered) getAndLock(path string) (meta.Object, error) {
	r, err := l.active()
	if err != nil {
		return meta.Object{}, err
	}
	if err := checkLock(path); err != nil {
		return meta.Object{}, err
	}
	r.beforeRead(path)
	h := &hold{}
	if err := r.locks.acquire(context.Background(), path, h); err != nil {
		return meta.Object{}, err
	}
	found := false
	defer func() { // also if the layer panics
		if !found {
			r.locks.drop(path, h)
		}
	}()
	obj, err := r.view.get(path)
	found = err == nil
	return obj, err
}

// Unlock releases the lock of a path, whichever caller of Lock, TryLock or GetAndLock took it. It returns
// ErrLockNotFound if the path is not locked, and ErrLockOwned if a Lease holds it: only its owner can release it.
func (l *Layered) Unlock(path string) error {
	r, err := l.active()
	if err == nil {
		err = checkLock(path)
	}
	if err == nil {
		err = r.locks.claim(path)
	}
	if err != nil {
		return failed("unlock", path, err)
	}
	r.locks.release(path)
	return nil
}

// lockTable is the registry of the locks in use, including those of leases.
type lockTable struct {
	mu     sync.Mutex // guards the fields below and those of leases; no other lock is taken under it
	held   map[string]*pathLock
	closed bool
}

// pathLock is a lock that is held.
type pathLock struct {
	holder  *hold
	waiters list.List // of *hold, in order of arrival
	// claimed is set by the one release in progress. A second release finds no lock.
	claimed bool
}

// hold is one caller's turn with a lock, including the time it waits. Its address identifies the turn.
type hold struct {
	lease *Lease // nil for a lock without an owner
	// granted receives nil with the lock, or the reason why it is not granted. It has room for one value, and is nil
	// if there was nothing to wait for.
	granted chan error
}

// try takes a free lock for a hold, or returns ErrLocked or ErrNotActive.
func (t *lockTable) try(path string, h *hold) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return ErrNotActive
	case !t.tryLocked(path, h):
		return ErrLocked
	}
	return nil
}

func (t *lockTable) tryLocked(path string, h *hold) bool {
	if t.heldLocked(path) != nil {
		return false
	}
	if t.held == nil {
		t.held = make(map[string]*pathLock)
	}
	lock := &pathLock{}
	t.held[path] = lock
	lock.grantLocked(h)
	return true
}

// heldLocked returns the lock of a path, or nil if it is free. An expired lease holds nothing, even if its timer is
// late.
func (t *lockTable) heldLocked(path string) *pathLock {
	lock := t.held[path]
	if lock != nil && lock.holder.lease != nil && lock.holder.lease.lostLocked() != nil {
		return t.held[path] // the next waiter's, if there is one
	}
	return lock
}

// acquire gives a lock to a hold after all that arrived before it, or returns the context's error or ErrNotActive.
func (t *lockTable) acquire(ctx context.Context, path string, h *hold) error {
	if err := checkContext(ctx); err != nil {
		return err
	}
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return ErrNotActive
	}
	if t.tryLocked(path, h) {
		t.mu.Unlock()
		return nil
	}
	lock := t.held[path]
	h.granted = make(chan error, 1)
	place := lock.waiters.PushBack(h)
	t.mu.Unlock()

	select {
	case err := <-h.granted:
		return err
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case err := <-h.granted:
		// The lock was granted while the context ended: pass it on.
		if err == nil {
			t.dropLocked(path, h)
		}
	default:
		lock.waiters.Remove(place)
	}
	return ctx.Err()
}

// grantLocked gives the lock to a hold. The time of a lease starts now, not when its caller continues.
func (p *pathLock) grantLocked(h *hold) {
	p.holder = h
	if h.lease != nil {
		h.lease.beginLocked()
	}
	if h.granted != nil {
		h.granted <- nil
	}
}

// claim reserves the release of a lock for the caller, who must then call release. It returns ErrLockNotFound if the
// path is not locked or another caller is releasing it, and ErrLockOwned if a lease holds it.
func (t *lockTable) claim(path string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrNotActive
	}
	lock := t.heldLocked(path)
	switch {
	case lock == nil || lock.claimed:
		return ErrLockNotFound
	case lock.holder.lease != nil:
		return ErrLockOwned
	}
	lock.claimed = true
	return nil
}

// release hands a claimed lock to its first waiter, or removes it.
func (t *lockTable) release(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.releaseLocked(path)
}

func (t *lockTable) releaseLocked(path string) {
	lock := t.held[path]
	if lock == nil {
		return // closed in the meantime
	}
	lock.claimed = false
	if first := lock.waiters.Front(); first != nil {
		lock.grantLocked(lock.waiters.Remove(first).(*hold))
		return
	}
	delete(t.held, path)
}

// drop releases a lock if a hold still has it and no other caller is releasing it.
func (t *lockTable) drop(path string, h *hold) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropLocked(path, h)
}

func (t *lockTable) dropLocked(path string, h *hold) {
	lock := t.held[path]
	if lock == nil || lock.holder != h || lock.claimed {
		return
	}
	if h.lease != nil {
		h.lease.endLocked(errLeaseReleased)
	}
	t.releaseLocked(path)
}

// close wakes all waiters with ErrNotActive, ends all leases and forgets all locks.
func (t *lockTable) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, lock := range t.held {
		for w := lock.waiters.Front(); w != nil; w = w.Next() {
			w.Value.(*hold).granted <- ErrNotActive
		}
		lock.waiters.Init()
		if lock.holder.lease != nil {
			lock.holder.lease.endLocked(errLeaseClosed)
		}
	}
	t.held = nil
}
