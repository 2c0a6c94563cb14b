package storage

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/oolith-db/oolith/internal/globindex"
)

// The feed carries committed changes to their consumers, the watches and subscriptions. Each of them has a queue.
//
// A change with consumers waits for a goroutine that exists only while there is work. So the cost of a write does not
// grow with the number of consumers, and a write wakes no consumer itself, which would cost more than the rest of the
// write. A change without consumers starts no goroutine. An index of the patterns finds the consumers of a change.
// After the first subscription, the feed also keeps the newest changes (history.go). The pipeline sends to the channels
// of WatchSharded directly (sharded.go), because an event must be there when its write returns.

const (
	// feedFold and feedFoldBytes are how much may wait for the goroutine if it is not scheduled. Beyond them, the
	// writer of the next change does its work.
	feedFold      = 1 << 14
	feedFoldBytes = 16 << 20
)

// consumer is a watch or a subscription.
type consumer interface {
	// push adds the changes of a group, all or none. It returns false if the consumer accepts no more.
	push(group []*change) bool
	// consumes returns the consumer's pattern; "" for everything.
	consumes() string
	// lag returns how many changes wait, and how many were dropped because newer ones replaced them.
	lag() (waiting int, coalesced uint64)
	// progress grows with each change that the consumer takes from its queue.
	progress() uint64
	// giveUp ends the consumer at once, if it still needs the store.
	giveUp()
}

// feed is the feed of one run of a store.
type feed struct {
	wanted  atomic.Bool   // there is a consumer, or changes are kept
	keeping atomic.Bool   // changes are kept, because there was a subscription
	lagged  atomic.Bool   // a consumer has exceeded the limit of its queue
	ended   chan struct{} // closed by close: there are no more commits
	// told is the revision up to which all changes are in the queues of their consumers.
	told   atomic.Uint64
	logger *slog.Logger

	staged []*change // changes to publish next; only the pipeline uses it

	// mu is held while changes are dispatched. It guards all fields below, up to incoming.
	mu            sync.Mutex
	index         globindex.Index[consumer] // consumers that accept changes
	watches       map[*watch]struct{}       // that have not ended
	subscriptions map[*Subscription]struct{}
	history       history
	lowest        uint64 // revisions below it have no meaning in this run
	over          bool   // the persistent layer may no longer be read

	// watchesCoalesced and coalesced count for ended watches and subscriptions, resets for all subscriptions.
	watchesCoalesced, coalesced, resets uint64

	spare   []*change  // memory for the next waiting
	matched []consumer // scratch memory, like touched and gone
	touched map[consumer][]*change
	gone    []consumer // consumers that accept no more

	// incoming guards the fields below. It is locked after mu, and held only briefly.
	incoming sync.Mutex
	waiting  []*change
	bytes    int // of the data in waiting
	busy     bool
	work     sync.WaitGroup // the goroutine, while busy is set
}

// init prepares a feed that keeps up to keep changes. A subscription cannot resume from a revision below lowest.
func (f *feed) init(keep int, lowest uint64, logger *slog.Logger) {
	f.ended = make(chan struct{})
	f.watches = make(map[*watch]struct{})
	f.subscriptions = make(map[*Subscription]struct{})
	f.touched = make(map[consumer][]*change)
	f.history.limit, f.history.floor, f.lowest = keep, lowest, lowest
	f.logger = logger
}

// resumable returns the lowest revision from which subscriptions can resume in a run over a layer. Without a layer the
// run starts empty, so nothing before it can be resumed.
func (l *Layered) resumable(layer EmbeddedLayer) uint64 {
	if layer == nil {
		return l.revision + 1
	}
	return 0
}

// stage adds a change for the next flush. Only the pipeline calls stage and flush.
func (f *feed) stage(c *change) { f.staged = append(f.staged, c) }

// flush publishes the staged changes, which are whole groups.
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
	// A small slice is not cleared: its references last only until the next change.
	f.staged = f.staged[:0]
}

// passOver handles a single change without consumers, if no change waits before it.
func (f *feed) passOver(group []*change) bool {
	if !f.mu.TryLock() {
		return false
	}
	defer f.mu.Unlock()
	if len(f.waiting) > 0 { // only the pipeline, which runs here, increases it
		return false
	}
	if _, nobody := f.index.AppendMost(nil, group[0].path(), 0); !nobody {
		return false
	}
	f.keepLocked(group)
	f.told.Store(group[0].revision)
	return true
}

// enqueue hands the staged changes to the goroutine, or dispatches them itself if too much waits.
func (f *feed) enqueue() {
	f.incoming.Lock()
	// A single group, however large, is left to the goroutine, because its writer holds up the others.
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

// handOnAll dispatches until nothing waits.
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

// dispatch moves the waiting changes to their consumers.
func (f *feed) dispatch() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dispatchLocked()
}

// catchUp is dispatch, unless another goroutine is dispatching.
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

// tellLocked adds a group to the history and to the queues of its consumers.
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

// path returns the path by which the index finds a change; "" for changes that only consumers of everything receive.
func (c *change) path() string {
	if c.kind >= changePattern {
		return ""
	}
	return c.Key
}

// keepLocked adds the changes of a group to the history.
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

// beginKeepingLocked makes the feed keep changes after a revision. It requires mu, and runs at an instant of the
// pipeline.
func (f *feed) beginKeepingLocked(revision uint64) {
	if f.keeping.Load() {
		return
	}
	f.history.floor = max(f.history.floor, revision)
	f.told.Store(revision)
	f.keeping.Store(true)
	f.wanted.Store(true)
}

// keepFrom makes the feed keep changes after a revision, before there is a subscription.
func (f *feed) keepFrom(revision uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.beginKeepingLocked(revision)
}

// lose records that changes up to a revision are unknown. No subscription can resume from before it, and existing
// subscriptions fall behind.
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

// dropGoneLocked removes consumers that accept no more changes from the index.
func (f *feed) dropGoneLocked() {
	for _, c := range f.gone {
		f.index.Remove(c.consumes(), c)
	}
	clear(f.gone)
	f.gone = f.gone[:0]
}

// join adds a watch, which receives all later changes. It returns false if the feed is closed.
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

// leave removes a watch. Without consumers, changes no longer reach the feed.
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

// joinLocked adds a subscription, which receives all later changes.
func (f *feed) joinLocked(s *Subscription) {
	f.subscriptions[s] = struct{}{}
	f.index.Add(s.pattern, s)
}

// unsubscribe removes a subscription.
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

// close dispatches the waiting changes, lets the watches consume them, and ends all subscriptions after them, within a
// time limit. Subscriptions that still have to read the persistent layer get that time. The pipeline is closed.
func (f *feed) close(r *run) {
	f.mu.Lock()
	f.dispatchLocked()
	close(f.ended) // with mu held, so no watch joins later
	over := make(map[consumer]<-chan struct{}, len(f.watches))
	for w := range f.watches {
		over[w] = w.done
	}
	for s := range f.subscriptions {
		if !r.view.needsLayer() && s.behind() {
			// It gets the present content. To read it later, it would have to keep all memory until then.
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

// stats adds the statistics of the feed.
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
