package storage

// backlogLimit is how many entries wait for one consumer in full. Past it, only the newest
// entry of each key is kept.
const backlogLimit = 1 << 14

// backlog is the queue of a consumer that lags. Up to its limit it keeps everything;
// past it, until it is empty again, only the newest entry of each key, in the order of
// these newest ones, and none of a key that came and went meanwhile. So its size is bounded by the limit, the
// keys that there are and those that the consumer was told of, however long it is stuck and
// however much changes. It is not safe for concurrent use.
type backlog struct {
	// limit is backlogLimit when zero.
	limit int
	// keepAll says that everything is kept past the limit too: its owner sees to the bound.
	keepAll bool
	// kept is how many slots the empty backlog keeps for the next entries, where that is more than keptSlots.
	kept int
	// slots[head:] are the entries in order, with gaps where newer ones took their place.
	slots []slot
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

// slot is an entry, or a gap with nothing in it.
type slot struct {
	*change
	// known says, past the limit, that the consumer was told of an object of the key.
	known bool
}

func (b *backlog) most() int {
	if b.limit > 0 {
		return b.limit
	}
	return backlogLimit
}

func (b *backlog) push(c *change) {
	if len(b.slots) == cap(b.slots) && b.newest == nil && b.head > len(b.slots)/2 {
		b.slide()
	}
	b.slots = append(b.slots, slot{change: c})
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

// slide moves the entries to the front of their memory, where others have left.
func (b *backlog) slide() {
	n := copy(b.slots, b.slots[b.head:])
	clear(b.slots[n:])
	b.slots, b.head = b.slots[:n], 0
}

// fold makes an entry, the last one, the only one of its key. If it removes an object that the consumer was
// never told of, none is left.
func (b *backlog) fold(last int) {
	s := &b.slots[last]
	s.known = !s.creates()
	if i, ok := b.newest[s.Key]; ok {
		s.known = i == ghost || b.slots[i].known
		b.drop(i)
	}
	if s.removes() && !s.known {
		delete(b.newest, s.Key)
		b.drop(last)
		return
	}
	b.newest[s.Key] = last
}

// drop drops an entry.
func (b *backlog) drop(i int) {
	if i != ghost {
		b.slots[i] = slot{}
		b.live--
		b.coalesced++
	}
}

// gone takes in that the object of a key was removed with no entry of its own: told says that another one tells
// the consumer, that of a glob delete.
func (b *backlog) gone(key string, told bool) {
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
func (b *backlog) allGone() {
	if b.newest != nil {
		b.coalesced += uint64(b.live)
		b.slots, b.head, b.live = nil, 0, 0
		clear(b.newest)
	}
}

// coalesce begins to keep only the newest entry of each key.
func (b *backlog) coalesce() {
	b.newest = make(map[string]int, b.live)
	for i := b.head; i < len(b.slots); i++ {
		b.fold(i)
	}
	b.compact()
}

// compact closes the gaps that superseded entries left, and the one before head.
func (b *backlog) compact() {
	kept := make([]slot, 0, b.live+b.live/4)
	for _, s := range b.slots[b.head:] {
		if s.change != nil {
			if b.newest != nil {
				b.newest[s.Key] = len(kept)
			}
			kept = append(kept, s)
		}
	}
	b.slots, b.head = kept, 0
}

// first returns the entry to deliver next, until it is popped, or false when there is none.
func (b *backlog) first() (c *change, ok bool) {
	for b.head < len(b.slots) && b.slots[b.head].change == nil {
		b.head++
	}
	if b.head == len(b.slots) {
		// Empty: forget the memory that a long wait took, and keep that of a short one.
		if cap(b.slots) > max(keptSlots, b.kept) {
			b.slots = nil
		}
		b.slots, b.head, b.newest = b.slots[:0], 0, nil
		return nil, false
	}
	return b.slots[b.head].change, true
}

// keptSlots is how many slots an empty backlog keeps for the next entries.
const keptSlots = 64

// pop removes what first returned.
func (b *backlog) pop() {
	if b.newest != nil {
		delete(b.newest, b.slots[b.head].Key)
	}
	b.slots[b.head] = slot{}
	b.head++
	b.live--
}

// add takes in a change for a consumer that is told of events.
func (b *backlog) add(c *change) {
	switch c.kind {
	case changePart:
		b.gone(c.Key, true)
	case changeSilent:
		b.gone(c.Key, false)
	case changeClear:
		b.allGone()
		b.push(c)
	default:
		b.push(c)
	}
}
