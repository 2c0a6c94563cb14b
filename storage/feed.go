package storage

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/oolith-db/oolith/internal/globindex"
)

// The feed carries committed changes to their consumers: watches and subscriptions, each of which has a queue.
//
// What concerns somebody waits for a goroutine that lives for as long as something does: so the cost of a write does not
// grow with the number of consumers, and it wakes none of them itself, which would cost it more than all the rest. A change
// that concerns nobody starts no goroutine. An index of the patterns finds those that a change concerns. The feed also keeps the newest changes (history.go), from the first subscription on.
// The channels of WatchSharded are told beside it (sharded.go): there a change is to be when its write returns.

const (
	// feedFold and feedFoldBytes are how much may wait for the goroutine, were it to get no turn,
	// until the writer of the next change does its work.
	feedFold      = 1 << 14
	feedFoldBytes = 16 << 20
)

// consumer is a watch or a subscription.
type consumer interface {
	// push adds the changes of a group, all or none. It reports false when the consumer takes no more.
	push(group []*change) bool
	// consumes is the pattern of what it is told of: "" for everything.
	consumes() string
	// lag is how many changes wait, and how many were dropped because newer ones took their place.
	lag() (waiting int, coalesced uint64)
	// progress grows with each change that the consumer takes out of its queue.
	progress() uint64
	// giveUp ends the consumer at once, if it still needs anything of the store.
	giveUp()
}

// feed is the feed of one run of a store.
type feed struct {
	wanted  atomic.Bool   // a consumer is there, or changes are kept
	keeping atomic.Bool   // changes are kept: there was a subscription
	lagged  atomic.Bool   // a consumer was past the limit of its queue
	ended   chan struct{} // closed by close: nothing is committed any more
	// told is the revision up to which all changes are in the queues that they concern.
	told   atomic.Uint64
	logger *slog.Logger

	staged []*change // what the pipeline publishes next; only it uses this

	// mu is held while changes are handed on. It guards all that follows.
	mu            sync.Mutex
	index         globindex.Index[consumer] // those that take changes
	watches       map[*watch]struct{}       // that are not over
	subscriptions map[*Subscription]struct{}
	history       history
	lowest        uint64 // no revision below it means anything in this run
	over          bool   // no more reads of the persistent layer

	// watchesCoalesced and coalesced are of the watches and the subscriptions that are gone, resets of all.
	watchesCoalesced, coalesced, resets uint64

	spare   []*change  // the memory of waiting to come
	matched []consumer // scratch memory, as are the next two
	touched map[consumer][]*change
	gone    []consumer // those that take no more

	// incoming guards what follows. It is taken after mu, and held for moments only.
	incoming sync.Mutex
	waiting  []*change
	bytes    int // of the data of waiting
	busy     bool
	work     sync.WaitGroup // the goroutine, while busy
}

// init makes a feed ready that keeps a number of changes. No revision below lowest can be resumed from.
func (f *feed) init(keep int, lowest uint64, logger *slog.Logger) {
	f.ended = make(chan struct{})
	f.watches = make(map[*watch]struct{})
	f.subscriptions = make(map[*Subscription]struct{})
	f.touched = make(map[consumer][]*change)
	f.history.limit, f.history.floor, f.lowest = keep, lowest, lowest
	f.logger = logger
}

// resumable is the lowest revision from which a run over a layer can be resumed. Without a layer the
// run begins empty, whatever there was at the last revision of the run before.
func (l *Layered) resumable(layer EmbeddedLayer) uint64 {
	if layer == nil {
		return l.revision + 1
	}
	return 0
}

// stage adds a change to those that flush publishes. Only the pipeline calls the two.
func (f *feed) stage(c *change) { f.staged = append(f.staged, c) }

// flush publishes what was staged: whole groups.
func (f *feed) flush() {
	if len(f.staged) == 0 {
		return
	}
	if len(f.staged) > 1 || !f.passOver(f.staged) {
		f.enqueue()
	}
	if cap(f.staged) > 16 {
		f.staged = nil
	}
	// What a few of them hold on to until the next change is not worth the clearing.
	f.staged = f.staged[:0]
}

