package storage

import (
	"context"
	"fmt"

	"github.com/oolith-db/oolith/meta"
)

// How a subscription takes its state, replaces it when it falls behind, and delivers it.

// fresh takes a state at an instant of the pipeline. It returns nil with ChangesOnly.
func (s *Subscription) fresh(r *run) (*state, error) {
	if s.options.ChangesOnly {
		return nil, nil
	}
	return r.stateOf(s.pattern, s.options.Order, s.options.Limit, true)
}

// begin starts or restarts the subscription with a state at a revision; state may be nil. missed means that changes
// were missed. The subscription cannot catch up from a revision below lowest. begin requires the feed's mu. It reports
// whether the subscription began, which is false if it is closed, and whether it began with a NoticeReset.
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
		// If it falls behind again before its NoticeLive, it still catches up from the same revision.
		s.catchUp, s.since = true, s.revision
	case missed:
		s.reset, anew = true, true
	}
	if state != nil {
		s.taken = state.now
	}
	// The state includes missed changes that were not delivered yet.
	s.state, s.missed, s.live, s.at, s.overflow = state, nil, true, revision, false
	return true, anew
}

// read returns the next object of the state, if there is one. Before the first object it does a part of the sorting
// instead.
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
		s.count++ // counts as progress
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

// endReadLocked ends the phase in which reading is set.
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

// refresh takes a fresh state for a subscription that fell behind.
func (s *Subscription) refresh() (err error) {
	s.mu.Lock()
	r := s.run // not set to nil while reading is set
	s.mu.Unlock()
	active := false
	if r != nil { // otherwise it was closed
		if active, err = s.attach(context.Background(), r, 0); !active {
			err = s.refreshLast(r)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endReadLocked()
	return err
}

// refreshLast is refresh while the store is closed. The content no longer changes and can be read as long as the layers
// are open.
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

// beginLast restarts a subscription that fell behind, once there are no more commits. It does nothing if this has
// already happened. Both Next and the Close of the store call it. Next calls it with the field reading set. While
// reading is set, the state belongs to Next alone. beginLast requires the feed's mu.
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
