package storage

import (
	"context"
	"fmt"

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

// Reason says why an object was removed.
type Reason uint8

const (
	// ReasonNone is that of a Notice other than NoticeDel.
	ReasonNone Reason = iota
	// ReasonDeleted is a delete of exactly this key, alone or in a batch.
	ReasonDeleted
	// ReasonExpired is the end of its time to live, or of Retention.Age.
	ReasonExpired
	// ReasonLimit is a list with a Retention.Count that had no room left for it.
	ReasonLimit
	// ReasonCleared is a Clear, or a Truncate.
	ReasonCleared
	// ReasonPattern is a delete of a glob that the key matches.
	ReasonPattern
)

func (r Reason) String() string {
	names := []string{"none", "deleted", "expired", "limit", "cleared", "pattern"}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
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
	// Reason is why a NoticeDel removed the object; ReasonNone for all other kinds.
	Reason Reason
	// More says that the next notice is a part of the same change: of a batch or a glob
	// delete, or a write and what Retention removes for it. Who resumes from a revision later takes that of a
	// notice without More.
	More bool
}

// LagPolicy says what becomes of a subscription that falls behind: for which Buffer changes wait
// when one more comes.
type LagPolicy uint8

const (
	// LagReset drops what waits: the subscriber gets a NoticeReset and a fresh state. It is the
	// default. A state that is being told is told to its end first, with its NoticeLive, and so is a
	// batch: a subscriber that is always too slow sees one whole state after the other.
	LagReset LagPolicy = iota
	// LagNewest keeps only the newest change of each key until the subscriber has caught up,
	// in the order of these changes, and none of a key that is created and removed meanwhile. A batch may then
	// come in part. What waits is bounded by the number of keys that there are or that it was told of.
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
	// Buffer is how many changes may wait for the subscriber; 16,384 when zero. A batch or a glob
	// delete counts for each of its keys, but one that finds room is taken whole.
	Buffer int
}

// Subscribe follows what matches a pattern: a glob, a single path, or "" for everything. The
// subscription tells the matching state first (NoticeState, in no particular order), then NoticeLive,
// then every change in commit order, each exactly once with its revision: there is no gap and no
// duplicate between state and changes.
//
// Each subscription has a queue of its own: it neither competes with others nor slows them or a writer.
// The keys of a batch or glob delete come one behind the other, with Notice.More. What
// DelSilent removes, and what Options.NoBroadcastKeys names, is not told. What has expired
// is not in a state, and its removal is then not told.
//
// Subscribe waits for the commits before it. The state costs what a Snapshot of the pattern costs, until
// it is told. BeforeRead runs first. The context ends the subscription, not only this call. A
// store that takes no more writes (ErrWritesStopped) can be subscribed to.
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
	if err := checkContext(ctx); err != nil {
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
	r.beforeRead(pattern)
	s := &Subscription{
		run: r, rules: r.options.Retention, pattern: pattern, options: opt, signal: make(chan struct{}, 1),
	}
	s.clearQueueLocked() // nobody else knows it yet
	switch active, err := s.attach(r, opt.From); {
	case err != nil:
		return nil, err
	case !active:
		return nil, ErrNotActive
	}
	s.sift()
	stop := context.AfterFunc(ctx, func() { s.finish(ctx.Err()) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop = stop
	return s, nil
}

// attach takes its place in the commit order: it gets the state, or the changes behind a revision, and
// from then on every change. It reports false when the pipeline is closed.
func (s *Subscription) attach(r *run, from uint64) (active bool, err error) {
	_, failure := r.commit(&write{op: opInstant, instant: func(revision uint64) {
		active = true
		err = s.attachAt(r, revision, from)
	}})
	if active && err == nil {
		err = failure
	}
	return active, err
}

// attachAt runs in an instant of the pipeline, at a revision.
func (s *Subscription) attachAt(r *run, revision, from uint64) error {
	missed, resumed, err := r.feed.resume(revision, from)
	if err != nil {
		return err
	}
	var state *snapshot
	if !resumed {
		if state, err = r.snapshot(s.pattern, true); err != nil {
			return err
		}
	}
	f := &r.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	began, anew := s.begin(state, missed, revision, from)
	if began {
		f.joinLocked(s)
	}
	if anew {
		f.resets++
	}
	return nil // Next says why it is closed
}

// resume hands on what was committed up to a revision, the present one, and returns what was
// committed since another one, if that is known.
func (f *feed) resume(revision, from uint64) (missed []change, resumed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if from > revision {
		return nil, false, fmt.Errorf("%w: it is %d, the store is at %d", ErrFutureRevision, from, revision)
	}
	f.dispatchLocked()
	f.beginKeepingLocked(revision)
	if from != 0 {
		missed, resumed = f.history.since(from)
	}
	return missed, resumed, nil
}

// begin makes the subscription begin, or begin anew, with a state, or else with what was missed from
// a revision to another. It needs the feed's mu. It reports whether it began, which it does not when it is
// closed, and whether that was anew.
func (s *Subscription) begin(state *snapshot, missed []change, revision, from uint64) (began, anew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		state.close()
		return false, false
	}
	anew = s.overflow || from != 0 && state != nil
	s.reset = s.reset || anew
	if s.taken = 0; state != nil {
		s.taken = state.now
	} else {
		s.revision = from
	}
	s.state, s.missed, s.live, s.at, s.overflow = state, missed, true, revision, false
	return true, anew
}

// sift leaves of what was missed what matches the pattern. The subscription is not in use yet.
func (s *Subscription) sift() {
	s.mu.Lock()
	all := s.missed
	s.mu.Unlock()
	if s.pattern == "" || len(all) == 0 {
		return
	}
	var matching []change
	for _, c := range all {
		if key.Match(s.pattern, c.Key) {
			matching = append(matching, c)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.missed = matching
}
