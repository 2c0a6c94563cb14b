package live

import (
	"context"
	"time"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// How topics are loaded.

// topic returns the live topic of a pattern for a viewer.
func (h *hub) topic(ctx context.Context, pattern string, viewer any) (*topic, error) {
	if err := h.start(); err != nil {
		return nil, err
	}
	k := topicKey{pattern, viewer}
	h.mu.Lock()
	t := h.topics[k]
	if t == nil {
		t = &topic{topicKey: k, list: isList(pattern), versions: versions{h.live.StoreID()}, stats: &h.live.stats, settled: make(chan struct{}), asking: make(chan struct{}, 1)}
		h.topics[k] = t
		h.index.Add(pattern, t)
		h.loading++
		go h.load(t)
	}
	t.sweeps = 0
	settled := t.settled
	h.mu.Unlock()
	select {
	case <-settled:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return t, t.err
}

// load reads the state of a topic from the store.
func (h *hub) load(t *topic) {
	objects, revision, err := h.read(t)
	h.mu.Lock()
	if h.topics[t.topicKey] != t {
		h.mu.Unlock()
		return
	}
	if err != nil {
		var over []*conn
		for _, m := range t.members {
			over = append(over, m.conn)
		}
		h.discard(t, err)
		h.mu.Unlock()
		for _, c := range over {
			c.end(closeRestart, "the state cannot be read")
		}
		return
	}
	t.fill(objects, revision)
	t.loaded = true
	settled := t.settled
	h.mu.Unlock()
	h.await(settled)
}

// await makes the hub look at a topic until it is live. The timer is needed because a commit that concerns nobody
// wakes nobody.
func (h *hub) await(settled <-chan struct{}) {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		h.mu.Lock()
		f := h.follow
		h.mu.Unlock()
		if f != nil {
			f.interrupt()
		}
		select {
		case <-settled:
			return
		case <-h.live.ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// read reads the objects of a topic at one revision, as its viewer sees them.
func (h *hub) read(t *topic) (objects []*meta.Object, revision uint64, err error) {
	err = h.live.notices(h.live.ctx, t.pattern, storage.SubscribeOptions{}, func(n storage.Notice) {
		switch n.Kind {
		case storage.NoticeReset:
			objects = nil
		case storage.NoticeState:
			if seen := h.live.view(t.viewer, n.Object); seen != nil {
				objects = append(objects, seen)
			}
		case storage.NoticeLive:
			revision = n.Revision
		}
	})
	return objects, revision, err
}

// notices reads the notices of a pattern up to NoticeLive.
func (l *Live) notices(ctx context.Context, pattern string, opt storage.SubscribeOptions, each func(storage.Notice)) error {
	sub, err := l.store.Subscribe(ctx, pattern, opt)
	if err != nil {
		return err
	}
	defer sub.Close()
	for {
		n, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		if n.Object != nil && l.hidden(n.Object) {
			continue
		}
		if each(n); n.Kind == storage.NoticeLive {
			return nil
		}
	}
}

// hidden reports whether an object is excluded from all streams.
func (l *Live) hidden(obj *meta.Object) bool { return l.opt.Hidden != nil && l.opt.Hidden(obj.Path) }
