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
	// state and NoticeLive follow; with ChangesOnly NoticeLive alone.
	NoticeReset
	// NoticeCatchUp says, with SubscribeOptions.CatchUp, that changes were missed, and what is there now follows: a
	// NoticeState for each object that changed meanwhile, a NoticeUnchanged for each other one, then
	// NoticeLive. What none of them names is there no more.
	NoticeCatchUp
	// NoticeUnchanged is an object that did not change: who was told it before holds it already. One who
	// holds another revision of it, or none, takes Object: before a restart the store may have had
	// NoBroadcastKeys or Retention that hid it.
	NoticeUnchanged
)

func (k NoticeKind) String() string {
	names := []string{"none", "state", "live", "set", "del", "reset", "catch-up", "unchanged"}
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
	// Revision is the place of a change in the commit order; of NoticeState and NoticeUnchanged, that of the object's
	// last change; of NoticeLive, NoticeReset and NoticeCatchUp, the revision up to which all is known then.
	Revision uint64
	// Path is the key; empty for NoticeLive, NoticeReset and NoticeCatchUp.
	Path string
	// Object is the object that is there, was stored or was removed, shared and read-only; nil for NoticeLive,
	// NoticeReset and NoticeCatchUp.
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
	// LagReset drops what waits: the subscriber gets a NoticeReset and a fresh state, or with CatchUp a
	// NoticeCatchUp and what changed behind Revision. It is the default. A state that is being told is told to its end first, with its NoticeLive, and so is a
	// batch: a subscriber that is always too slow sees one whole state after the other.
	LagReset LagPolicy = iota
	// LagNewest keeps only the newest change of each key until the subscriber has caught up,
	// in the order of these changes, and none of a key that is created and removed meanwhile. A batch may then
	// come in part. What waits is bounded by the number of keys that there are or that it was told of.
	LagNewest
	// LagError ends the subscription with ErrLagged, behind what waits.
	LagError
)

// StateOrder is the order in which a state is told.
type StateOrder uint8

const (
	// OrderNone is no particular order, the cheapest. It is the default.
	OrderNone StateOrder = iota
	// OrderOldest is that of GetList: ascending by Created, ties by Path.
	OrderOldest
	// OrderNewest is the exact reverse.
	OrderNewest
)

// defaultBuffer is how many changes wait for a subscription.
const defaultBuffer = 1 << 14

// SubscribeOptions of a subscription. The zero value begins with the state.
type SubscribeOptions struct {
	// From resumes behind a revision: the subscription begins with the changes after it, if the
	// store still has them (Options.History: in memory, so none from before the last Start), and else with a
	// NoticeReset and the state, or as CatchUp says. 0 begins with the state. A revision that the store has not
	// reached is ErrFutureRevision. A revision of another store means nothing here: Layered.ID tells stores apart.
	From uint64
	// CatchUp replaces a NoticeReset by what changed: where the store does not have the changes behind From any more,
	// also after a restart, and where the subscriber falls behind with LagReset. It is told NoticeCatchUp;
	// then each object that matches, as NoticeState if its revision is above the one that is resumed from (From, or
	// Subscription.Revision), else as NoticeUnchanged; then NoticeLive. So who keeps a map of
	// objects by path has exactly the state once it puts in what it is told and, at NoticeLive,
	// drops the paths that were not named since NoticeCatchUp. Of a path that came and went, and of
	// changes that newer ones replaced, nothing is told.
	//
	// It costs what the state costs, but for what a subscriber need not send on. An object that the persistent layer
	// holds without a revision is always told as NoticeState. There is still a NoticeReset
	// where a store without a persistent layer was restarted since From, and where the subscriber has no whole state
	// yet (Subscription.Revision is 0).
	//
	// With Limit it is ErrInvalidOptions: what lies beyond the limit would seem to be gone.
	CatchUp bool
	// ChangesOnly leaves the state out: NoticeLive comes at once, then the changes. With From the missed changes come
	// before it, as ever; where the store does not have them, NoticeReset and NoticeLive say that they are lost, as
	// they do to a subscriber that falls behind with LagReset. With CatchUp, Order or Limit it is ErrInvalidOptions.
	ChangesOnly bool
	// Order is that of the state, also of a fresh one. Where Limit is 0, it is sorted beside the writers.
	Order StateOrder
	// Limit is how many objects the state has at most, the first ones in Order; 0 for all. Changes of all
	// that matches are told, within the limit and beyond it: the removal of an object that was not in the
	// state, too. It needs an Order, else it is ErrInvalidOptions; a negative one is ErrInvalidLimit.
	//
	// From memory such a state costs its objects and a look at each directory of the pattern; where the last segment is a
	// partial glob ("a*") it costs what the whole state costs, and where lists come from the persistent layer, a scan.
	Limit int
	// Lag says what to do with a subscriber that falls behind.
	Lag LagPolicy
	// Buffer is how many changes may wait for the subscriber; 16,384 when zero. A batch or a glob
	// delete counts for each of its keys, but one that finds room is taken whole.
	Buffer int
}

