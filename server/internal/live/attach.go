package live

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Why a client gets a fresh state: what a reset says.
const (
	reasonMalformed = "malformed token"
	reasonForeign   = "token of another store"
	reasonFuture    = "token of the future"
	reasonHistory   = "the changes since the token are not kept"
	reasonBehind    = "the connection fell behind"
)

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
		at, ok := h.enroll(c, topics, members, wireVersion, from, reason)
		if !ok {
			if from != 0 {
				c.release(nil)
			}
			continue // one of them was read anew meanwhile
		}
		if from != 0 {
			c.release(h.missed(ctx, c, patterns, members, from, at))
		}
		return nil
	}
}

// resumable is the revision that a token names, 0 if there is none to resume from: a reason says why.
func (h *hub) resumable(text string) (from uint64, reason string) {
	if text == "" {
		return 0, ""
	}
	t, err := parseToken(text)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err != nil:
		return 0, reasonMalformed
	case t.store != h.live.opt.Store:
		return 0, reasonForeign
	case t.revision > h.revision:
		return 0, reasonFuture
	case t.revision == 0: // of an empty store
		return 0, reasonHistory
	}
	return t.revision, ""
}

// enroll makes members of topics, and tells the state unless the client resumes. It reports false if a topic
// does not live.
func (h *hub) enroll(c *conn, topics []*topic, members []*member, version string, from uint64, reason string) (at uint64, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.left {
		return h.revision, true
	}
	for _, t := range topics {
		if !t.live {
			return 0, false
		}
	}
	for i, t := range topics {
		m := members[i]
		m.conn = c
		t.enroll(m)
		c.members = append(c.members, m)
	}
	if from == 0 && !c.isBehind() { // else it is told with the rest
		h.tellState(c, members, version, reason)
	}
	return h.revision, true
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

var errTooMuch = errors.New("live: more was missed than may wait")

// missed is what a client that resumes gets first: each commit that it missed, up to the revision at which it was enrolled. If
// these are not kept, or are too much, it is what changed and what exists (oolith.v1), or a fresh state.
func (h *hub) missed(ctx context.Context, c *conn, patterns []string, members []*member, from, at uint64) []*frame {
	commits, err := h.history(ctx, c, patterns, from, at)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range members {
		if m.topic == nil || !m.topic.live {
			return nil // it is told anew when it lives
		}
	}
	if err != nil {
		if !errors.Is(err, errTooMuch) && !errors.Is(err, errNotKept) {
			h.live.opt.Logger.Warn("a client does not resume", "error", err)
		}
		if len(c.members) > len(members) {
			// A message that tells one subscription must not say that all of them are at its revision.
			c.fallBehind()
			return nil
		}
		// What is held is in the state that is told now.
		c.mu.Lock()
		if !c.ending {
			c.emptyLocked()
		}
		c.mu.Unlock()
		return h.fresh(c, members, from)
	}
	var frames []*frame
	for _, missed := range commits {
		var parts []part
		for i, changes := range missed.changes {
			if len(changes) > 0 {
				body := append([]byte(`"pattern":`), appendText(nil, patterns[i])...)
				parts = append(parts, part{members[i], ready(appendArray(append(body, `,"changes":`...), changes, appendChange))})
			}
		}
		frames = append(frames, h.live.message(c.protocol, "patch", missed.revision, "", parts))
	}
	return append(frames, h.bounds(c, "live", at, members, ""))
}

// fresh is what a client gets that cannot resume commit by commit.
func (h *hub) fresh(c *conn, members []*member, from uint64) []*frame {
	if c.protocol == events {
		return h.stateFrames(c, members, reasonHistory)
	}
	parts := make([]part, len(members))
	for i, m := range members {
		parts[i] = part{m, m.topic.whatExists(from)}
	}
	since := fmt.Sprintf(`,"since":"%s"`, token{h.live.opt.Store, from})
	return []*frame{h.live.message(c.protocol, "catchup", h.revision, since, parts), h.bounds(c, "live", h.revision, members, "")}
}

// missedCommit is what one commit changed, by the place of the pattern.
type missedCommit struct {
	revision uint64
	changes  [][]change
}

var errNotKept = errors.New("live: the store does not keep the changes since")

// history reads from the store what was committed between two revisions, in order, as the caller sees it. It reads the
// changes of everything, since only then it is known which of them are one commit.
func (h *hub) history(ctx context.Context, c *conn, patterns []string, from, to uint64) (commits []missedCommit, err error) {
	// Whether the changes are kept is asked with a pattern that costs nothing where they are not.
	for _, pattern := range []string{nowhere, ""} {
		commits, err = h.commits(ctx, c, pattern, patterns, from, to)
		if err != nil {
			return nil, err
		}
	}
	return commits, nil
}

func (h *hub) commits(ctx context.Context, c *conn, all string, patterns []string, from, to uint64) (commits []missedCommit, failure error) {
	size, one := 0, missedCommit{}
	err := h.live.notices(ctx, all, from, func(n storage.Notice) {
		switch {
		case failure != nil || n.Kind == storage.NoticeLive || n.Revision > to && n.Kind != storage.NoticeReset:
			return
		case n.Kind == storage.NoticeReset:
			failure = errNotKept
			return
		}
		for i, pattern := range patterns {
			if !key.Match(pattern, n.Path) {
				continue
			}
			ch := change{n.Object, true}
			if n.Kind == storage.NoticeSet {
				ch = h.seen(c.viewer, n.Object)
			}
			size += sizeOf(ch.object) + 40
			if one.changes == nil {
				one.changes = make([][]change, len(patterns))
			}
			one.changes[i] = append(one.changes[i], ch)
		}
		if size > h.live.opt.Limits.Unsent {
			failure = errTooMuch
			return
		}
		if !n.More && one.changes != nil {
			one.revision = n.Revision
			commits = append(commits, one)
			one = missedCommit{}
		}
	})
	return commits, errors.Join(failure, err)
}

// seen is the change that an identity sees of an object that was stored.
func (h *hub) seen(viewer any, obj *meta.Object) change {
	if seen := h.live.view(viewer, obj); seen != nil {
		return change{object: seen}
	}
	return change{obj, true}
}
