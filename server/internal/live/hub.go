package live

import (
	"math"
	"slices"
	"sync"

	"github.com/oolith-db/oolith/internal/globindex"
)

// The hub follows the store with one subscription, whatever the number of connections and patterns. So it sees whole commits
// in their order, and a connection that follows several patterns gets a commit as one message.
//
// A topic gets its first state from the store, at a revision L, while the hub may be at an earlier one. It is used
// from when the hub has come to L on: all topics are at one revision, the hub's, whenever mu is free.

type hub struct {
	live *Live

	starting sync.Mutex // held while the hub begins to follow; taken before mu

	mu       sync.Mutex // guards the fields below, and the topics
	index    globindex.Index[*topic]
	topics   map[topicKey]*topic
	loading  int // topics that are not live
	revision uint64
	barriers []barrier
	follow   *follower // nil while nothing is followed
	closed   bool
	touched  []*topic // scratch memory of the hub's goroutine, as is the next
	several  []*conn
}

func newHub(l *Live) *hub { return &hub{live: l, topics: make(map[topicKey]*topic)} }

func (h *hub) size() (patterns, subscriptions int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.follow != nil {
		subscriptions = 1
	}
	return len(h.topics), subscriptions
}

// begin lets a topic live. It needs mu.
func (h *hub) begin(t *topic) {
	for _, c := range t.early {
		if c.revision > t.last {
			t.apply(c) // nobody follows it yet
		}
	}
	t.early, t.live = nil, true
	t.notify()
	h.loading--
	close(t.settled)
	for _, m := range t.members { // those of a topic that was read anew
		m.conn.fallBehind()
	}
}

// commit brings a commit into the topics that it concerns, and gives each connection its message.
func (h *hub) commit(c commit) {
	c.changes = slices.DeleteFunc(latest(c.changes), func(ch change) bool { return h.live.hidden(ch.object) })
	h.mu.Lock()
	defer h.mu.Unlock()
	h.touched = h.touched[:0]
	for _, ch := range c.changes {
		from := len(h.touched)
		h.touched = h.index.Append(h.touched, ch.object.Path)
		kept := h.touched[:from]
		for _, t := range h.touched[from:] {
			if len(t.pending) == 0 {
				kept = append(kept, t)
			}
			t.pending = append(t.pending, ch)
		}
		h.touched = kept
	}
	if h.live.opt.View != nil {
		h.viewLocked()
	}
	h.revision = max(h.revision, c.revision)
	for _, t := range h.touched {
		h.change(t, commit{c.revision, t.pending})
		clear(t.pending)
		t.pending = t.pending[:0]
	}
	h.deliverSeveral(c.revision)
	clear(h.touched)
}

// latest leaves of the changes of each key the last one: a list with a limit may remove what was just stored.
func latest(changes []change) []change {
	if len(changes) < 2 {
		return changes
	}
	last := make(map[string]int, len(changes))
	for i, ch := range changes {
		last[ch.object.Path] = i
	}
	kept := changes[:0:0]
	for i, ch := range changes {
		if last[ch.object.Path] == i {
			kept = append(kept, ch)
		}
	}
	return kept
}

// viewLocked replaces what touched topics have pending by what their identities see of it. It lets go of mu meanwhile: topics
// that come then read a state in which the commit is.
func (h *hub) viewLocked() {
	h.mu.Unlock()
	defer h.mu.Lock()
	for _, t := range h.touched {
		for i, ch := range t.pending {
			if ch.removed {
				continue
			}
			if seen := h.live.view(t.viewer, ch.object); seen != nil {
				t.pending[i].object = seen
			} else {
				t.pending[i].removed = true
			}
		}
	}
}

// change brings a commit into a topic, and hands on what it changed. It needs mu.
func (h *hub) change(t *topic, c commit) {
	if !t.live {
		c.changes = append([]change(nil), c.changes...)
		t.early = append(t.early, c)
		return
	}
	if c.revision <= t.last {
		return
	}
	ops, unknown := t.apply(c)
	if h.live.opt.View != nil {
		unknown = nil // that it was there is not for everybody
	}
	if len(ops)+len(unknown) == 0 || len(t.members) == 0 {
		return
	}
	d := newDelta(t, c.revision, ops, unknown)
	for _, m := range t.members {
		if m.conn.protocol == wire && d.wire == nil {
			continue
		}
		if len(m.conn.members) == 1 {
			m.conn.push(d.frameFor(h.live, m))
			continue
		}
		if len(m.conn.parts) == 0 {
			h.several = append(h.several, m.conn)
		}
		m.conn.parts = append(m.conn.parts, part{m, d.part})
	}
}

// deliverSeveral gives those that follow several patterns one message for the commit. It needs mu.
func (h *hub) deliverSeveral(revision uint64) {
	for i, c := range h.several {
		c.push(h.live.message(c.protocol, "patch", revision, "", c.parts))
		c.parts, h.several[i] = nil, nil
	}
	h.several = h.several[:0]
}

// discard takes a topic out for good. It needs mu.
func (h *hub) discard(t *topic, err error) {
	if h.topics[t.topicKey] != t {
		return
	}
	delete(h.topics, t.topicKey)
	h.index.Remove(t.pattern, t)
	if !t.live {
		h.loading--
		t.err = err
		close(t.settled)
	}
	t.live = false
	t.notify()
}

// sweep forgets topics that nobody followed for some sweeps, and stops to follow the store when there are none.
func (h *hub) sweep(most int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.topics {
		t.unchanged = nil
		if len(t.members) > 0 || !t.live {
			continue
		}
		if t.sweeps++; t.sweeps > most {
			h.discard(t, nil)
		}
	}
	if len(h.topics) == 0 && h.follow != nil {
		h.follow.cancel()
		h.follow = nil
		h.passLocked(math.MaxUint64)
	}
}

// close ends the hub. The connections are gone.
func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	f := h.follow
	h.mu.Unlock()
	if f != nil {
		f.cancel()
		<-f.done
	}
}
