package storage

// backlogLimit is how many entries wait for one consumer in full. Beyond it, only the newest entry of each key is kept.
const backlogLimit = 1 << 14

// backlog is the queue of a consumer. Up to its limit it keeps everything. Beyond it, until it is empty again, it keeps
// only the newest entry of each key, in the order of these entries, and drops keys that were created and deleted in the
// meantime. Its size is therefore bounded by the limit, the number of existing keys and the number of keys delivered to
// the consumer, however long the consumer is stuck. It is not safe for concurrent use.
type backlog struct {
	// limit is the limit; backlogLimit when zero.
	limit int
	// keepAll keeps everything beyond the limit too. Its owner then bounds the size.
	keepAll bool
	// kept is how many slots an empty backlog keeps for the next entries, if more than keptSlots.
	kept int
	// slots[head:] are the entries in order, with gaps where newer ones replaced them.
	slots []slot
	head  int
	live  int // slots[head:] without the gaps
	// newest is the index in slots of the newest entry of each key, or ghost; nil up to the limit.
	newest map[string]int
	// coalesced counts the entries that were dropped.
	coalesced uint64
}

// ghost in backlog.newest marks an object that was delivered to the consumer and whose removal is not delivered.
const ghost = -1

// slot is an entry, or a gap with nothing in it.
type slot struct {
	*change
	// known means, beyond the limit, that an object of the key was delivered to the consumer.
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

// slide moves the entries to the start of their memory, over the slots that are no longer used.
func (b *backlog) slide() {
	n := copy(b.slots, b.slots[b.head:])
	clear(b.slots[n:])
	b.slots, b.head = b.slots[:n], 0
}

// fold makes the last entry the only one of its key. If it removes an object that was never delivered to the consumer,
// it drops this entry too.
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

// gone records that an object was removed without an entry of its own. told means that another entry, that of a glob
// delete, reports it to the consumer.
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

// allGone records that everything was removed. Another entry reports it to the consumer, in this backlog or in another
// one of the same consumer.
func (b *backlog) allGone() {
	if b.newest != nil {
		b.coalesced += uint64(b.live)
		b.slots, b.head, b.live = nil, 0, 0
		clear(b.newest)
	}
}

// coalesce starts to keep only the newest entry of each key.
func (b *backlog) coalesce() {
	b.newest = make(map[string]int, b.live)
	for i := b.head; i < len(b.slots); i++ {
		b.fold(i)
	}
	b.compact()
}

// compact removes the gaps of superseded entries, and the slots before head.
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

// first returns the next entry to deliver, without removing it, or false if there is none.
func (b *backlog) first() (c *change, ok bool) {
	for b.head < len(b.slots) && b.slots[b.head].change == nil {
		b.head++
	}
	if b.head == len(b.slots) {
		// Release the memory of a long backlog, keep that of a short one.
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

// add adds a change for a consumer of events.
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
