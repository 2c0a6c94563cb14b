package storage

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/oolith-db/oolith/internal/globindex"
	"github.com/oolith-db/oolith/meta"
)

// The feed carries committed changes, key by key, to the subscriptions.
//
// The pipeline appends to it, at a cost that no number of subscriptions changes: it asks the index of
// patterns whether a change concerns anybody, and wakes the goroutine of the feed only then. The
// goroutine finds the subscriptions that each change concerns, and puts it into their queues. It
// also keeps the newest changes (history.go). Nothing is kept before the first subscription.

const (
	// feedIdle and feedIdleBytes are how many changes that concern nobody, and how much of
	// their data, may wait until the goroutine is woken for them.
	feedIdle      = 512
	feedIdleBytes = 1 << 20
	// feedFold and feedFoldBytes are how much may wait for the goroutine, were it to get no turn,
	// until the writer of the next change does its work.
	feedFold      = 1 << 14
	feedFoldBytes = 16 << 20
)

// record is a committed change of one key. It is immutable.
type record struct {
	object   *meta.Object // stored or removed
	revision uint64
	// change is what the keys of one batch or glob delete have in common, and nothing else has.
	change  uint64
	size    uint32 // of the object's data
	removed bool
	reason  Reason // of a removal
	fresh   bool   // stored where there was nothing
	// silent says that the object was removed by DelSilent: no subscription tells it.
	silent bool
	// ignored says that it concerned nobody when it was committed; whoever comes later has no
	// part in it.
	ignored bool
}

func (r *record) queueKey() string { return r.object.Path }
func (r *record) creates() bool    { return r.fresh }
func (r *record) removes() bool    { return r.removed }

// feed is the feed of one run of a store.
type feed struct {
	started atomic.Bool
	lagged  atomic.Bool   // a subscription with LagNewest was past its limit
	signal  chan struct{} // 1 token: look at what waits
	quit    chan struct{}
	done    chan struct{}
	ended   chan struct{} // closed by close: nothing is committed any more
	// told is the revision up to which all changes are in the queues that they concern.
	told atomic.Uint64

	staged []record // what the pipeline publishes next; only it uses this

	// mu is held while changes are handed on. It guards all that follows.
	mu            sync.Mutex
	subscriptions map[*Subscription]struct{} // that are not closed
	history       history
	over          bool // no more reads of the persistent layer

	// coalesced is of the subscriptions that are gone, resets of all.
	coalesced, resets uint64

	spare   []record        // the memory of waiting to come
	matched []*Subscription // scratch memory, as are the next two
	touched []*Subscription // those that a change of several keys concerns
	gone    []*Subscription // those that take no more

	// incoming guards what follows. It is taken after mu, and held for moments only.
	incoming sync.Mutex
	waiting  []record
	bytes    int // of the data of waiting
	// index has the subscriptions by pattern. It is changed with both locks held, and read with any.
	index globindex.Index[*Subscription]
}

// init makes a feed ready that keeps a number of changes. No revision below lowest can be resumed from.
func (f *feed) init(keep int, lowest uint64) {
	f.signal = make(chan struct{}, 1)
	f.quit, f.done, f.ended = make(chan struct{}), make(chan struct{}), make(chan struct{})
	f.subscriptions = make(map[*Subscription]struct{})
	f.history.limit = keep
	f.history.floor = lowest
}

// resumable is the lowest revision from which a run over a layer can be resumed. Without a layer the
// run begins empty, whatever there was at the last revision of the run before.
func (l *Layered) resumable(layer EmbeddedLayer) uint64 {
	if layer == nil {
		return l.revision + 1
	}
	return 0
}

// everything returns all objects, those that are expired and not removed yet included.
func (r *run) everything() (all []removal, err error) {
	if !r.fromLayer() {
		for _, list := range r.memory.Collect("") {
			for _, n := range list {
				all = append(all, removal{path: n.Path(), version: n})
			}
		}
		return all, nil
	}
	for obj, err := range Scan(r.layer, "") {
		if err != nil {
			return nil, fmt.Errorf("persistent layer: %w", err)
		}
		r.complete(&obj)
		all = append(all, removal{path: obj.Path, object: &obj})
	}
	return all, nil
}

// on reports whether anybody ever subscribed.
func (f *feed) on() bool { return f.started.Load() }

// stage adds a change to those that flush publishes. Only the pipeline calls the two.
func (f *feed) stage(rec record) { f.staged = append(f.staged, rec) }

// flush publishes what was staged: whole changes.
func (f *feed) flush() {
	if len(f.staged) == 0 {
		return
	}
	wake, fold := f.enqueue()
	if cap(f.staged) > 16 {
		f.staged = nil
	}
	// What a few of them hold on to until the next change is not worth the clearing.
	f.staged = f.staged[:0]
	switch {
	case fold:
		f.dispatch()
	case wake:
		select {
		case f.signal <- struct{}{}:
		default:
		}
	}
}

// enqueue makes what was staged wait. It tells whether the goroutine is to be woken, which it is once for
// changes that concern nobody, and whether too much waits for it.
func (f *feed) enqueue() (wake, fold bool) {
	f.incoming.Lock()
	idle := f.idleLocked()
	// One change, however large, is the goroutine's work: its writer holds up the others.
	fold = len(f.waiting) > feedFold || f.bytes > feedFoldBytes
	for i := range f.staged {
		rec := &f.staged[i]
		rec.size = uint32(min(uint64(len(rec.object.Data)), math.MaxUint32))
		f.bytes += int(rec.size)
		rec.ignored = !f.index.Any(rec.object.Path)
		wake = wake || !rec.ignored
	}
	f.waiting = append(f.waiting, f.staged...)
	wake = wake || idle && !f.idleLocked()
	f.incoming.Unlock()
	return wake, fold
}

