package live

import (
	"math"
	"slices"
	"sync"

	"github.com/oolith-db/oolith/internal/globindex"
)

// The hub follows the store with one subscription, however many connections and patterns there are. It sees complete
// commits in order, and a connection that follows several patterns gets a commit as one message.
//
// A topic reads its first state from the store at a revision L, while the hub may be at an earlier one. It becomes
// live once the hub has reached L. All live topics are therefore at the hub's revision whenever mu is free.

type hub struct {
	live *Live

	starting sync.Mutex // held while the hub starts to follow; taken before mu

	mu       sync.Mutex // guards the fields below and the topics
	index    globindex.Index[*topic]
	topics   map[topicKey]*topic
	loading  int // topics that are not live yet
	revision uint64
	barriers []barrier
	follow   *follower // nil if nothing is followed
	closed   bool
	touched  []*topic // scratch memory of the hub's goroutine, like the next field
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

// begin makes a topic live. It requires mu.
func (h *hub) begin(t *topic) {
	for _, c := range t.early {
		if c.revision > t.last {
			t.apply(c) // without followers
		}
	}
	t.early, t.live = nil, true
	t.notify()
	h.loading--
	close(t.settled)
	for _, m := range t.members { // of a reloaded topic
		m.conn.fallBehind()
	}
}

// commit applies a commit to its topics and gives each connection its message.
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

// latest keeps only the last change of each key: a list with a limit may remove an object that was just stored.
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

// viewLocked replaces the pending changes of touched topics with what their identities may see. It releases mu in
// between; topics that start then read a state that includes the commit.
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

// change applies a commit to a topic and distributes the changes. It requires mu.
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
		unknown = nil // not everybody may know that it existed
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

// deliverSeveral gives connections with several patterns one message for the commit. It requires mu.
func (h *hub) deliverSeveral(revision uint64) {
	for i, c := range h.several {
		c.push(h.live.message(c.protocol, "patch", revision, "", c.parts))
		c.parts, h.several[i] = nil, nil
	}
	h.several = h.several[:0]
}

// discard removes a topic. It requires mu.
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

// sweep removes topics without followers after some sweeps, and stops following the store if there are none left.
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

// close closes the hub. The connections are gone.
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