// passOver takes in a single change that concerns nobody, if nothing waits before it.
func (f *feed) passOver(group []*change) bool {
	if !f.mu.TryLock() {
		return false
	}
	defer f.mu.Unlock()
	if len(f.waiting) > 0 { // only the pipeline, which is here, makes it more
		return false
	}
	if _, nobody := f.index.AppendMost(nil, group[0].path(), 0); !nobody {
		return false
	}
	f.keepLocked(group)
	f.told.Store(group[0].revision)
	return true
}

// enqueue makes what was staged wait for the goroutine, or does its work if too much waits.
func (f *feed) enqueue() {
	f.incoming.Lock()
	// One group, however large, is the goroutine's work: its writer holds up the others.
	fold := len(f.waiting) > feedFold || f.bytes > feedFoldBytes
	for i := range f.staged {
		f.bytes += f.staged[i].bytes()
	}
	f.waiting = append(f.waiting, f.staged...)
	if !f.busy {
		f.busy = true
		f.work.Go(f.handOnAll)
	}
	f.incoming.Unlock()
	if fold {
		f.dispatch()
	}
}

// handOnAll hands on what waits, until nothing does.
func (f *feed) handOnAll() {
	for {
		f.dispatch()
		f.incoming.Lock()
		f.busy = len(f.waiting) > 0
		more := f.busy
		f.incoming.Unlock()
		if !more {
			return
		}
	}
}

// dispatch hands on what waits.
func (f *feed) dispatch() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dispatchLocked()
}

// catchUp hands on what waits, unless somebody is at it.
func (f *feed) catchUp() {
	if f.mu.TryLock() {
		defer f.mu.Unlock()
		f.dispatchLocked()
	}
}

func (f *feed) dispatchLocked() {
	f.incoming.Lock()
	all := f.waiting
	f.waiting, f.bytes = f.spare, 0
	f.incoming.Unlock()
	f.spare = nil
	if len(all) == 0 {
		f.spare = all
		return
	}
	for left := all; len(left) > 0; {
		n := 1
		for n < len(left) && left[n].group == left[0].group {
			n++
		}
		f.tellLocked(left[:n])
		left = left[n:]
	}
	f.told.Store(all[len(all)-1].revision)
	clear(f.matched[:cap(f.matched)])
	f.dropGoneLocked()
	if clear(all); cap(all) <= 2*feedFold {
		f.spare = all[:0]
	}
}

// tellLocked keeps a group and puts it into the queues that it concerns.
func (f *feed) tellLocked(group []*change) {
	f.keepLocked(group)
	if len(group) == 1 {
		f.matched = f.index.Append(f.matched[:0], group[0].path())
		for _, c := range f.matched {
			f.pushLocked(c, group)
		}
		return
	}
	for i := range group {
		f.matched = f.index.Append(f.matched[:0], group[i].path())
		for _, c := range f.matched {
			f.touched[c] = append(f.touched[c], group[i])
		}
	}
	for c, part := range f.touched {
		f.pushLocked(c, part)
	}
	clear(f.touched)
}

func (f *feed) pushLocked(c consumer, group []*change) {
	if !c.push(group) {
		f.gone = append(f.gone, c)
	}
}

// path is what the index finds a change by: nothing for what concerns those alone that consume everything.
func (c *change) path() string {
	if c.kind >= changePattern {
		return ""
	}
	return c.Key
}

// keepLocked puts the changes of a group into the history.
func (f *feed) keepLocked(group []*change) {
	if !f.keeping.Load() {
		return
	}
	for i := range group {
		if group[i].kind <= changePart {
			f.history.add(group[i])
		}
	}
}

// beginKeepingLocked makes the feed keep changes behind a revision. It needs mu, in an instant of the pipeline.
func (f *feed) beginKeepingLocked(revision uint64) {
	if f.keeping.Load() {
		return
	}
	f.history.floor = max(f.history.floor, revision)
	f.told.Store(revision)
	f.keeping.Store(true)
	f.wanted.Store(true)
}

