package live

import (
	"context"
	"slices"
)

// How a connection begins to follow patterns, begins anew, and ends.

// attach makes a connection follow patterns, all at one revision, with a state that a token may spare it. The members have
// their ids and nothing else. On an error it follows none of them.
func (h *hub) attach(ctx context.Context, c *conn, patterns []string, members []*member, resume string, wireVersion string) error {
	for {
		topics := make([]*topic, len(patterns))
		for i, pattern := range patterns {
			t, err := h.topic(ctx, pattern, c.viewer)
			if err != nil {
				return err
			}
			topics[i] = t
		}
		if err := h.catchUp(ctx); err != nil {
			return err
		}
		from, reason := h.resumable(resume)
		if from != 0 {
			c.hold()
		}
		at, told, ok := h.enroll(c, topics, members, wireVersion, from, reason)
		switch {
		case from == 0:
		case told || !ok:
			c.release(nil)
		default:
			c.release(h.missed(ctx, c, patterns, members, from, at))
		}
		if ok {
			return nil
		} // else one of them was read anew meanwhile
	}
}

// enroll makes members of topics, and tells the state, or what a client that resumes missed if that is nothing. It
// reports whether it told what the connection begins with, and false for ok if a topic does not live.
func (h *hub) enroll(c *conn, topics []*topic, members []*member, version string, from uint64, reason string) (at uint64, told, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.left {
		return h.revision, true, true
	}
	changed := false
	for _, t := range topics {
		if !t.live {
			return 0, false, false
		}
		changed = changed || t.last > from
	}
	for i, t := range topics {
		m := members[i]
		m.conn = c
		t.enroll(m)
		c.members = append(c.members, m)
	}
	switch {
	case c.isBehind(): // it is told with the rest
	case from == 0:
		h.tellState(c, members, version, reason)
	case !changed:
		c.state(h.bounds(c, "live", h.revision, members, ""))
	default:
		return h.revision, false, true
	}
	return h.revision, true, true
}

// tellState tells the state of some of a connection's topics. It needs mu.
func (h *hub) tellState(c *conn, members []*member, version, reason string) {
	if c.protocol == wire {
		t := members[0].topic
		if version == "" || h.live.opt.View != nil || !t.versions.is(t.pattern, t.last, version) {
			c.state(t.snapshot().wire)
		}
		return
	}
	for _, f := range h.stateFrames(c, members, reason) {
		c.state(f)
	}
}

func (h *hub) stateFrames(c *conn, members []*member, reason string) []*frame {
	parts := make([]part, len(members))
	for i, m := range members {
		parts[i] = part{m, m.topic.snapshot().part}
	}
	frames := []*frame{h.live.message(c.protocol, "snapshot", h.revision, "", parts), h.bounds(c, "live", h.revision, members, "")}
	if reason != "" {
		frames = append([]*frame{h.bounds(c, "reset", h.revision, members, reason)}, frames...)
	}
	return frames
}

// bounds is a message that only names subscriptions: that they are live, or begin anew.
func (h *hub) bounds(c *conn, kind string, revision uint64, members []*member, reason string) *frame {
	parts := make([]part, len(members))
	for i, m := range members {
		parts[i] = part{m, ready([]byte(`"pattern":`), appendText(nil, m.topic.pattern))}
	}
	extra := ""
	if reason != "" {
		extra = `,"reason":` + string(appendText(nil, reason))
	}
	return h.live.message(c.protocol, kind, revision, extra, parts)
}

// refresh tells a connection that fell behind the state of all that it follows. It reports false, and the connection stays
// behind, while a topic is read anew: then it is told when that lives.
//
// What dropped changes is undone in the same instant in which the state is taken: no change may come between.
func (h *hub) refresh(c *conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	whole := !c.left
	for _, m := range c.members {
		whole = whole && m.topic.live
	}
	c.mu.Lock()
	if !whole {
		c.writing = false
		c.mu.Unlock()
		return false
	}
	c.behind = false
	c.emptyLocked()
	c.mu.Unlock()
	if len(c.members) > 0 {
		h.live.stats.catchUps.Add(1)
		c.caught.Add(1)
		h.tellState(c, c.members, "", reasonBehind)
	}
	return true
}

// leave takes a connection out of all topics.
func (h *hub) leave(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.left = true
	for _, m := range c.members {
		m.topic.dismiss(m)
	}
	c.members = nil
}

// dismiss takes one subscription out.
func (h *hub) dismiss(m *member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := m.conn
	if at := slices.Index(c.members, m); at >= 0 {
		c.members = slices.Delete(c.members, at, at+1)
		m.topic.dismiss(m)
	}
}
