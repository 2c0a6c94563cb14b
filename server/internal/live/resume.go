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

// Why a client gets a fresh state: what a reset says.
const (
	reasonMalformed = "malformed token"
	reasonForeign   = "token of another store"
	reasonFuture    = "token of the future"
	reasonHistory   = "the changes since the token are not kept"
	reasonBehind    = "the connection fell behind"
)

// heardOf waits until the store has what a token names that another node over the same shared engine gave out. Where that cannot
// be known now, the token is one of the future, and the client gets a fresh state.
func (h *hub) heardOf(ctx context.Context, token string) {
	t, err := parseToken(token)
	if err == nil && t.store == h.live.StoreID() && t.revision > h.live.store.Revision() {
		_ = h.live.store.Barrier(ctx)
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

// missed is what a client that resumes gets first: each commit that it missed, up to the revision at which it was enrolled. If
// these are not kept, or are too much, it is what fresh returns.
func (h *hub) missed(ctx context.Context, c *conn, patterns []string, members []*member, from, at uint64) []*frame {
	commits, err := h.history(ctx, patterns, from, at)
	if err != nil {
		return h.fresh(ctx, c, members, from, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !allLive(members) {
		return nil // it is told anew when they live
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

// allLive reports whether all topics live. It needs mu.
func allLive(members []*member) bool {
	for _, m := range members {
		if m.topic == nil || !m.topic.live {
			return false
		}
	}
	return true
}

// fresh is what a client gets that cannot resume commit by commit, for a reason: what changed and what exists
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
		return nil // it is told anew when they live
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

// unchanged is what of a topic did not change since a revision.
type unchanged struct {
	since uint64
	// revisions are those of the objects that did not, by path; nil for all up to since.
	revisions map[string]uint64
}

// has reports whether an object of the topic's present state is one of them.
func (u unchanged) has(obj *meta.Object) bool {
	if u.revisions == nil {
		return obj.Revision <= u.since
	}
	revision, there := u.revisions[obj.Path]
	return there && revision == obj.Revision
}

// unchanged returns what of each topic did not change since a revision; nil, with the reason, if that cannot be told.
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

// unchangedOf asks the store, once for all that come back with one token at a time: after a restart these are many. What
// it tells stays true, of those objects that still have their revision.
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

// whatExists is what a client that knows an older state needs: what changed since, and what there is. It needs mu.
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

// mostCaughtUp is how many messages of whatExists a state keeps: those that come back after a restart mostly have one token.
const mostCaughtUp = 4

// missedCommit is what one commit changed, by the place of the pattern.
type missedCommit struct {
	revision uint64
	changes  [][]change
}

// history reads from the store what was committed between two revisions, in order. It reads the
// changes of everything, since only then it is known which of them are one commit.
func (h *hub) history(ctx context.Context, patterns []string, from, to uint64) (commits []missedCommit, err error) {
	// Whether the changes are kept is asked with a pattern that costs nothing where they are not.
	for _, pattern := range []string{nowhere, ""} {
		commits, err = h.commits(ctx, pattern, patterns, from, to)
		if err != nil {
			return nil, err
		}
		if h.live.opt.View != nil {
			// A change of what the caller may not see would name it: nobody knows any more whether the caller saw it before.
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
