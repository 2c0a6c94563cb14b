package live

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// longestWait is how long a poll may wait.
const longestWait = 5 * time.Minute

// ServePoll answers a GET with what a path or pattern holds, once that is something else than what the header
// If-None-Match names, and with 304 if it is the same for as long as the client waits. The answer is one object, or an array
// with the newest first. Whether the caller may read it is checked before.
func (l *Live) ServePoll(w http.ResponseWriter, r *http.Request, caller Caller, pattern string, wait time.Duration) {
	defer caller.ended()
	timer := time.NewTimer(min(wait, longestWait))
	defer timer.Stop()
	held, viewer := r.Header.Get("If-None-Match"), l.viewerOf(caller.Identity)
	for {
		t, err := l.hub.topic(r.Context(), pattern, viewer)
		if err == nil {
			err = l.hub.catchUp(r.Context())
		}
		if err != nil {
			l.refuse(w, err)
			return
		}
		state, revision, changed := l.hub.look(t, held, l.opt.Store)
		if state == nil && changed == nil { // it is read anew
			continue
		}
		if changed == nil {
			l.answerPoll(w, t.list, state, revision)
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			l.tag(w, revision)
			w.WriteHeader(http.StatusNotModified)
			return
		case <-caller.Done:
			http.Error(w, "the rights of the caller ended", http.StatusUnauthorized)
			return
		case <-l.ctx.Done():
			l.refuse(w, ErrClosed)
			return
		case <-r.Context().Done():
			return
		}
	}
}

// look returns what a topic holds, or a channel that is closed when that changes, if a client has it. It returns neither for a
// topic that does not live.
func (h *hub) look(t *topic, held, store string) (state *snapshot, revision uint64, changed <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	// The tag of an object is that of its last change, of a list one behind which nothing in it changed.
	revision = h.revision
	if !t.list {
		revision = 0
		if len(t.objects) > 0 {
			revision = t.objects[0].Revision
		}
	}
	if !t.live {
		return nil, 0, nil
	}
	if holds(held, store, func(has uint64) bool {
		return has == revision || t.list && has >= t.last && has <= revision
	}) {
		if t.changed == nil {
			t.changed = make(chan struct{})
		}
		t.sweeps = 0
		return nil, revision, t.changed
	}
	return t.snapshot(), revision, nil
}

// holds reports whether one of the entity tags of a header is one of this store with a revision that is asked for.
func holds(header, store string, has func(uint64) bool) bool {
	for tag := range strings.SplitSeq(header, ",") {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
		id, digits, found := strings.Cut(strings.Trim(tag, `"`), "-")
		revision, err := strconv.ParseUint(digits, 10, 64)
		if found && err == nil && id == store && has(revision) {
			return true
		}
	}
	return false
}

func (l *Live) tag(w http.ResponseWriter, revision uint64) {
	w.Header().Set("Etag", `"`+l.opt.Store+"-"+strconv.FormatUint(revision, 10)+`"`)
	w.Header().Set("Cache-Control", "no-cache")
}

func (l *Live) answerPoll(w http.ResponseWriter, list bool, state *snapshot, revision uint64) {
	l.tag(w, revision)
	if !list && len(state.objects) == 0 {
		http.Error(w, "there is no object at this path", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	body := appendArray(nil, state.objects, appendObject)
	if !list {
		body = appendObject(nil, state.objects[0])
	}
	_, _ = w.Write(body) // a client that is gone is told nothing
}
