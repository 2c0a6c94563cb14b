package storage

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/oolith-db/oolith/internal/globindex"
	"github.com/oolith-db/oolith/meta"
)

// The feed carries committed changes, key by key, to the subscriptions.
//
// The pipeline appends to it, at a cost that no number of subscriptions changes. A goroutine
// of the feed then finds, in an index of the patterns, the subscriptions that each change
// concerns, and puts it into their queues. It also keeps the newest changes, the history, from which a
// subscription can resume. Nothing is kept before the first subscription.

const (
	// defaultHistory is how many changes are kept for those who resume.
	defaultHistory = 1 << 16
	// historyBytes bounds the data of the changes that are kept.
	historyBytes = 64 << 20
	// feedFold is how many changes may wait for the goroutine before a writer helps it out.
	feedFold = 1 << 14
)

// record is a committed change of one key. It is immutable.
type record struct {
	path     string
	revision uint64
	object   *meta.Object // stored or removed
	removed  bool
	more     bool // the next record is of the same batch or glob delete
}

func (r *record) queueKey() string { return r.path }

// feed is the feed of one run of a store.
type feed struct {
	started atomic.Bool
	signal  chan struct{} // 1 token: something was appended
	quit    chan struct{}
	done    chan struct{}

	// incoming guards waiting. It is taken after mu.
	incoming sync.Mutex
	waiting  [][]record

	mu     sync.Mutex // guards the fields below
	index  globindex.Index[*Subscription]
	closed bool
	// history holds all changes with a revision above floor, oldest first, from head on.
	history []*record
	head    int
	bytes   int
	limit   int
	floor   uint64
	// coalesced and lagged count what subscriptions that are gone have seen of it.
	coalesced, resets uint64
}

// on reports whether anybody ever subscribed.
func (f *feed) on() bool { return f.started.Load() }

// append adds the changes of a group. Only the pipeline calls it. The feed keeps records.
func (f *feed) append(records []record) {
	if len(records) == 0 {
		return
	}
	f.incoming.Lock()
	f.waiting = append(f.waiting, records)
	behind := len(f.waiting)
	f.incoming.Unlock()
	if behind > feedFold {
		f.dispatch()
		return
	}
	select {
	case f.signal <- struct{}{}:
	default:
	}
}

// start makes the feed keep changes behind a revision. It needs mu, in an instant of the pipeline.
func (f *feed) startLocked(revision uint64) {
	if f.started.Load() {
		return
	}
	f.floor = revision
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

// dispatch hands on what was appended.
func (f *feed) dispatch() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dispatchLocked()
}

func (f *feed) dispatchLocked() {
	f.incoming.Lock()
	groups := f.waiting
	f.waiting = nil
	f.incoming.Unlock()
	for _, records := range groups {
		for i := range records {
			rec := &records[i]
			f.keep(rec)
			f.index.Match(rec.path, func(s *Subscription) {
				if !s.push(rec) {
					f.index.Remove(s.pattern, s)
				}
			})
		}
	}
}

// keep adds a change to the history and drops what is too much.
func (f *feed) keep(rec *record) {
	f.history = append(f.history, rec)
	f.bytes += len(rec.object.Data)
	for f.head < len(f.history) && (len(f.history)-f.head > f.limit || f.bytes > historyBytes) {
		oldest := f.history[f.head]
		f.history[f.head] = nil
		f.head++
		f.bytes -= len(oldest.object.Data)
		f.floor = oldest.revision
	}
	if f.head > f.limit {
		f.history = slices.Delete(f.history, 0, f.head)
		f.head = 0
	}
}

// since returns the changes behind a revision, or false when some of them are not kept.
func (f *feed) sinceLocked(revision uint64) ([]*record, bool) {
	if revision < f.floor {
		return nil, false
	}
	kept := f.history[f.head:]
	first, _ := slices.BinarySearchFunc(kept, revision+1, func(rec *record, want uint64) int {
		if rec.revision < want {
			return -1
		}
		return 1
	})
	return slices.Clone(kept[first:]), true
}

// leave takes a subscription out.
func (f *feed) leave(s *Subscription) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.index.Remove(s.pattern, s)
	_, coalesced := s.lag()
	f.coalesced += coalesced
}

// close hands on what was appended and ends all subscriptions behind it. The pipeline is closed.
func (f *feed) close() {
	f.mu.Lock()
	f.closed = true
	started := f.started.Load()
	f.mu.Unlock()
	if started {
		close(f.quit)
		<-f.done
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.index.Each(func(s *Subscription) { s.end(ErrNotActive) })
	f.index = globindex.Index[*Subscription]{}
	f.history, f.head = nil, 0
}

// stats returns how many subscriptions there are, how far the last of them is behind, in
// changes, and how many changes were coalesced.
func (f *feed) stats() (subscriptions, lag int, coalesced, resets uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	coalesced = f.coalesced
	f.index.Each(func(s *Subscription) {
		behind, c := s.lag()
		lag = max(lag, behind)
		coalesced += c
	})
	return f.index.Len(), lag, coalesced, f.resets
}
