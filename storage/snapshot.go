package storage

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// Snapshot is what a store, or a part of it, held at one revision: across all directories, with
// all changes up to it and none behind. It costs what it holds (from memory, a pointer for each
// object, and the objects themselves once they are overwritten) until it is closed.
//
// All is for one goroutine at a time. The other methods may be called from any goroutine. The zero value is
// closed.
type Snapshot struct {
	gate     *readGate // of the run; nil for the zero value, which is closed
	pattern  string
	revision uint64

	mu    sync.Mutex      // guards the fields below; held while the persistent layer is read
	ctx   context.Context // ends the snapshot, as that of a subscription does; nil once there is nothing more
	state *state
	err   error // why there is nothing more; nil while there may be
	ended bool  // all was yielded
}

// Snapshot takes a snapshot of what matches a pattern: a glob, a single path, or "" for everything.
// It has its place in the commit order like a write: no change is half in it. The
// caller closes it.
//
// In a store that has its objects in memory, writers wait while a pointer to each object
// is copied; where lists come from the persistent layer, while a scan of it begins, or, of a layer
// that is no Scanner, for as long as that takes to read everything. All the
// rest happens beside the writers.
//
// The context ends the snapshot, not only this call, which waits for its turn behind the commits under
// way. A store that takes no more writes and whose lists come from the persistent layer has no snapshot,
// but ErrWritesStopped: its layer may hold what no commit acknowledged.
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
			return nil, fmt.Errorf("%w: %w", ErrInvalidPath, err)
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

// Revision returns the place of the snapshot in the commit order: that of the last change in it.
func (s *Snapshot) Revision() uint64 { return s.revision }

// All returns the objects in the order of (Parent, Index), both compared as bytes, each with the
// revision of its last change. Expires is the end of its own time to live, as a persistent layer keeps it: what
// Options.Retention adds, which may be something else tomorrow, is left out. Their Data is shared and
// read-only. A loop that is left early can be taken up by another one, which goes on behind it.
//
// An error ends the loop, and comes last: that of the persistent layer, the context's, ErrNotActive
// after a Close of the store, ErrSnapshotClosed after Close. The loop's body may call the store, and close it.
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
		over = ctx.Err() // the caller's code: under no lock
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

// Close lets go of all that the snapshot holds. It may be called any number of times.
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

// letGoLocked lets go of all that the snapshot holds.
func (s *Snapshot) letGoLocked() {
	s.state.close()
	s.state, s.ctx = nil, nil
}
