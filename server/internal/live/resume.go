package live

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// How a client resumes from a token.

// Why a client gets a fresh state: the reason of a reset.
const (
	reasonMalformed = "malformed token"
	reasonForeign   = "token of another store"
	reasonFuture    = "token of the future"
	reasonHistory   = "the changes since the token are not kept"
	reasonBehind    = "the connection fell behind"
)

// heardOf waits until the store has reached a token that another node of the same shared engine issued. If that
// cannot be determined, the token counts as a future one, and the client gets a fresh state.
func (h *hub) heardOf(ctx context.Context, token string) {
	t, err := parseToken(token)
	if err == nil && t.store == h.live.StoreID() && t.revision > h.live.store.Revision() {
		_ = h.live.store.Barrier(ctx)
	}
}

// resumable returns the revision of a token, or 0 and the reason if there is none to resume from.
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
	case t.store != h.live.StoreID():
		return 0, reasonForeign
	case t.revision > h.revision:
		return 0, reasonFuture
	case t.revision == 0: // of an empty store
		return 0, reasonHistory
	}
	return t.revision, ""
}

var (
	errTooMuch = errors.New("live: too many changes were missed to deliver them commit by commit")
	errNotKept = errors.New("live: the store no longer has the changes since")
)

// missed returns the first messages of a resuming client: each commit that it missed, up to the revision at which it
// was enrolled. If these are not available or too many, it returns the result of fresh.
func (h *hub) missed(ctx context.Context, c *conn, patterns []string, members []*member, from, at uint64) []*frame {
	commits, err := h.history(ctx, patterns, from, at)
	if err != nil {
		return h.fresh(ctx, c, members, from, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !allLive(members) {
		return nil // it starts over once they are live
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

// allLive reports whether all topics are live. It requires mu.
func allLive(members []*member) bool {
	for _, m := range members {
		if m.topic == nil || !m.topic.live {
			return false
		}
	}
	return true
}

// fresh returns the first messages of a client that cannot resume commit by commit: what changed and what exists
// (oolith.v1), or a state.
func (h *hub) fresh(ctx context.Context, c *conn, members []*member, from uint64, why error) []*frame {
	var kept []unchanged
	if c.protocol == socket {
		kept, why = h.unchanged(ctx, members, from, why)
	}
	if why != nil && !errors.Is(why, errTooMuch) && !errors.Is(why, errNotKept) {
		h.live.opt.Logger.Warn("a client cannot resume", "error", why)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !allLive(members) {
		return nil // it starts over once they are live
	}
	if len(c.members) > len(members) {
		// A message for one subscription must not claim that all of them are at its revision.
		c.fallBehind()
		return nil
	}
	// The held changes are included in this state.
	c.mu.Lock()
	if !c.ending {
		c.emptyLocked()
	}
	c.mu.Unlock()
	if kept == nil {
		return h.stateFrames(c, members, reasonHistory)
	}
	parts := make([]part, len(members))
	for i, m := range members {
		parts[i] = part{m, m.topic.whatExists(kept[i])}
	}
	since := fmt.Sprintf(`,"since":"%s"`, token{h.live.StoreID(), from})
	return []*frame{h.live.message(c.protocol, "catchup", h.revision, since, parts), h.bounds(c, "live", h.revision, members, "")}
}

// unchanged is the part of a topic that has not changed since a revision.
type unchanged struct {
	since uint64
	// revisions are those of the unchanged objects by path; nil if all objects up to since are unchanged.
	revisions map[string]uint64
}

// has reports whether an object of the topic's present state is unchanged.
func (u unchanged) has(obj *meta.Object) bool {
	if u.revisions == nil {
		return obj.Revision <= u.since
	}
	revision, there := u.revisions[obj.Path]
	return there && revision == obj.Revision
}

// unchanged returns the unchanged part of each topic since a revision, or nil and the reason if that is unknown.
func (h *hub) unchanged(ctx context.Context, members []*member, since uint64, why error) ([]unchanged, error) {
	kept := make([]unchanged, len(members))
	for i, m := range members {
		kept[i].since = since
		switch {
		case errors.Is(why, errTooMuch): // the revision is of this run of the store
		case errors.Is(why, errNotKept):
			var err error
			if kept[i], err = h.unchangedOf(ctx, m.topic, since); err != nil {
				return nil, err
			}
		default:
			return nil, why
		}
	}
	return kept, nil
}

// unchangedOf asks the store once for all clients that reconnect with the same token, which are many after a restart.
// The answer stays true for objects that still have their revision.
func (h *hub) unchangedOf(ctx context.Context, t *topic, since uint64) (unchanged, error) {
	select {
	case t.asking <- struct{}{}:
		defer func() { <-t.asking }()
	case <-ctx.Done():
		return unchanged{}, ctx.Err()
	}
	h.mu.Lock()
	last := t.unchanged
	h.mu.Unlock()
	if last != nil && last.since == since {
		return *last, nil
	}
	told := unchanged{since: since}
	var failure error
	err := h.live.notices(ctx, t.pattern, storage.SubscribeOptions{From: since, CatchUp: true}, func(n storage.Notice) {
		switch n.Kind {
		case storage.NoticeReset:
			failure = errNotKept
		case storage.NoticeCatchUp:
			told.revisions = make(map[string]uint64)
		case storage.NoticeUnchanged:
			told.revisions[strings.Clone(n.Path)] = n.Revision
		}
	})
	if err = errors.Join(failure, err); err != nil {
		return unchanged{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	t.unchanged = &told
	return told, nil
}

// whatExists is the message for a client with an older state: what has changed since, and what exists. It requires
// mu.
func (t *topic) whatExists(kept unchanged) *frame {
	s := t.snapshot()
	if f := s.caughtUp[kept.since]; f != nil {
		return f
	}
	f := newFrame(t.stats, len(s.objects)*30, func() [][]byte {
		var changed []*meta.Object
		for _, obj := range s.objects {
			if !kept.has(obj) {
				changed = append(changed, obj)
			}
		}
		body := append([]byte(`"pattern":`), appendText(nil, t.pattern)...)
		body = appendArray(append(body, `,"objects":`...), changed, appendObject)
		return [][]byte{appendArray(append(body, `,"paths":`...), s.objects, func(dst []byte, obj *meta.Object) []byte {
			return appendText(dst, obj.Path)
		})}
	})
	if len(s.caughtUp) < mostCaughtUp {
		if s.caughtUp == nil {
			s.caughtUp = make(map[uint64]*frame)
		}
		s.caughtUp[kept.since] = f
	}
	return f
}

// mostCaughtUp is how many messages of whatExists a state keeps. Clients that reconnect after a restart mostly have
// the same token.
const mostCaughtUp = 4

// missedCommit contains the changes of one commit, by index of the pattern.
type missedCommit struct {
	revision uint64
	changes  [][]change
}

// history reads the commits between two revisions from the store, in order. It reads the changes of everything,
// because only then it is known which of them belong to the same commit.
func (h *hub) history(ctx context.Context, patterns []string, from, to uint64) (commits []missedCommit, err error) {
	// First ask whether the changes are available, with a pattern that costs nothing if they are not.
	for _, pattern := range []string{nowhere, ""} {
		commits, err = h.commits(ctx, pattern, patterns, from, to)
		if err != nil {
			return nil, err
		}
		if h.live.opt.View != nil {
			// A change that the caller may not see would reveal its object, and it is unknown whether the caller saw
			// it before.
			return nil, errTooMuch
		}
	}
	return commits, nil
}

func (h *hub) commits(ctx context.Context, all string, patterns []string, from, to uint64) (commits []missedCommit, failure error) {
	size, one := 0, missedCommit{}
	err := h.live.notices(ctx, all, storage.SubscribeOptions{From: from}, func(n storage.Notice) {
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
			ch := change{n.Object, true, n.Reason, n.Revision}
			if n.Kind == storage.NoticeSet {
				ch = change{object: n.Object}
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