// keepFrom makes the feed keep changes behind a revision, before there is a subscription.
func (f *feed) keepFrom(revision uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.beginKeepingLocked(revision)
}

// lose takes in that changes up to a revision are unknown: nobody can resume from before it, and subscriptions fall behind.
func (f *feed) lose(revision uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dispatchLocked()
	f.history = history{limit: f.history.limit, floor: revision}
	for s := range f.subscriptions {
		if s.fallBehind() {
			f.gone = append(f.gone, s)
		}
	}
	f.dropGoneLocked()
}

// dropGoneLocked takes those out of the index that take no more changes.
func (f *feed) dropGoneLocked() {
	for _, c := range f.gone {
		f.index.Remove(c.consumes(), c)
	}
	clear(f.gone)
	f.gone = f.gone[:0]
}

// join lets a watch have the changes from now on. It reports false when the feed is closed.
func (f *feed) join(w *watch) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if isClosed(f.ended) {
		return false
	}
	f.dispatchLocked()
	f.watches[w] = struct{}{}
	f.index.Add(w.consumes(), w)
	f.wanted.Store(true)
	return true
}

// leave takes a watch out. Nothing is told any more when nobody is left.
func (f *feed) leave(w *watch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.index.Remove(w.consumes(), w)
	delete(f.watches, w)
	_, coalesced := w.lag()
	f.watchesCoalesced += coalesced
	if len(f.watches) == 0 && !f.keeping.Load() {
		f.wanted.Store(false)
	}
}

// joinLocked lets a subscription have the changes from now on.
func (f *feed) joinLocked(s *Subscription) {
	f.subscriptions[s] = struct{}{}
	f.index.Add(s.pattern, s)
}

// unsubscribe takes a subscription out.
func (f *feed) unsubscribe(s *Subscription) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, there := f.subscriptions[s]; !there {
		return
	}
	delete(f.subscriptions, s)
	_, coalesced := s.lag()
	f.coalesced += coalesced
	f.index.Remove(s.pattern, s)
}

// close hands on what waits, lets watches take it, and ends all subscriptions behind it, within bounds: those that have
// to read the persistent layer yet get the time for it. The pipeline is closed.
func (f *feed) close(r *run) {
	f.mu.Lock()
	f.dispatchLocked()
	close(f.ended) // with mu held: no watch joins behind it
	over := make(map[consumer]<-chan struct{}, len(f.watches))
	for w := range f.watches {
		over[w] = w.done
	}
	for s := range f.subscriptions {
		if !r.view.needsLayer() && s.behind() {
			// It gets what there is now: to look later it would have to hold all memory until then.
			_ = s.beginLast(r, false) // memory cannot fail
		}
		if settled := s.end(ErrNotActive); settled != nil {
			over[s] = settled
		}
	}
	f.mu.Unlock()
	f.work.Wait()
	progress := func() (sum uint64) {
		for c := range over {
			sum += c.progress()
		}
		return sum
	}
	if !drain(slices.Collect(maps.Values(over)), progress) {
		f.mu.Lock()
		f.over = true
		f.mu.Unlock()
		for c, done := range over {
			c.giveUp()
			if _, reads := c.(*Subscription); reads {
				<-done
			}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	f.history = history{}
}

// stats adds the figures of the feed.
func (f *feed) stats(stats *Stats) {
	f.mu.Lock()
	defer f.mu.Unlock()
	stats.Watchers, stats.Coalesced = len(f.watches), f.watchesCoalesced
	for w := range f.watches {
		behind, coalesced := w.lag()
		stats.Lag = max(stats.Lag, behind)
		stats.Coalesced += coalesced
	}
	stats.Subscriptions, stats.SubscriptionsCoalesced, stats.SubscriptionResets = len(f.subscriptions), f.coalesced, f.resets
	for s := range f.subscriptions {
		behind, coalesced := s.lag()
		stats.SubscriptionLag = max(stats.SubscriptionLag, behind)
		stats.SubscriptionsCoalesced += coalesced
	}
}
