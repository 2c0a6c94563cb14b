package storage

import (
	"context"
	"iter"
	"sync"
)

// Subscription is a cursor over the state of a pattern and then its changes. It is ended by
// Close, by the context of Subscribe, and by Close of the store, which it drains first.
//
// Next is for one goroutine at a time. All other methods may be called from any goroutine. The zero value is
// closed.
type Subscription struct {
	pattern string
	rules   rules
	options SubscribeOptions
	signal  chan struct{} // 1 token: look again

	mu sync.Mutex // guards the fields below
	// run is nil once nothing more is needed of it: who keeps a subscription that is over keeps no store.
	run  *run
	idle bool // Next found nothing: signal it
	// reading says that Next takes a state, or reads the next object of one, which may wait for a
	// disk. Who does so lets go of the state if the subscription was closed meanwhile.
	reading bool
	// What waits, in the order in which it is told.
	reset    bool // NoticeReset is to come
	catchUp  bool // NoticeCatchUp is to come
	state    *state
	missed   []*change  // since the revision that the subscription resumes from
	live     bool       // NoticeLive is to come
	rest     []*change  // of the group that is being told
	few      [4]*change // memory of rest, for most groups
	overflow bool       // changes were dropped: a fresh state is needed
	queue    backlog    // of changes
	err      error      // what follows; nil while there is no end

	revision uint64        // up to which all was told
	told     uint64        // feed.told at the end of the run
	at       uint64        // the revision of state, or up to which missed goes
	since    uint64        // the revision that state catches up from; 0 for none
	taken    int64         // when the state was taken, in Unix nanoseconds; 0 without one
	count    uint64        // of the notices that were told
	ended    bool          // the store is closed, and nothing more is committed
	settled  chan struct{} // set at the end of the store: closed when state is read
	closed   error         // why the subscription is over at once
	stop     func() bool   // of the context
}

// push adds the changes of a group, all or none. It reports false when the subscription takes no more.
func (s *Subscription) push(group []*change) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil || s.err != nil || s.overflow {
		return false
	}
	if group[0].kind > changePart { // what a subscription is not told of
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

// fallBehindLocked drops what waits, which a fresh state takes the place of, or ends the subscription.
func (s *Subscription) fallBehindLocked() {
	if s.options.Lag == LagError {
		s.err = ErrLagged
	} else {
		s.overflow = true
		s.clearQueueLocked()
	}
	s.wakeLocked()
}

// fallBehind makes the subscription fall behind, unless it did or is over.
func (s *Subscription) fallBehind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil || s.err != nil || s.overflow {
		return false
	}
	s.fallBehindLocked()
	return true
}

// forgetLocked takes in that DelSilent removed objects.
func (s *Subscription) forgetLocked(group []*change) {
	for i := range group {
		if group[i].kind == changeSilent {
			s.queue.gone(group[i].Key, false)
		}
	}
}

func (s *Subscription) consumes() string { return s.pattern }

// leftOutLocked reports whether a change is the removal of what the last state left out, because it was
// expired: nobody was told of it.
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

// wakeLocked makes a Next that waits look again.
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

// Next returns the next notice. It waits for one, at most until the context ends, whose error it
// then returns; the subscription goes on.
//
// After Close it returns ErrSubscriptionClosed, after the end of the context of Subscribe that
// context's error, both at once. After a Close of the store it returns ErrNotActive, behind all that was
// committed. A state that is read from the persistent layer holds that Close up, within the bounds that
// it has for all consumers, and is cut off at their end.
//
// An error of the persistent layer, while a state is read, does not end the subscription: the next
// call begins anew, with a NoticeReset.
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

// All returns what Next returns, one after the other, until an error, which comes last. The
// subscription stays open when the loop is left early; another loop goes on behind it.
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

// step is what take has to do where it must not hold mu.
type step uint8

const (
	stepNone step = iota
	stepRead
	stepRefresh
)

// take returns the next notice if there is one.
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

// takeAtHand is take as far as memory goes.
func (s *Subscription) takeAtHand() (n Notice, ok bool, next step, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settleLocked()
	switch {
	case s.closed != nil:
		return n, false, stepNone, s.endedLocked(s.closed)
	case s.signal == nil: // the zero value
		return n, false, stepNone, ErrSubscriptionClosed
	case s.reading: // a second Next at a time, which has no business here: it waits
		s.idle = true
		return n, false, stepNone, nil
	case len(s.rest) > 0: // whatever begins anew: a change that is begun is told to its end
		n = s.takePartLocked()
	case s.reset:
		// What was told is to be forgotten: until the fresh state is complete there is nothing to resume from.
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

// endedLocked returns an error that comes again, to whoever asks.
func (s *Subscription) endedLocked(err error) error {
	s.idle = true
	s.wakeLocked()
	return err
}

// dequeueLocked moves the next group out of the queue, as far as its changes wait: none of them is superseded any more
// once the first is told.
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

// dequeueMissedLocked is dequeueLocked for what was missed.
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

// takePartLocked takes the next key of the change that is being told.
func (s *Subscription) takePartLocked() Notice {
	n := s.noticeLocked(s.rest[0], len(s.rest) > 1)
	s.rest = advance(s.rest)
	return n
}

// advance lets go of the first element, and with the last one of all memory.
func advance[E any](list []E) []E {
	clear(list[:1])
	if len(list) == 1 {
		return nil
	}
	return list[1:]
}

// noticeLocked makes the notice of a change. More says that another key of it follows.
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

// letGoLocked lets go of the run when nothing more is needed of it.
func (s *Subscription) letGoLocked() {
	if s.run == nil || s.reading || s.closed == nil && (!s.ended || s.overflow) {
		return
	}
	if s.closed == nil {
		s.told = s.run.feed.told.Load()
	}
	s.run = nil
}

// Revision returns the revision up to which all matching changes were told, to resume from; 0
// before the first NoticeLive, and from a NoticeReset to the NoticeLive behind it. From a NoticeCatchUp to its
// NoticeLive it is the one that is caught up from. It grows when others than
// the matching keys change, too.
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

// waitingLocked is how many changes wait.
func (s *Subscription) waitingLocked() int { return len(s.missed) + len(s.rest) + s.queue.live }

// Lag returns how many changes wait for Next. Of a subscription that fell behind and was not told
// so yet (LagReset) that is at least its Buffer.
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

// progress is how many notices were told.
func (s *Subscription) progress() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// Close ends the subscription, at once. It may be called any number of times.
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

// end ends the subscription behind what waits. When that needs the persistent layer it returns a
// channel that is closed once it does not.
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

// behind reports whether the subscription needs a fresh state that nobody is about to read.
func (s *Subscription) behind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.overflow && !s.reading
}

// settleLocked tells the Close of the store when the persistent layer is needed no more.
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
