package storage

import (
	"context"
	"iter"
	"sync"
)

// Subscription is a cursor over the state of a pattern and then its changes. Close ends it, as does the context of
// Subscribe. Close of the store also ends it, after delivering all changes.
//
// Next must not be called concurrently. All other methods may be called concurrently. The zero value is closed.
type Subscription struct {
	pattern string
	rules   rules
	options SubscribeOptions
	signal  chan struct{} // 1 token: look again

	mu sync.Mutex // guards the fields below
	// run is nil once it is no longer needed, so that a subscription that has ended does not keep the store in memory.
	run  *run
	idle bool // Next found nothing and needs a signal
	// reading means that Next takes a state, or reads the next object of one, which may wait for a disk. If the
	// subscription is closed in the meantime, that Next closes the state.
	reading bool
	// What waits, in the order of delivery.
	reset    bool // NoticeReset is due
	catchUp  bool // NoticeCatchUp is due
	state    *state
	missed   []*change  // changes since the revision that the subscription resumes from
	live     bool       // NoticeLive is due
	rest     []*change  // of the group being delivered
	few      [4]*change // memory for rest, sufficient for most groups
	overflow bool       // changes were dropped, so a fresh state is needed
	queue    backlog    // of changes
	err      error      // returned after all changes; nil if there is no end

	revision uint64        // up to which everything was delivered
	told     uint64        // feed.told at the end of the run
	at       uint64        // the revision of state, or the last one of missed
	since    uint64        // the revision that state catches up from; 0 for none
	taken    int64         // when the state was taken, in Unix nanoseconds; 0 without one
	count    uint64        // number of delivered notices
	ended    bool          // the store is closed, and there are no more commits
	settled  chan struct{} // set when the store closes; closed once state is read
	closed   error         // the reason for ending at once
	stop     func() bool   // of the context
}

// push adds the changes of a group, all or none. It returns false if the subscription accepts no more.
func (s *Subscription) push(group []*change) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil || s.err != nil || s.overflow {
		return false
	}
	if group[0].kind > changePart { // not for subscriptions
		s.forgetLocked(group)
		return true
	}
	if s.queue.live >= s.options.Buffer && s.options.Lag != LagNewest {
		s.fallBehindLocked()
		return false
	}
	for i := range group {
		if c := group[i]; c.kind <= changePart && !s.leftOutLocked(c) {
			s.queue.push(c)
		}
	}
	if s.queue.newest != nil {
		s.run.feed.lagged.Store(true)
	}
	s.wakeLocked()
	return true
}

// fallBehindLocked drops the waiting changes, which a fresh state replaces, or ends the subscription.
func (s *Subscription) fallBehindLocked() {
	if s.options.Lag == LagError {
		s.err = ErrLagged
	} else {
		s.overflow = true
		s.clearQueueLocked()
	}
	s.wakeLocked()
}

// fallBehind makes the subscription fall behind, unless it already has or has ended.
func (s *Subscription) fallBehind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil || s.err != nil || s.overflow {
		return false
	}
	s.fallBehindLocked()
	return true
}

// forgetLocked records that DelSilent removed objects.
func (s *Subscription) forgetLocked(group []*change) {
	for i := range group {
		if group[i].kind == changeSilent {
			s.queue.gone(group[i].Key, false)
		}
	}
}

func (s *Subscription) consumes() string { return s.pattern }

// leftOutLocked reports whether a change removes an object that the last state omitted because it was expired. Such an
// object was never delivered.
func (s *Subscription) leftOutLocked(c *change) bool {
	if !c.removes() || c.Object.Revision > s.at || s.taken == 0 {
		return false
	}
	expires := s.rules.expiryOf(c.Object)
	return expires != 0 && expires <= s.taken
}

func (s *Subscription) clearQueueLocked() {
	s.queue = backlog{
		limit: s.options.Buffer, keepAll: s.options.Lag != LagNewest, coalesced: s.queue.coalesced,
	}
}

// wakeLocked wakes a waiting Next.
func (s *Subscription) wakeLocked() {
	if !s.idle {
		return
	}
	s.idle = false
	select {
	case s.signal <- struct{}{}:
	default:
	}
}

