package storage

import (
	"context"
	"errors"
	"time"
)

// Leases of a store over a SharedLayer. A lease takes the lock of its own store first, which orders the local
// waiters, and then the lock among all nodes. The lease ends by the clock of its node. The lock among all nodes
// outlives it slightly, until it is released.

// releasePatience is how long releasing a shared lock may take. The lock ends by itself after that.
const releasePatience = 5 * time.Second

// share takes the lock among all nodes once the lease has the lock of its own store, and starts the time of the
// lease.
func (l *Lease) share(ctx context.Context, h *hold, wait bool) (err error) {
	m := l.mirror
	if m == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // Close cancels the wait
		select {
		case <-l.done:
		case <-m.ctx.Done():
		case <-ctx.Done():
		}
		cancel()
	}()
	var lock SharedLock
	if err = m.begin(); err == nil {
		defer m.work.Done()
		lock, err = m.acquire(ctx, l.path, l.ttl, wait)
	}
	t := l.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil && l.ended == nil {
		l.shared = lock
		l.beginLocked()
		l.token = lock.Token()
		return nil
	}
	if err == nil {
		m.unlock(l.path, lock)
	}
	if l.ended != nil { // by Close
		return ErrNotActive
	}
	t.dropLocked(l.path, h)
	return err
}

func (m *mirror) acquire(ctx context.Context, path string, ttl time.Duration, wait bool) (lock SharedLock, err error) {
	defer panicAsError(&err)
	if err := m.unlocked(ctx, path); err != nil { // by the previous lease, whose lock would block this one
		return nil, err
	}
	return m.layer.Acquire(ctx, path, ttl, wait)
}

// unlock releases a lock among all nodes in the background. The caller may hold any lock.
func (m *mirror) unlock(path string, lock SharedLock) {
	done := make(chan struct{})
	m.mu.Lock()
	if m.unlocking == nil {
		m.unlocking = make(map[string]chan struct{})
	}
	m.unlocking[path] = done
	m.mu.Unlock()
	m.work.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(m.ctx), releasePatience)
		defer cancel()
		_ = lock.Release(ctx) // otherwise it ends by itself
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.unlocking[path] == done {
			delete(m.unlocking, path)
		}
		close(done)
	})
}

// unlocked returns once a lock that this store released is free for all nodes, or returns the context's error.
func (m *mirror) unlocked(ctx context.Context, path string) error {
	m.mu.Lock()
	done := m.unlocking[path]
	m.mu.Unlock()
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// renewShared extends the lock among all nodes.
func (l *Lease) renewShared(ttl time.Duration) error {
	if l.shared == nil {
		return nil
	}
	l.table.mu.Lock()
	lost := l.lostLocked()
	l.table.mu.Unlock()
	if lost != nil {
		return lost
	}
	err := l.shared.Renew(l.mirror.ctx, ttl)
	if errors.Is(err, ErrLeaseLost) {
		l.lose()
	}
	return err
}

// lose ends a lease whose lock among all nodes is lost.
func (l *Lease) lose() {
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	if l.lostLocked() == nil {
		l.endLocked(errLeaseExpired)
		l.table.releaseLocked(l.path)
	}
}
