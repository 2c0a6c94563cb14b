package storage

import "time"

// backlogLimit is how many events wait for one consumer in full. Past it, only the newest
// event of each key is kept.
const backlogLimit = 1 << 14

// superseded is the Operation of the gap that an event leaves. No event has it.
const superseded = "\x00"

// backlog is the queue of a consumer that lags. Up to its limit it keeps every event;
// past it, until it is empty again, only the newest one of each key, in the order of
// these newest ones. So its size is bounded by the limit and the number of different
// keys that change, however long a consumer is stuck. It is not safe for concurrent use.
type backlog struct {
	// events[head:] are the events in order, with gaps where Operation is superseded.
	events []Event
	head   int
	live   int // events[head:] without the superseded ones
	// newest is the index in events of the newest event of each key; nil up to the limit.
	newest map[string]int
	// coalesced counts the events that were superseded.
	coalesced uint64
}

func (b *backlog) push(e Event) {
	if b.newest != nil {
		b.supersede(e.Key)
		b.newest[e.Key] = len(b.events)
	}
	b.events = append(b.events, e)
	b.live++
	switch {
	case b.newest == nil && b.live > backlogLimit:
		b.coalesce()
	case len(b.events) > 2*b.live+backlogLimit:
		b.compact()
	}
}

// supersede drops the waiting event of a key, if there is one.
func (b *backlog) supersede(key string) {
	if i, ok := b.newest[key]; ok {
		b.events[i] = Event{Operation: superseded}
		b.live--
		b.coalesced++
	}
}

// coalesce begins to keep only the newest event of each key.
func (b *backlog) coalesce() {
	b.newest = make(map[string]int, b.live)
	for i := b.head; i < len(b.events); i++ {
		b.supersede(b.events[i].Key)
		b.newest[b.events[i].Key] = i
	}
	b.compact()
}

// compact closes the gaps that superseded events left, and the one before head.
func (b *backlog) compact() {
	kept := make([]Event, 0, b.live+b.live/4)
	for _, e := range b.events[b.head:] {
		if e.Operation != superseded {
			if b.newest != nil {
				b.newest[e.Key] = len(kept)
			}
			kept = append(kept, e)
		}
	}
	b.events, b.head = kept, 0
}

// first returns the event to deliver next, or false when there is none.
func (b *backlog) first() (Event, bool) {
	for b.head < len(b.events) && b.events[b.head].Operation == superseded {
		b.head++
	}
	if b.head == len(b.events) {
		// Empty: forget the memory that a long wait took.
		b.events, b.head, b.newest = nil, 0, nil
		return Event{}, false
	}
	return b.events[b.head], true
}

// pop removes what first returned.
func (b *backlog) pop() {
	if b.newest != nil {
		delete(b.newest, b.events[b.head].Key)
	}
	b.events[b.head] = Event{}
	b.head++
	b.live--
}

// How long a Close goes on delivering to a consumer: as long as it takes events, but
// no longer than drainIdle for one event and drainLimit in all.
const (
	drainIdle  = time.Second
	drainLimit = 5 * time.Second
)

// drain waits until done is closed, while progress goes on. It reports whether done came.
func drain(done <-chan struct{}, progress func() uint64) bool {
	limit := time.NewTimer(drainLimit)
	defer limit.Stop()
	idle := time.NewTicker(drainIdle)
	defer idle.Stop()
	last := progress()
	for {
		select {
		case <-done:
			return true
		case <-limit.C:
			return false
		case <-idle.C:
			now := progress()
			if now == last {
				return false
			}
			last = now
		}
	}
}
