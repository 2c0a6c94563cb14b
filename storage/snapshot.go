package storage

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// Snapshot is the content of a store, or a part of it, at one revision. It covers all directories, with all changes
// up to the revision and none after it. Until it is closed it costs its content: from memory a pointer for each
// object, plus overwritten objects.
//
// Only one goroutine at a time may use All. The other methods may be called concurrently. The zero value is closed.
type Snapshot struct {
	gate     *readGate // of the run; nil for the zero value, which is closed
	pattern  string
	revision uint64

	mu    sync.Mutex      // guards the fields below; held while the persistent layer is read
	ctx   context.Context // ends the snapshot; nil at the end
	state *state
	err   error // why the snapshot ended; nil until then
	ended bool  // all was yielded
}

// Snapshot takes a snapshot of the objects that match a pattern: a glob, a single path, or "" for everything. Like a
// write it has its place in the commit order, so it never includes half of a change. The caller must close it.
//
// If the store has its objects in memory, writers wait while Snapshot copies a pointer for each object. If lists come
// from the persistent layer, writers wait while a scan begins, or, for a layer that is not a Scanner, until it has
// read everything. The rest runs concurrently with writers.
//
// The context ends the snapshot, not only this call, which waits for commits in progress. If writes are stopped and
// lists come from the persistent layer, Snapshot returns ErrWritesStopped, because the layer may hold writes that no
// commit acknowledged.
func (l *Layered) Snapshot(ctx context.Context, pattern string) (*Snapshot, error) {
	s, err := l.takeSnapshot(ctx, pattern)
	if err != nil {
		return nil, failed("snapshot", pattern, err)
	}
	return s, nil
}

func (l *Layered) takeSnapshot(ctx context.Context, pattern string) (*Snapshot, error) {
	r, err := l.active()
	if err != nil {
		return nil, err
	}
	if err := checkContext(ctx); err != nil {
		return nil, err
	}
	if pattern != "" {
		if err := key.Check(pattern); err != nil {
			return nil, fmt.Errorf("%w, %w", ErrInvalidPath, err)
		}
		r.beforeRead(pattern)
	}
	if err := r.checkAge(); err != nil {
		return nil, err
	}
	s := &Snapshot{gate: r.readGate, ctx: ctx, pattern: pattern}
	failure := r.commit(&write{op: opInstant, instant: func(revision uint64) {
		s.revision = revision
		if r.view.needsLayer() {
			if err = r.pipeline.cause(); err != nil {
				return
			}
		}
		s.state, err = r.stateOf(pattern, OrderNone, 0, false)
	}})
	if failure != nil {
		return nil, failure
	}
	if err != nil {
		return nil, err
	}
	s.state.sort()
	return s, nil
}

// Revision returns the snapshot's position in the commit order: the revision of the last change it includes.
func (s *Snapshot) Revision() uint64 { return s.revision }

// All returns the objects in order of (Parent, Index), both compared as bytes, each with the revision of its last
// change. Expires is the end of an object's own time to live, as the persistent layer stores it, without
// Options.Retention, which may change. The Data is shared and read-only. After leaving a loop early, another loop
// continues where it stopped.
//
// An error is yielded last and ends the loop: the persistent layer's, the context's, ErrNotActive after the store is
// closed, or ErrSnapshotClosed after Close. The loop's body may call the store, and close it.
func (s *Snapshot) All() iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		for {
			obj, err := s.next()
			if err != nil {
				yield(meta.Object{}, failed("snapshot", s.pattern, err))
				return
			}
			if obj == nil || !yield(*obj, nil) {
				return
			}
		}
	}
}

// next returns the next object, nil at the end.
func (s *Snapshot) next() (*meta.Object, error) {
	if s.gate == nil {
		return nil, ErrSnapshotClosed
	}
	s.mu.Lock()
	ctx := s.ctx
	s.mu.Unlock()
	var over error
	if ctx != nil {
		over = ctx.Err() // the caller's code, called without a lock
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return nil, s.err
	case s.ended:
		return nil, nil
	}
	obj, err := (*meta.Object)(nil), over
	if err == nil {
		obj, err = s.readLocked()
	}
	if err != nil {
		s.endLocked(err)
		return nil, err
	}
	if s.ended = obj == nil; s.ended {
		s.letGoLocked()
	}
	return obj, nil
}

func (s *Snapshot) readLocked() (*meta.Object, error) {
	s.gate.calls.RLock()
	defer s.gate.calls.RUnlock()
	if s.gate.closed {
		return nil, ErrNotActive
	}
	return s.state.next()
}

// Close releases everything that the snapshot holds. It may be called several times.
func (s *Snapshot) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(ErrSnapshotClosed)
}

// endLocked ends the snapshot for a reason.
func (s *Snapshot) endLocked(err error) {
	if s.err == nil {
		s.err = err
		s.letGoLocked()
	}
}

// letGoLocked releases everything that the snapshot holds.
func (s *Snapshot) letGoLocked() {
	s.state.close()
	s.state, s.ctx = nil, nil
}
