package storage

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// NoticeKind is what a Notice tells.
type NoticeKind uint8

const (
	// NoticeState is an object of the state that a subscription begins with.
	NoticeState NoticeKind = iota + 1
	// NoticeLive says that the state, or what was missed, is complete: what follows happens from
	// now on. Its Revision is the one of the state.
	NoticeLive
	// NoticeSet is a change that stored Object.
	NoticeSet
	// NoticeDel is a change that removed Object: a delete, one of a glob or of everything, an
	// expiry, a limit of a list.
	NoticeDel
	// NoticeReset says that changes were missed: forget what you know of the pattern. A fresh
	// state and NoticeLive follow.
	NoticeReset
)

func (k NoticeKind) String() string {
	names := []string{"none", "state", "live", "set", "del", "reset"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("NoticeKind(%d)", uint8(k))
}

// Notice is one thing that a subscription tells.
type Notice struct {
	Kind NoticeKind
	// Revision is the place of a change in the commit order; of a state object, that of its last
	// change; of NoticeLive and NoticeReset, the revision up to which all is known then.
	Revision uint64
	// Path is the key; empty for NoticeLive and NoticeReset.
	Path string
	// Object is the stored or removed object, shared and read-only; nil for NoticeLive and
	// NoticeReset.
	Object *meta.Object
	// More says that the next notice is a part of the same change: of a batch or a glob
	// delete. Who resumes from a revision later takes that of a notice without More.
	More bool
}

// LagPolicy says what becomes of a subscription that falls behind by more than its Buffer.
type LagPolicy uint8

const (
	// LagReset drops what waits: the subscriber gets a NoticeReset and a fresh state. It is the
	// default.
	LagReset LagPolicy = iota
	// LagNewest keeps only the newest change of each key until the subscriber has caught up,
	// in the order of these changes. A batch may then come in part.
	LagNewest
	// LagError ends the subscription with ErrLagged, behind what waits.
	LagError
)

// defaultBuffer is how many changes wait for a subscription.
const defaultBuffer = 1 << 14

// SubscribeOptions of a subscription. The zero value begins with the state.
type SubscribeOptions struct {
	// From resumes behind a revision: the subscription begins with the changes after it, if the
	// store still has them (Options.History), and else with a NoticeReset and the state. 0 begins with
	// the state. A revision that the store has not reached is ErrFutureRevision.
	From uint64
	// Lag says what to do with a subscriber that falls behind.
	Lag LagPolicy
	// Buffer is how many changes may wait for the subscriber; 16,384 when zero.
	Buffer int
}

// Subscription is a cursor over the state of a pattern and then its changes. It is ended by
// Close, by the context of Subscribe, and by Close of the store, which it drains first.
//
// Next is for one goroutine at a time. All other methods may be called from any goroutine.
type Subscription struct {
	run     *run
	pattern string
	options SubscribeOptions
	signal  chan struct{} // 1 token: look again
	quit    chan struct{} // closed by Close

	// reading is held while state is read, which may wait for a disk. It is taken before mu.
	reading sync.Mutex

	mu sync.Mutex // guards the fields below
	// What waits, in the order in which it is told.
	reset  bool
	state  *snapshot
	missed []*record // since the revision that the subscription resumes from, all patterns
	live   bool      // NoticeLive is to come
	queue  backlog[*record]
	err    error // what follows the queue; nil while there is no end

	revision uint64      // up to which all was told
	at       uint64      // the revision of state
	overflow bool        // a fresh state is needed
	closed   error       // why the subscription is over at once
	stop     func() bool // of the context
}

// Subscribe follows what matches a pattern: a glob, a single path, or "" for everything. The
// subscription tells the matching state first (NoticeState, in no particular order), then NoticeLive,
// then every change in commit order, each exactly once with its revision: there is no gap and no
// duplicate between state and changes.
//
// Each subscription has a queue of its own: it neither competes with others nor slows them or a writer.
// The changes of a batch or glob delete come one behind the other, with Notice.More. What
// DelSilent removes, and what Options.NoBroadcastKeys names, is not told. The context ends the
// subscription, not only this call.
func (l *Layered) Subscribe(ctx context.Context, pattern string, opt SubscribeOptions) (*Subscription, error) {
	s, err := l.subscribe(ctx, pattern, opt)
	if err != nil {
		return nil, failed("subscribe", pattern, err)
	}
	return s, nil
}

func (l *Layered) subscribe(ctx context.Context, pattern string, opt SubscribeOptions) (*Subscription, error) {
	r, err := l.active()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if pattern != "" {
		if err := key.Check(pattern); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalidPath, err)
		}
	}
	if opt.Buffer < 0 || opt.Lag > LagError {
		return nil, fmt.Errorf("%w: Buffer %d, Lag %d", ErrInvalidOptions, opt.Buffer, opt.Lag)
	}
	if opt.Buffer == 0 {
		opt.Buffer = defaultBuffer
	}
	s := &Subscription{
		run: r, pattern: pattern, options: opt,
		signal: make(chan struct{}, 1), quit: make(chan struct{}),
	}
	s.queue.limit = opt.Buffer
	if err := s.attach(opt.From); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop = context.AfterFunc(ctx, func() { s.finish(ctx.Err()) })
	return s, nil
}

// attach takes its place in the commit order: it gets the state, or the changes behind a revision, and
// from then on every change.
func (s *Subscription) attach(from uint64) (err error) {
	_, failure := s.run.commit(write{op: opInstant, instant: func(revision uint64) {
		err = s.attachAt(revision, from)
	}})
	if err != nil {
		return err
	}
	return failure
}