// Next returns the next notice. It waits for one until the context ends, and then returns the context's error. The
// subscription stays open.
//
// After Close it returns ErrSubscriptionClosed, and after the end of the context of Subscribe that context's error,
// both at once. After a Close of the store it first returns everything committed, then ErrNotActive. While a state is
// read from the persistent layer, that Close waits, up to its time limit for all consumers. It then ends the state
// early.
//
// An error of the persistent layer while a state is read does not end the subscription. The next call starts again with
// a NoticeReset.
func (s *Subscription) Next(ctx context.Context) (Notice, error) {
	for {
		if err := checkContext(ctx); err != nil {
			return Notice{}, s.failed(err)
		}
		notice, ok, err := s.take()
		if err != nil {
			return Notice{}, s.failed(err)
		}
		if ok {
			return notice, nil
		}
		select {
		case <-s.signal:
		case <-ctx.Done():
		}
	}
}

func (s *Subscription) failed(err error) error { return failed("subscription", s.pattern, err) }

// All returns the results of Next one after another, up to and including the first error. The subscription stays open
// if the loop ends early, and another loop continues after it.
func (s *Subscription) All(ctx context.Context) iter.Seq2[Notice, error] {
	return func(yield func(Notice, error) bool) {
		for {
			notice, err := s.Next(ctx)
			if !yield(notice, err) || err != nil {
				return
			}
		}
	}
}

// step is what take must do without holding mu.
type step uint8

const (
	stepNone step = iota
	stepRead
	stepRefresh
)

// take returns the next notice, if there is one.
func (s *Subscription) take() (Notice, bool, error) {
	for {
		n, ok, next, err := s.takeAtHand()
		switch next {
		case stepNone:
			return n, ok, err
		case stepRead:
			n, ok, err = s.read()
		case stepRefresh:
			err = s.refresh()
		}
		if ok || err != nil {
			return n, ok, err
		}
	}
}

// takeAtHand is take without access to the layer or the pipeline.
func (s *Subscription) takeAtHand() (n Notice, ok bool, next step, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settleLocked()
	switch {
	case s.closed != nil:
		return n, false, stepNone, s.endedLocked(s.closed)
	case s.signal == nil: // the zero value
		return n, false, stepNone, ErrSubscriptionClosed
	case s.reading: // a concurrent second Next, which is not allowed: it waits
		s.idle = true
		return n, false, stepNone, nil
	case len(s.rest) > 0: // deliver a started change completely, even before a reset
		n = s.takePartLocked()
	case s.reset:
		// A reset discards what was delivered, so there is nothing to resume from until the fresh state is complete.
		s.reset, s.revision = false, 0
		n = Notice{Kind: NoticeReset, Revision: s.at}
	case s.catchUp:
		s.catchUp = false
		n = Notice{Kind: NoticeCatchUp, Revision: s.at}
	case s.state != nil:
		s.reading = true
		return n, false, stepRead, nil
	case s.dequeueMissedLocked():
		n = s.takePartLocked()
	case s.live:
		s.live = false
		s.revision = s.at
		n = Notice{Kind: NoticeLive, Revision: s.at}
	case s.overflow:
		s.reading = true
		return n, false, stepRefresh, nil
	case s.dequeueLocked():
		n = s.takePartLocked()
	case s.err != nil:
		return n, false, stepNone, s.endedLocked(s.err)
	default:
		s.idle = true
		return n, false, stepNone, nil
	}
	s.count++
	return n, true, stepNone, nil
}

// endedLocked returns a permanent error, which every later call receives too.
func (s *Subscription) endedLocked(err error) error {
	s.idle = true
	s.wakeLocked()
	return err
}

// dequeueLocked moves the waiting changes of the next group out of the queue. Once the first of them is delivered, none
// of them can be superseded.
func (s *Subscription) dequeueLocked() bool {
	c, ok := s.queue.first()
	if !ok {
		return false
	}
	s.rest = s.few[:0]
	for group := c.group; ok && c.group == group; c, ok = s.queue.first() {
		s.rest = append(s.rest, c)
		s.queue.pop()
	}
	return true
}

// dequeueMissedLocked is dequeueLocked for the missed changes.
func (s *Subscription) dequeueMissedLocked() bool {
	if len(s.missed) == 0 {
		return false
	}
	s.rest = s.few[:0]
	for group := s.missed[0].group; len(s.missed) > 0 && s.missed[0].group == group; s.missed = advance(s.missed) {
		s.rest = append(s.rest, s.missed[0])
	}
	return true
}

// takePartLocked takes the next key of the change being delivered.
func (s *Subscription) takePartLocked() Notice {
	n := s.noticeLocked(s.rest[0], len(s.rest) > 1)
	s.rest = advance(s.rest)
	return n
}