// idleLocked reports whether so little waits that it may wait on. It needs incoming.
func (f *feed) idleLocked() bool { return len(f.waiting) < feedIdle && f.bytes < feedIdleBytes }

// startLocked makes the feed keep changes behind a revision. It needs mu, in an instant of the
// pipeline.
func (f *feed) startLocked(revision uint64) {
	if f.started.Load() {
		return
	}
	f.history.floor = max(f.history.floor, revision)
	f.told.Store(revision)
	f.started.Store(true)
	go f.run()
}

func (f *feed) run() {
	defer close(f.done)
	for {
		select {
		case <-f.signal:
			f.dispatch()
		case <-f.quit:
			f.dispatch()
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
		for n < len(left) && left[n].change == left[0].change {
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

// tellLocked puts the keys of one change into the history and into the queues that they concern.
func (f *feed) tellLocked(change []record) {
	if len(change) == 1 && !change[0].silent {
		rec := f.matchLocked(change[0])
		for _, s := range f.matched {
			if !s.push(rec) {
				f.gone = append(f.gone, s)
			}
		}
		return
	}
	for i := range change {
		if change[i].silent {
			f.forgetLocked(change[i].object.Path)
			continue
		}
		rec := f.matchLocked(change[i])
		for _, s := range f.matched {
			if len(s.gathered) == 0 {
				f.touched = append(f.touched, s)
			}
			s.gathered = append(s.gathered, rec)
		}
	}
	for _, s := range f.touched {
		if !s.push(s.gathered...) {
			f.gone = append(f.gone, s)
		}
		s.gathered = nil
	}
	clear(f.touched)
	f.touched = f.touched[:0]
}

// forgetLocked takes in that DelSilent removed an object.
func (f *feed) forgetLocked(path string) {
	f.matched = f.index.Append(f.matched[:0], path)
	for _, s := range f.matched {
		s.forget(path)
	}
}

// matchLocked puts one key of a change into the history and finds those that it concerns. Only if
// there are some it returns a copy of the record, which they share.
func (f *feed) matchLocked(rec record) *record {
	f.history.add(rec)
	f.matched = f.matched[:0]
	if rec.ignored {
		return nil
	}
	f.matched = f.index.Append(f.matched, rec.object.Path)
	shared := new(record)
	*shared = rec
	return shared
}

// dropGoneLocked takes those out of the index that take no more changes.
func (f *feed) dropGoneLocked() {
	if len(f.gone) == 0 {
		return
	}
	f.incoming.Lock()
	defer f.incoming.Unlock()
	for _, s := range f.gone {
		f.index.Remove(s.pattern, s)
	}
	clear(f.gone)
	f.gone = f.gone[:0]
}

// joinLocked lets a subscription have the changes from now on.
func (f *feed) joinLocked(s *Subscription) {
	f.subscriptions[s] = struct{}{}
	f.incoming.Lock()
	defer f.incoming.Unlock()
	f.index.Add(s.pattern, s)
}

// leave takes a subscription out.
func (f *feed) leave(s *Subscription) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, there := f.subscriptions[s]; !there {
		return
	}
	delete(f.subscriptions, s)
	_, coalesced := s.lag()
	f.coalesced += coalesced
	f.incoming.Lock()
	defer f.incoming.Unlock()
	f.index.Remove(s.pattern, s)
}

// close hands on what waits and ends all subscriptions behind it. The pipeline is closed. It gives
// those that have to read the persistent layer yet the time for it, within bounds.
func (f *feed) close(r *run) {
	close(f.ended)
	if f.started.Load() {
		close(f.quit)
		<-f.done
	}
	reading := make(map[*Subscription]<-chan struct{})
	f.mu.Lock()
	for s := range f.subscriptions {
		if !r.fromLayer() && s.behind() {
			// It gets what there is now: to look later it would have to hold all memory until then.
			_ = s.beginLast(r) // memory cannot fail
		}
		if settled := s.end(ErrNotActive); settled != nil {
			reading[s] = settled
		}
	}
	f.mu.Unlock()
	if len(reading) > 0 {
		f.awaitReaders(reading)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	f.history = history{}
}

// awaitReaders returns when the given subscriptions read the persistent layer no more. It ends those
// that take too long.
func (f *feed) awaitReaders(reading map[*Subscription]<-chan struct{}) {
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		for _, one := range reading {
			<-one
		}
	}()
	progress := func() (sum uint64) {
		for s := range reading {
			sum += s.progress()
		}
		return sum
	}
	if drain(settled, progress) {
		return
	}
	f.mu.Lock()
	f.over = true
	f.mu.Unlock()
	for s := range reading {
		s.giveUp(ErrNotActive)
	}
	<-settled
}

// stats returns how many subscriptions there are, how far the last of them is behind, in
// changes, how many changes were coalesced, and how often a subscription began anew.
func (f *feed) stats() (subscriptions, lag int, coalesced, resets uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	coalesced = f.coalesced
	for s := range f.subscriptions {
		behind, c := s.lag()
		lag = max(lag, behind)
		coalesced += c
	}
	return len(f.subscriptions), lag, coalesced, f.resets
}