// Subscribe follows what matches a pattern: a glob, a single path, or "" for everything. The
// subscription tells the matching state first (NoticeState, in the order of SubscribeOptions.Order), then NoticeLive,
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
	if err := opt.check(); err != nil {
		return nil, err
	}
	if opt.Buffer == 0 {
		opt.Buffer = defaultBuffer
	}
	r.beforeRead(pattern)
	s := &Subscription{
		run: r, rules: r.options.Retention, pattern: pattern, options: opt, signal: make(chan struct{}, 1),
	}
	s.clearQueueLocked() // nobody else knows it yet
	if opt.CatchUp {
		s.revision = opt.From
	}
	switch active, err := s.attach(ctx, r, opt.From); {
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
func (s *Subscription) attach(ctx context.Context, r *run, from uint64) (active bool, err error) {
	if r.mirror != nil && from > r.visible() {
		// Another node may have given it out.
		if err := r.mirror.catchUpFor(ctx); err != nil {
			return true, err
		}
		r.mirror.show()
	}
	failure := r.commit(&write{op: opInstant, instant: func(revision uint64) {
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
	var state *state
	if !resumed {
		if state, err = s.fresh(r); err != nil {
			return err
		}
	}
	f := &r.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if resumed {
		if s.resume(missed, revision, from) {
			f.joinLocked(s)
		}
		return nil // Next says why it is closed
	}
	began, anew := s.begin(state, revision, from != 0, f.lowest)
	if began {
		f.joinLocked(s)
	}
	if anew {
		f.resets++
	}
	return nil
}

// resume hands on what was committed up to a revision, the present one, and returns what was
// committed since another one, if that is known.
func (f *feed) resume(revision, from uint64) (missed []*change, resumed bool, err error) {
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

// resume makes the subscription begin with what was missed from a revision to another. It reports false when it is
// closed. It needs the feed's mu.
func (s *Subscription) resume(missed []*change, revision, from uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		return false
	}
	s.missed, s.revision, s.live, s.at = missed, from, true, revision
	return true
}

// check reports options that contradict each other or are out of range.
func (opt *SubscribeOptions) check() error {
	switch {
	case opt.Buffer < 0 || opt.Lag > LagError || opt.Order > OrderNewest:
		return fmt.Errorf("%w: Buffer %d, Lag %d, Order %d", ErrInvalidOptions, opt.Buffer, opt.Lag, opt.Order)
	case opt.Limit < 0:
		return fmt.Errorf("%w: Limit %d", ErrInvalidLimit, opt.Limit)
	case opt.ChangesOnly && (opt.CatchUp || opt.Order != OrderNone || opt.Limit != 0):
		return fmt.Errorf("%w: ChangesOnly has no state for CatchUp, Order or Limit", ErrInvalidOptions)
	case opt.Limit > 0 && opt.Order == OrderNone:
		return fmt.Errorf("%w: Limit needs an Order", ErrInvalidOptions)
	case opt.Limit > 0 && opt.CatchUp:
		return fmt.Errorf("%w: CatchUp needs the whole state, Limit cuts it", ErrInvalidOptions)
	}
	return nil
}

// sift leaves of what was missed what matches the pattern. The subscription is not in use yet.
func (s *Subscription) sift() {
	s.mu.Lock()
	all := s.missed
	s.mu.Unlock()
	if s.pattern == "" || len(all) == 0 {
		return
	}
	var matching []*change
	for _, c := range all {
		if key.Match(s.pattern, c.Key) {
			matching = append(matching, c)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.missed = matching
}
