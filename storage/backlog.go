package storage

import "time"

// backlogLimit is how many entries wait for one consumer in full. Past it, only the newest
// entry of each key is kept.
const backlogLimit = 1 << 14

// backlog is the queue of a consumer that lags. Up to its limit it keeps everything;
// past it, until it is empty again, only the newest entry of each key, in the order of
// these newest ones, and none of a key that came and went meanwhile. So its size is bounded by the limit, the
// keys that there are and those that the consumer was told of, however long it is stuck and
// however much changes. It is not safe for concurrent use.
type backlog[T keyed] struct {
	// limit is backlogLimit when zero.
	limit int
	// keepAll says that everything is kept past the limit too: its owner sees to the bound.
	keepAll bool
	// slots[head:] are the entries in order, with gaps where newer ones took their place.
	slots []slot[T]
	head  int
	live  int // slots[head:] without the gaps
	// newest is the index in slots of the newest entry of each key, or ghost; nil up to the limit.
	newest map[string]int
	// coalesced counts the entries that were dropped.
	coalesced uint64
}

// ghost stands in backlog.newest for an object that the consumer was told of, and whose removal nobody
// tells.
const ghost = -1

// keyed is what a backlog can hold.
type keyed interface {
	queueKey() string
	// creates and removes say that the key had no object before the change, and that it has none after it.
	creates() bool
	removes() bool
}

func (e Event) queueKey() string { return e.Key }
func (e Event) creates() bool    { return false } // as far as an event tells
func (e Event) removes() bool    { return e.Operation == OperationDel }

type slot[T any] struct {
	value T
	gap   bool
	// known says, past the limit, that the consumer was told of an object of the key.
	known bool
}

func (b *backlog[T]) most() int {
	if b.limit > 0 {
		return b.limit
	}
	return backlogLimit
}

func (b *backlog[T]) push(value T) {
	b.slots = append(b.slots, slot[T]{value: value})
	b.live++
	if b.newest != nil {
		b.fold(len(b.slots) - 1)
	}
	switch {
	case b.newest == nil && !b.keepAll && b.live > b.most():
		b.coalesce()
	case len(b.slots)-2*b.live > min(b.most(), backlogLimit):
		b.compact()
	}
}

// fold makes an entry, the last one, the only one of its key. If it removes an object that the consumer was
// never told of, none is left.
func (b *backlog[T]) fold(last int) {
	s := &b.slots[last]
	key := s.value.queueKey()
	s.known = !s.value.creates()
	if i, ok := b.newest[key]; ok {
		s.known = i == ghost || b.slots[i].known
		b.drop(i)
	}
	if s.value.removes() && !s.known {
		delete(b.newest, key)
		b.drop(last)
		return
	}
	b.newest[key] = last
}

// drop drops an entry.
func (b *backlog[T]) drop(i int) {
	if i != ghost {
		b.slots[i] = slot[T]{gap: true}
		b.live--
		b.coalesced++
	}
}

// gone takes in that the object of a key was removed with no entry of its own: told says that another one tells
// the consumer, that of a glob delete.
func (b *backlog[T]) gone(key string, told bool) {
	if b.newest == nil {
		return
	}
	switch i, waits := b.newest[key]; {
	case waits && i != ghost && !b.slots[i].known:
		delete(b.newest, key)
		b.drop(i)
	case !waits && !told:
		b.newest[key] = ghost
	}
}

// allGone takes in that everything was removed, which another entry tells the consumer, of this backlog or of
// one beside it.
func (b *backlog[T]) allGone() {
	if b.newest != nil {
		b.coalesced += uint64(b.live)
		b.slots, b.head, b.live = nil, 0, 0
		clear(b.newest)
	}
}

// coalesce begins to keep only the newest entry of each key.
func (b *backlog[T]) coalesce() {
	b.newest = make(map[string]int, b.live)
	for i := b.head; i < len(b.slots); i++ {
		b.fold(i)
	}
	b.compact()
}

// compact closes the gaps that superseded entries left, and the one before head.
func (b *backlog[T]) compact() {
	kept := make([]slot[T], 0, b.live+b.live/4)
	for _, s := range b.slots[b.head:] {
		if !s.gap {
			if b.newest != nil {
				b.newest[s.value.queueKey()] = len(kept)
			}
			kept = append(kept, s)
		}
	}
	b.slots, b.head = kept, 0
}

// first returns the entry to deliver next, or false when there is none.
func (b *backlog[T]) first() (value T, ok bool) {
	for b.head < len(b.slots) && b.slots[b.head].gap {
		b.head++
	}
	if b.head == len(b.slots) {
		// Empty: forget the memory that a long wait took, and keep that of a short one.
		if cap(b.slots) > keptSlots {
			b.slots = nil
		}
		b.slots, b.head, b.newest = b.slots[:0], 0, nil
		return value, false
	}
	return b.slots[b.head].value, true
}

// keptSlots is how many slots an empty backlog keeps for the next entries.
const keptSlots = 64

// pop removes what first returned.
func (b *backlog[T]) pop() {
	if b.newest != nil {
		delete(b.newest, b.slots[b.head].value.queueKey())
	}
	b.slots[b.head] = slot[T]{gap: true}
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
