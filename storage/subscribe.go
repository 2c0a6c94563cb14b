package storage

import (
	"context"
	"fmt"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// NoticeKind is the kind of a Notice.
type NoticeKind uint8

const (
	// NoticeState is an object of the initial state.
	NoticeState NoticeKind = iota + 1
	// NoticeLive marks the end of the state, or of the missed changes. All later notices are new changes. Its
	// Revision is the revision of the state.
	NoticeLive
	// NoticeSet is a change that stored Object.
	NoticeSet
	// NoticeDel is a change that deleted Object; Reason tells why.
	NoticeDel
	// NoticeReset reports that changes were missed. Discard what you know about the pattern. A fresh state and
	// NoticeLive follow; with ChangesOnly only NoticeLive.
	NoticeReset
	// NoticeCatchUp reports, with SubscribeOptions.CatchUp, that changes were missed. The present content follows: a
	// NoticeState for each object that has changed, a NoticeUnchanged for each other object, then NoticeLive. Objects
	// that are not named have been deleted.
	NoticeCatchUp
	// NoticeUnchanged names an object that has not changed. A subscriber that received the object before already has
	// it. One that holds another revision of it, or none, takes Object: before a restart the store may have had
	// NoBroadcastKeys or Retention that hid the object.
	NoticeUnchanged
)

func (k NoticeKind) String() string {
	names := []string{"none", "state", "live", "set", "del", "reset", "catch-up", "unchanged"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("NoticeKind(%d)", uint8(k))
}

// Reason is why an object was deleted.
type Reason uint8

const (
	// ReasonNone is the Reason of all notices except NoticeDel.
	ReasonNone Reason = iota
	// ReasonDeleted is a delete of exactly this key, alone or in a batch.
	ReasonDeleted
	// ReasonExpired is the end of the time to live, or of Retention.Age.
	ReasonExpired
	// ReasonLimit is a list that exceeded its Retention.Count.
	ReasonLimit
	// ReasonCleared is a Clear or a Truncate.
	ReasonCleared
	// ReasonPattern is a delete of a glob that matches the key.
	ReasonPattern
)

func (r Reason) String() string {
	names := []string{"none", "deleted", "expired", "limit", "cleared", "pattern"}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
}

// Notice is one message of a subscription.
type Notice struct {
	Kind NoticeKind
	// Revision is the position of a change in the commit order. For NoticeState and NoticeUnchanged it is the
	// revision of the object's last change. For NoticeLive, NoticeReset and NoticeCatchUp it is the revision up to
	// which the subscriber is then current.
	Revision uint64
	// Path is the key; empty for NoticeLive, NoticeReset and NoticeCatchUp.
	Path string
	// Object is the existing, stored or deleted object, shared and read-only; nil for NoticeLive, NoticeReset and
	// NoticeCatchUp.
	Object *meta.Object
	// Reason is why a NoticeDel deleted the object; ReasonNone for all other kinds.
	Reason Reason
	// More means that the next notice is part of the same change: of a batch, of a glob delete, or of a write and the
	// deletes by Retention. To resume later, use the revision of a notice without More.
	More bool
}

// LagPolicy is what happens to a subscription that falls behind: more than Buffer changes are waiting.
type LagPolicy uint8

const (
	// LagReset is the default. It drops the waiting changes. The subscriber receives NoticeReset and a fresh state,
	// or, with CatchUp, NoticeCatchUp and the changes after Revision. A state in progress is first delivered to its
	// end, with its NoticeLive, and so is a batch. A subscriber that is always too slow therefore receives one
	// complete state after another.
	LagReset LagPolicy = iota
	// LagNewest keeps only the newest change of each key until the subscriber has caught up, in the order of these
	// changes, and drops keys that are created and deleted in the meantime. A batch may be delivered in part. The
	// backlog is bounded by the number of keys that exist or that were delivered.
	LagNewest
	// LagError delivers the waiting changes and then ends the subscription with ErrLagged.
	LagError
)

// StateOrder is the order in which a state is delivered.
type StateOrder uint8

const (
	// OrderNone is no particular order, which is the cheapest. It is the default.
	OrderNone StateOrder = iota
	// OrderOldest is the order of GetList: ascending by Created, ties by Path.
	OrderOldest
	// OrderNewest is the exact reverse.
	OrderNewest
)

// defaultBuffer is the default of SubscribeOptions.Buffer.
const defaultBuffer = 1 << 14

// SubscribeOptions configure a subscription. With the zero value it begins with the state.
type SubscribeOptions struct {
	// From resumes after a revision. The subscription begins with the changes after it if the store still has them
	// (Options.History; it is in memory, so changes before the last Start are gone). Otherwise it begins with
	// NoticeReset and the state, or as CatchUp says. 0 begins with the state. A revision that the store has not
	// reached fails with ErrFutureRevision. A revision of another store has no meaning; Layered.ID identifies the
	// store.
	From uint64
	// CatchUp replaces a NoticeReset with the differences. It applies if the store no longer has the changes after
	// From, even across a restart, and if the subscriber falls behind with LagReset. The subscriber receives
	// NoticeCatchUp; then each matching object, as NoticeState if its revision is greater than the one resumed from
	// (From, or Subscription.Revision), otherwise as NoticeUnchanged; then NoticeLive. A subscriber that keeps a map
	// by path stores each named object and, at NoticeLive, drops the paths that were not named since NoticeCatchUp.
	// The map is then exactly the state. Objects that were created and deleted in between, and changes that newer
	// ones replaced, are not delivered.
	//
	// CatchUp costs the store as much as the state, but a subscriber need not forward unchanged objects. An object
	// that the persistent layer holds without a revision is always a NoticeState. A NoticeReset still happens if a
	// store without a persistent layer was restarted since From, and if the subscriber has no complete state yet
	// (Subscription.Revision is 0).
	//
	// CatchUp with Limit fails with ErrInvalidOptions: objects beyond the limit would seem deleted.
	CatchUp bool
	// ChangesOnly omits the state: NoticeLive comes first, then the changes. With From, the missed changes come
	// before NoticeLive as usual. If the store no longer has them, NoticeReset and NoticeLive report the loss, as
	// they do for a subscriber that falls behind with LagReset. ChangesOnly with CatchUp, Order or Limit fails with
	// ErrInvalidOptions.
	ChangesOnly bool
	// Order is the order of the state, including a fresh one after a reset. Without Limit, sorting does not block
	// writers.
	Order StateOrder
	// Limit is the maximum number of objects in the state, the first ones in Order; 0 for all. The subscription still
	// delivers all matching changes, including deletes of objects that were not in the state. Limit without Order
	// fails with ErrInvalidOptions, a negative one with ErrInvalidLimit.
	//
	// From memory such a state costs its objects and a look at each directory of the pattern. If the last segment is
	// a partial glob ("a*") it costs the whole state, and if lists come from the persistent layer, a scan.
	Limit int
	// Lag is what happens if the subscriber falls behind.
	Lag LagPolicy
	// Buffer is how many changes may wait for the subscriber; 16,384 when zero. Each key of a batch or a glob delete
	// counts, but one that finds room is always taken completely.
	Buffer int
}

// Subscribe subscribes to the objects that match a pattern: a glob, a single path, or "" for everything. The
// subscription first delivers the matching state (NoticeState, in SubscribeOptions.Order), then NoticeLive, then
// every change in commit order, each exactly once with its revision. There is no gap and no duplicate between the
// state and the changes.
//
// Each subscription has its own queue. It does not compete with others, and it slows neither others nor writers. The
// keys of a batch or a glob delete arrive one after another, with Notice.More. Changes by DelSilent and changes of
// Options.NoBroadcastKeys are not delivered. A state contains no expired objects, and their removal is then not
// delivered.
//
// Subscribe waits for the commits before it. The state costs as much as a Snapshot of the pattern until it is
// delivered. BeforeRead runs first. The context ends the subscription, not only this call. Subscribe also works if
// writes are stopped (ErrWritesStopped).
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
			return nil, fmt.Errorf("%w, %w", ErrInvalidPath, err)
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
	s.clearQueueLocked() // not visible to others yet
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

// attach takes a position in the commit order. The subscription gets the state, or the changes after a revision, and
// from then on every change. attach returns false if the pipeline is closed.
func (s *Subscription) attach(ctx context.Context, r *run, from uint64) (active bool, err error) {
	if r.mirror != nil && from > r.visible() {
		// Another node may have issued the revision.
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

// attachAt runs at an instant of the pipeline, at a revision.
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
		return nil // Next returns the reason
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

// resume delivers everything committed up to the present revision, and returns what was committed since from, if the
// history still has it.
func (f *feed) resume(revision, from uint64) (missed []*change, resumed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if from > revision {
		return nil, false, fmt.Errorf("%w, it is %d but the store is at %d", ErrFutureRevision, from, revision)
	}
	f.dispatchLocked()
	f.beginKeepingLocked(revision)
	if from != 0 {
		missed, resumed = f.history.since(from)
	}
	return missed, resumed, nil
}

// resume starts the subscription with the changes missed between two revisions. It returns false if the subscription
// is closed. It requires the feed's mu.
func (s *Subscription) resume(missed []*change, revision, from uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		return false
	}
	s.missed, s.revision, s.live, s.at = missed, from, true, revision
	return true
}

// check rejects options that contradict each other or are out of range.
func (opt *SubscribeOptions) check() error {
	switch {
	case opt.Buffer < 0 || opt.Lag > LagError || opt.Order > OrderNewest:
		return fmt.Errorf("%w, Buffer %d, Lag %d, Order %d", ErrInvalidOptions, opt.Buffer, opt.Lag, opt.Order)
	case opt.Limit < 0:
		return fmt.Errorf("%w, Limit %d", ErrInvalidLimit, opt.Limit)
	case opt.ChangesOnly && (opt.CatchUp || opt.Order != OrderNone || opt.Limit != 0):
		return fmt.Errorf("%w, ChangesOnly excludes CatchUp, Order and Limit", ErrInvalidOptions)
	case opt.Limit > 0 && opt.Order == OrderNone:
		return fmt.Errorf("%w, Limit needs an Order", ErrInvalidOptions)
	case opt.Limit > 0 && opt.CatchUp:
		return fmt.Errorf("%w, CatchUp needs the whole state, so it excludes Limit", ErrInvalidOptions)
	}
	return nil
}

// sift reduces the missed changes to those that match the pattern. The subscription is not in use yet.
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
