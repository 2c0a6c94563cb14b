package live

import "context"

// Changed returns a channel that is closed once the visible objects of a path or pattern differ from those at some
// instant of the call. A caller that reads them after the call and then waits misses no change. The channel may also
// be closed without a change.
func (l *Live) Changed(ctx context.Context, identity any, pattern string) (<-chan struct{}, error) {
	for {
		t, err := l.hub.topic(ctx, pattern, l.viewerOf(identity))
		if err != nil {
			return nil, err
		}
		if changed := l.hub.changeOf(t); changed != nil {
			return changed, nil
		}
	}
}

// changeOf returns the channel of a topic's next change; nil if it is not live.
func (h *hub) changeOf(t *topic) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !t.live {
		return nil
	}
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	return t.changed
}

// Closed is closed once Close has ended the streams.
func (l *Live) Closed() <-chan struct{} { return l.ctx.Done() }
