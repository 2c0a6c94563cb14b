package storage

import (
	"container/list"
	"context"
	"sync"

	"github.com/oolith-db/oolith/meta"
)

// Lock waits until it holds the advisory lock of a path, first come first served. The
// lock excludes other lockers and not plain reads and writes; the path need not hold an
// object. It returns ErrNotActive when the store is closed, also while waiting.
func (l *Layered) Lock(path string) error {
	return l.LockContext(context.Background(), path)
}

// LockContext is Lock that gives up with the context's error.
func (l *Layered) LockContext(ctx context.Context, path string) error {
	r, err := l.active()
	if err == nil {
		err = checkLock(path)
	}
	if err == nil {
		err = r.locks.acquire(ctx, path)
	}
	if err != nil {
		return failed("lock", path, err)
	}
	return nil
}

// TryLock locks a path if that is possible at once, and reports whether it did. It is
// false for a path that cannot be locked and for a store that is not active.
func (l *Layered) TryLock(path string) bool {
	r, err := l.active()
	return err == nil && checkLock(path) == nil && r.locks.try(path)
}

// GetAndLock locks a path, waiting for its turn, and returns the path's object. When there
// is none it returns ErrNotFound and the path is not locked.
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
	if err := r.locks.acquire(context.Background(), path); err != nil {
		return meta.Object{}, err
	}
	found := false
	defer func() { // also when the layer panics
		if !found && r.locks.claim(path) == nil {
			r.locks.release(path)
		}
	}()
	obj, err := r.get(path)
	found = err == nil
	return obj, err
}

// Unlock releases the lock of a path, whoever holds it, or returns ErrLockNotFound.
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

// lockTable is the registry of the locks in use.
type lockTable struct {
	mu     sync.Mutex // guards the fields below
	held   map[string]*pathLock
	closed bool
}

// pathLock is a lock that somebody holds.
type pathLock struct {
	waiters list.List // of chan error, the first to come in front
	// claimed is set by the one release that is under way: a second one finds no lock.
	claimed bool
}

// try takes a free lock and reports whether it did.
func (t *lockTable) try(path string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.closed && t.tryLocked(path)
}

func (t *lockTable) tryLocked(path string) bool {
	if t.held[path] != nil {
		return false
	}
	if t.held == nil {
		t.held = make(map[string]*pathLock)
	}
	t.held[path] = &pathLock{}
	return true
}

func (t *lockTable) acquire(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return ErrNotActive
	}
	if t.tryLocked(path) {
		t.mu.Unlock()
		return nil
	}
	lock := t.held[path]
	granted := make(chan error, 1)
	place := lock.waiters.PushBack(granted)
	t.mu.Unlock()

	select {
	case err := <-granted:
		return err
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case err := <-granted:
		// The turn came while the context ended: it goes to the next.
		if err == nil {
			t.releaseLocked(path)
		}
	default:
		lock.waiters.Remove(place)
	}
	return ctx.Err()
}

// claim reserves the release of a lock for the caller, who must call release. It returns
// ErrLockNotFound when nobody holds the lock or another is releasing it.
func (t *lockTable) claim(path string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrNotActive
	}
	lock := t.held[path]
	if lock == nil || lock.claimed {
		return ErrLockNotFound
	}
	lock.claimed = true
	return nil
}

// release hands a claimed lock to its first waiter, or forgets it.
func (t *lockTable) release(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.releaseLocked(path)
}

func (t *lockTable) releaseLocked(path string) {
	lock := t.held[path]
	if lock == nil {
		return // closed meanwhile
	}
	lock.claimed = false
	if first := lock.waiters.Front(); first != nil {
		lock.waiters.Remove(first).(chan error) <- nil
		return
	}
	delete(t.held, path)
}

// close wakes all waiters with ErrNotActive and forgets all locks.
func (t *lockTable) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, lock := range t.held {
		for w := lock.waiters.Front(); w != nil; w = w.Next() {
			w.Value.(chan error) <- ErrNotActive
		}
		lock.waiters.Init()
	}
	t.held = nil
}