// attachAt runs in an instant of the pipeline, at a revision.
func (s *Subscription) attachAt(revision, from uint64) (err error) {
	f := &s.run.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if from > revision {
		return fmt.Errorf("%w: it is %d, the store is at %d", ErrFutureRevision, from, revision)
	}
	f.dispatchLocked()
	f.startLocked(revision)
	var missed []*record
	resumed := false
	if from != 0 {
		missed, resumed = f.sinceLocked(from)
	}
	var state *snapshot
	if !resumed {
		if state, err = s.run.snapshot(s.pattern, true); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		state.close()
		return s.closed
	}
	if s.overflow || from != 0 && !resumed {
		s.reset = true
		f.resets++
	}
	s.state, s.missed, s.live, s.at, s.overflow = state, missed, true, revision, false
	if resumed {
		s.revision = from
	}
	f.index.Add(s.pattern, s)
	return nil
}

// push adds a change. It reports false when the subscription takes no more.
func (s *Subscription) push(rec *record) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil || s.err != nil || s.overflow {
		return false
	}
	if s.queue.live >= s.options.Buffer && s.options.Lag != LagNewest {
		if s.options.Lag == LagError {
			s.err = ErrLagged
		} else {
			s.overflow = true
			s.queue = backlog[*record]{limit: s.options.Buffer, coalesced: s.queue.coalesced}
		}
		s.wake()
		return false
	}
	s.queue.push(rec)
	s.wake()
	return true
}

// wake needs mu or nothing.
func (s *Subscription) wake() {
	select {
	case s.signal <- struct{}{}:
	default:
	}
}

// Next returns the next notice. It waits for one, at most until the context ends, whose error it
// then returns; the subscription goes on. After Close it returns ErrSubscriptionClosed, after the
// end of the context of Subscribe that context's error, after a Close of the store
// ErrNotActive, behind all that was committed.
func (s *Subscription) Next(ctx context.Context) (Notice, error) {
	for {
		notice, ok, err := s.take()
		if err != nil {
			return Notice{}, fmt.Errorf("subscription %q: %w", s.pattern, err)
		}
		if ok {
			return notice, nil
		}
		select {
		case <-s.signal:
		case <-s.quit:
		case <-ctx.Done():
			return Notice{}, fmt.Errorf("subscription %q: %w", s.pattern, ctx.Err())
		}
	}
}

// All returns what Next returns, one after the other, until an error, which comes last. The
// subscription stays open when the loop is left early.
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

// take returns the next notice if there is one.
func (s *Subscription) take() (n Notice, ok bool, err error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	if err := s.refresh(); err != nil {
		return n, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed != nil:
		return n, false, s.closed
	case s.reset:
		s.reset = false
		return Notice{Kind: NoticeReset, Revision: s.at}, true, nil
	}
	if state := s.state; state != nil {
		s.mu.Unlock()
		obj, err := state.next()
		s.mu.Lock()
		switch {
		case s.closed != nil:
			return n, false, s.closed
		case err != nil:
			return n, false, err
		case obj != nil:
			return Notice{Kind: NoticeState, Revision: obj.Revision, Path: obj.Path, Object: obj}, true, nil
		}
		s.state = nil
	}
	return s.takeChangeLocked()
}

// refresh gets a fresh state for a subscription that fell behind. It needs reading.
func (s *Subscription) refresh() error {
	s.mu.Lock()
	overflow, stale := s.overflow, s.state
	if overflow {
		s.state, s.missed, s.live = nil, nil, false
	}
	s.mu.Unlock()
	if !overflow {
		return nil
	}
	stale.close()
	return s.attach(0)
}

func (s *Subscription) takeChangeLocked() (Notice, bool, error) {
	for len(s.missed) > 0 {
		rec := s.missed[0]
		s.missed = s.missed[1:]
		if s.pattern == "" || key.Match(s.pattern, rec.path) {
			return s.noticeLocked(rec), true, nil
		}
	}
	if s.live {
		s.live, s.missed = false, nil
		s.revision = s.at
		return Notice{Kind: NoticeLive, Revision: s.at}, true, nil
	}
	rec, ok := s.queue.first()
	if !ok {
		return Notice{}, false, s.err
	}
	s.queue.pop()
	return s.noticeLocked(rec), true, nil
}

func (s *Subscription) noticeLocked(rec *record) Notice {
	n := Notice{Kind: NoticeSet, Revision: rec.revision, Path: rec.path, Object: rec.object, More: rec.more}
	if rec.removed {
		n.Kind = NoticeDel
	}
	if !n.More {
		s.revision = n.Revision
	}
	return n
}

// Revision returns the revision up to which all matching changes were told, to resume from; 0
// before the first NoticeLive.
func (s *Subscription) Revision() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revision
}

// Lag returns how many changes wait for Next.
func (s *Subscription) Lag() int {
	n, _ := s.lag()
	return n
}

func (s *Subscription) lag() (changes int, coalesced uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.live, s.queue.coalesced
}

// Close ends the subscription. It may be called any number of times.
func (s *Subscription) Close() { s.finish(ErrSubscriptionClosed) }

// finish ends the subscription at once.
func (s *Subscription) finish(cause error) {
	s.mu.Lock()
	if s.closed != nil {
		s.mu.Unlock()
		return
	}
	s.closed = cause
	s.missed, s.queue = nil, backlog[*record]{coalesced: s.queue.coalesced}
	stop := s.stop
	close(s.quit)
	s.mu.Unlock()
	if stop != nil {
		stop()
	}
	s.run.feed.leave(s)

	// A read of the state that is under way ends first.
	s.reading.Lock()
	defer s.reading.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.close()
	s.state = nil
}

// end ends the subscription behind what waits.
func (s *Subscription) end(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = cause
	}
	s.wake()
}
