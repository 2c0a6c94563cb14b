package live

import (
	"context"
	"slices"
)

// How a connection starts to follow patterns, starts over, and ends.

// attach makes a connection follow patterns, all at one revision. A token may spare it the state. The members have
// only their ids. On an error the connection follows none of them.
func (h *hub) attach(ctx context.Context, c *conn, patterns []string, members []*member, resume string, wireVersion string) error {
	h.heardOf(ctx, resume)
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
		} // otherwise one of them was reloaded in the meantime
	}
}

// enroll adds members to topics and sends the state, or only live if a resuming client missed nothing. It reports
// whether it sent the beginning, and returns false for ok if a topic is not live.
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

// tellState sends the state of some of a connection's topics. It requires mu.
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

// bounds returns a message that only names subscriptions: they are live, or start over.
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

// refresh sends a connection that fell behind the state of everything it follows. If a topic is being reloaded, it
// returns false and the connection stays behind until the topic is live.
//
// It clears the mark of dropped changes at the instant in which it takes the state. No change may come between.
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

// leave removes a connection from all topics.
func (h *hub) leave(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.left = true
	for _, m := range c.members {
		m.topic.dismiss(m)
	}
	c.members = nil
}

// dismiss removes one subscription.
func (h *hub) dismiss(m *member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := m.conn
	if at := slices.Index(c.members, m); at >= 0 {
		c.members = slices.Delete(c.members, at, at+1)
		m.topic.dismiss(m)
	}
}
