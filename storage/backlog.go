package storage

import "time"

// backlogLimit is how many entries wait for one consumer in full. Past it, only the newest
// entry of each key is kept.
const backlogLimit = 1 << 14

// backlog is the queue of a consumer that lags. Up to its limit it keeps everything;
// past it, until it is empty again, only the newest entry of each key, in the order of
// these newest ones. So its size is bounded by the limit and the number of different
// keys that change, however long a consumer is stuck. It is not safe for concurrent use.
type backlog[T keyed] struct {
	// limit is backlogLimit when zero.
	limit int
	// keepAll says that everything is kept past the limit too: its owner sees to the bound.
	keepAll bool
	// slots[head:] are the entries in order, with gaps where newer ones took their place.
	slots []slot[T]
	head  int
	live  int // slots[head:] without the gaps
	// newest is the index in slots of the newest entry of each key; nil up to the limit.
	newest map[string]int
	// coalesced counts the entries that were superseded.
	coalesced uint64
}

// keyed is what a backlog can hold.
type keyed interface{ queueKey() string }

func (e Event) queueKey() string { return e.Key }

type slot[T any] struct {
	value T
	gap   bool
}

func (b *backlog[T]) most() int {
	if b.limit > 0 {
		return b.limit
	}
	return backlogLimit
}

func (b *backlog[T]) push(value T) {
	if b.newest != nil {
		b.supersede(value.queueKey())
		b.newest[value.queueKey()] = len(b.slots)
	}
	b.slots = append(b.slots, slot[T]{value: value})
	b.live++
	switch {
	case b.newest == nil && !b.keepAll && b.live > b.most():
		b.coalesce()
	case len(b.slots)-2*b.live > min(b.most(), backlogLimit):
		b.compact()
	}
}

// supersede drops the waiting entry of a key, if there is one.
func (b *backlog[T]) supersede(key string) {
	if i, ok := b.newest[key]; ok {
		b.slots[i] = slot[T]{gap: true}
		b.live--
		b.coalesced++
	}
}

// coalesce begins to keep only the newest entry of each key.
func (b *backlog[T]) coalesce() {
	b.newest = make(map[string]int, b.live)
	for i := b.head; i < len(b.slots); i++ {
		key := b.slots[i].value.queueKey()
		b.supersede(key)
		b.newest[key] = i
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