// advance drops the first element, and all memory with the last one.
func advance[E any](list []E) []E {
	clear(list[:1])
	if len(list) == 1 {
		return nil
	}
	return list[1:]
}

// noticeLocked returns the notice of a change. more means that another key of the change follows.
func (s *Subscription) noticeLocked(c *change, more bool) Notice {
	n := Notice{Kind: NoticeSet, Revision: c.revision, Path: c.Key, Object: c.Object, More: more}
	if c.removes() {
		n.Kind, n.Reason = NoticeDel, c.reason
	}
	if !more {
		s.revision = n.Revision
	}
	return n
}

// letGoLocked drops the reference to the run if it is no longer needed.
func (s *Subscription) letGoLocked() {
	if s.run == nil || s.reading || s.closed == nil && (!s.ended || s.overflow) {
		return
	}
	if s.closed == nil {
		s.told = s.run.feed.told.Load()
	}
	s.run = nil
}

// Revision returns the revision up to which all matching changes were delivered, to resume from. It is 0 before the
// first NoticeLive, and from a NoticeReset to its NoticeLive. From a NoticeCatchUp to its NoticeLive it is the revision
// that is caught up from. It also grows with changes of other keys.
func (s *Subscription) Revision() uint64 {
	s.mu.Lock()
	r := s.run
	s.mu.Unlock()
	var told uint64
	if r != nil {
		r.feed.catchUp()
		told = r.feed.told.Load()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	told = max(told, s.told)
	began := s.state == nil && !s.reset && !s.catchUp && !s.live && len(s.missed) == 0
	if began && s.closed == nil && !s.overflow && s.err != ErrLagged && s.waitingLocked() == 0 {
		s.revision = max(s.revision, told)
	}
	return s.revision
}

// waitingLocked returns how many changes wait.
func (s *Subscription) waitingLocked() int { return len(s.missed) + len(s.rest) + s.queue.live }

// Lag returns how many changes wait for Next. For a subscription that fell behind and has not received its reset yet
// (LagReset), it is at least Buffer.
func (s *Subscription) Lag() int {
	n, _ := s.lag()
	return n
}

func (s *Subscription) lag() (changes int, coalesced uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changes = s.waitingLocked()
	if s.overflow {
		changes += s.options.Buffer
	}
	return changes, s.queue.coalesced
}

// progress returns the number of delivered notices.
func (s *Subscription) progress() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// Close ends the subscription at once. It may be called any number of times.
func (s *Subscription) Close() { s.finish(ErrSubscriptionClosed) }

// finish ends the subscription at once.
func (s *Subscription) finish(cause error) {
	s.mu.Lock()
	if s.closed != nil {
		s.mu.Unlock()
		return
	}
	s.closed = cause
	s.missed, s.rest, s.few = nil, nil, [4]*change{}
	s.clearQueueLocked()
	stop, r := s.stop, s.run
	s.stop = nil
	s.wakeLocked()
	if !s.reading {
		s.state.close()
		s.state = nil
	}
	s.settleLocked()
	s.letGoLocked()
	s.mu.Unlock()
	if stop != nil {
		stop()
	}
	if r != nil {
		r.feed.unsubscribe(s)
	}
}

// end ends the subscription after everything that waits. If that needs the persistent layer, it returns a channel that
// is closed once the layer is no longer needed.
func (s *Subscription) end(cause error) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = cause
	}
	s.ended = true
	s.wakeLocked()
	if s.run != nil && s.run.view.needsLayer() && (s.reading || s.closed == nil && (s.state != nil || s.overflow)) {
		s.settled = make(chan struct{})
		return s.settled
	}
	s.letGoLocked()
	return nil
}

// behind reports whether the subscription needs a fresh state and no Next is reading one.
func (s *Subscription) behind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.overflow && !s.reading
}

// settleLocked notifies the Close of the store once the persistent layer is no longer needed.
func (s *Subscription) settleLocked() {
	if s.settled != nil && !s.reading && s.state == nil && (!s.overflow || s.closed != nil) {
		close(s.settled)
		s.settled = nil
	}
}

// giveUp ends the subscription at once if it still needs the persistent layer.
func (s *Subscription) giveUp() {
	s.mu.Lock()
	needed := s.settled != nil
	s.mu.Unlock()
	if needed {
		s.finish(ErrNotActive)
	}
}
