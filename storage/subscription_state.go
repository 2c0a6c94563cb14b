package storage

import (
	"context"
	"fmt"

	"github.com/oolith-db/oolith/meta"
)

// How a subscription gets its state, a fresh one when it fell behind, and tells it.

// fresh takes a state, in an instant of the pipeline; nil where none is told.
func (s *Subscription) fresh(r *run) (*state, error) {
	if s.options.ChangesOnly {
		return nil, nil
	}
	return r.stateOf(s.pattern, s.options.Order, s.options.Limit, true)
}

// begin makes the subscription begin, or begin anew, with a state of a revision, or none if state is nil. missed
// says that changes were missed. No revision below lowest can be caught up from. It needs the feed's mu.
// It reports whether it began, which it does not when it is closed, and whether that was with a NoticeReset.
func (s *Subscription) begin(state *state, revision uint64, missed bool, lowest uint64) (began, anew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.beginLocked(state, revision, missed, lowest)
}

func (s *Subscription) beginLocked(state *state, revision uint64, missed bool, lowest uint64) (began, anew bool) {
	if s.closed != nil {
		state.close()
		return false, false
	}
	s.catchUp, s.since, s.taken = false, 0, 0
	switch missed = missed || s.overflow; {
	case missed && s.options.CatchUp && s.revision >= max(lowest, 1):
		// One that is told so again before its NoticeLive is told all from the same revision on.
		s.catchUp, s.since = true, s.revision
	case missed:
		s.reset, anew = true, true
	}
	if state != nil {
		s.taken = state.now
	}
	// What it had missed, and was not told of yet, is in the state.
	s.state, s.missed, s.live, s.at, s.overflow = state, nil, true, revision, false
	return true, anew
}

// read tells the next object of the state, if there is one more, or does a part of the work that comes before the first.
func (s *Subscription) read() (n Notice, ok bool, err error) {
	state := s.state // nobody else changes it now
	var obj *meta.Object
	working, err := state.arrange()
	if !working && err == nil {
		obj, err = state.next()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.endReadLocked()
	switch {
	case s.closed != nil:
		return n, false, s.closed
	case err != nil:
		state.close()
		s.state, s.live, s.overflow = nil, false, true
		s.clearQueueLocked()
		return n, false, fmt.Errorf("persistent layer: %w", err)
	case working:
		s.count++ // it goes on
		return n, false, nil
	case obj == nil:
		s.state = nil
		return n, false, nil
	}
	s.count++
	n = Notice{Kind: NoticeState, Revision: obj.Revision, Path: obj.Path, Object: obj}
	if obj.Revision <= s.since && !state.unnumbered {
		n.Kind = NoticeUnchanged
	}
	return n, true, nil
}

// endReadLocked ends what the field reading says.
func (s *Subscription) endReadLocked() {
	s.reading = false
	if s.closed != nil {
		s.state.close()
		s.state = nil
	}
	s.settleLocked()
	s.letGoLocked()
	s.wakeLocked()
}

// refresh gets a fresh state for a subscription that fell behind.
func (s *Subscription) refresh() (err error) {
	s.mu.Lock()
	r := s.run // nobody lets go of it while the field reading says so
	s.mu.Unlock()
	active := false
	if r != nil { // else it was closed
		if active, err = s.attach(context.Background(), r, 0); !active {
			err = s.refreshLast(r)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endReadLocked()
	return err
}

// refreshLast is refresh of a store that is being closed: what there is stays, as long as its layers
// can be read.
func (s *Subscription) refreshLast(r *run) error {
	f := &r.feed
	<-f.ended
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over && r.view.needsLayer() {
		return ErrNotActive
	}
	return s.beginLast(r, true)
}

// beginLast makes a subscription that fell behind begin anew when nothing more is committed, unless that was done
// meanwhile. Both Next and the Close of the store do it, Next with the field reading set: while it is, the state is
// Next's alone. It needs the feed's mu.
func (s *Subscription) beginLast(r *run, reading bool) error {
	state, err := s.fresh(r)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.overflow || s.reading != reading {
		state.close()
		return nil
	}
	if _, anew := s.beginLocked(state, r.pipeline.revision.Load(), false, r.feed.lowest); anew {
		r.feed.resets++
	}
	return nil
}
