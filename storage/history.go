package storage

import "sort"

const (
	// defaultHistory is how many changes are kept for subscriptions that resume.
	defaultHistory = 1 << 16
	// historyBytes is the limit on the data of the kept changes.
	historyBytes = 64 << 20
)

// history holds the newest changes, from which a subscription can resume. It is a ring that grows up to its limit. It
// is not safe for concurrent use.
type history struct {
	limit int // of changes
	// floor is the revision after which all changes are kept.
	floor uint64
	ring  []*change
	head  int // the index of the oldest change in ring
	n     int
	bytes int // of the data of the objects
}

// at returns a change by age; 0 is the oldest.
func (h *history) at(i int) *change {
	if i += h.head; i >= len(h.ring) {
		i -= len(h.ring)
	}
	return h.ring[i]
}

// add adds the newest change, and drops the oldest ones beyond the limits.
func (h *history) add(c *change) {
	if h.n == len(h.ring) {
		h.grow()
	}
	end := h.head + h.n
	if end >= len(h.ring) {
		end -= len(h.ring)
	}
	h.ring[end] = c
	h.n++
	h.bytes += c.bytes()
	for h.n > h.limit || h.n > 0 && h.bytes > historyBytes {
		h.drop()
	}
}

// grow enlarges the ring, to at most one slot more than the limit.
func (h *history) grow() {
	ring := make([]*change, min(max(2*h.n, 64)-1, h.limit)+1)
	for i := range h.n {
		ring[i] = h.at(i)
	}
	h.ring, h.head = ring, 0
}

// drop drops the oldest change.
func (h *history) drop() {
	oldest := h.ring[h.head]
	h.ring[h.head] = nil
	if h.head++; h.head == len(h.ring) {
		h.head = 0
	}
	h.n--
	h.bytes -= oldest.bytes()
	h.floor = oldest.revision
}

// since returns the changes after a revision, oldest first, or false if some of them are no longer kept.
func (h *history) since(revision uint64) ([]*change, bool) {
	if revision < h.floor {
		return nil, false
	}
	first := sort.Search(h.n, func(i int) bool { return h.at(i).revision > revision })
	if first == h.n {
		return nil, true
	}
	kept := make([]*change, 0, h.n-first)
	begin, end := (h.head+first)%len(h.ring), h.head+h.n
	if end <= len(h.ring) {
		return append(kept, h.ring[begin:end]...), true
	}
	if end -= len(h.ring); begin >= h.head {
		kept = append(kept, h.ring[begin:]...)
		begin = 0
	}
	return append(kept, h.ring[begin:end]...), true
}
