package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
)

// A stream of notifications without the changes. A client that shows a window of a long list reads the window again.
// The cost does not depend on the length of the list, and no client falls behind.

const (
	// changesPause is the minimum time between two events of a stream.
	changesPause = 100 * time.Millisecond
	// changesAlive is the interval of keep-alive comments.
	changesAlive = 15 * time.Second
	// changesPatterns is the maximum number of patterns of a stream.
	changesPatterns = 16
	// changesBuffer is how many changes may wait for a stream. Beyond that it gets a reset, which is also one event.
	changesBuffer = 1024
)

// changed is what changed below one pattern since the last event.
type changed struct {
	Pattern string `json:"pattern"`
	Changes int    `json:"changes"`
	Removed int    `json:"removed"`
	// Reset means that there were more changes, which were not counted.
	Reset bool `json:"reset,omitempty"`
}

// tellChanges answers /~/changes.
func (c *call) tellChanges() error {
	if c.r.Method != http.MethodGet {
		return allowed("GET", c.r.Method)
	}
	query := c.query()
	for name := range query {
		if name != "watch" {
			return badParameter(name, "it is unknown, expected watch")
		}
	}
	patterns := query["watch"]
	if len(patterns) == 0 || len(patterns) > changesPatterns {
		return badParameter("watch", "it occurs %d times, expected 1 to %d patterns, such as watch=a/*", len(patterns), changesPatterns)
	}
	for _, pattern := range patterns {
		if err := key.Check(pattern); err != nil {
			return badParameter("watch", "%q: %v", clip(pattern), err)
		}
		if err := c.requireAllowed(Read, pattern); err != nil {
			return err
		}
	}
	if c.s.open.Add(1) > int64(c.s.limits.Streams) {
		c.s.open.Add(-1)
		return problem(TooManyStreams, "the server has %d streams, the limit Streams; try again later", c.s.limits.Streams).
			with("limit", c.s.limits.Streams).header("Retry-After", "10")
	}
	defer c.s.open.Add(-1)
	ctx, stop := context.WithCancel(c.r.Context())
	defer stop()
	f := &changeFeed{call: c, signal: make(chan struct{}, 1), changed: make([]changed, len(patterns))}
	var following sync.WaitGroup
	defer following.Wait()
	defer stop()
	for i, pattern := range patterns {
		f.changed[i].Pattern = pattern
		sub, err := c.s.store.Subscribe(ctx, pattern, storage.SubscribeOptions{ChangesOnly: true, Buffer: changesBuffer})
		if err != nil {
			return err
		}
		following.Go(func() {
			defer stop()
			defer sub.Close()
			f.follow(ctx, sub, i)
		})
	}
	if ending, ok := c.identity.(ender); ok {
		following.Go(func() {
			select {
			case <-ending.Done():
				stop()
			case <-ctx.Done():
			}
		})
	}
	header := c.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-cache, no-transform")
	header.Set("X-Accel-Buffering", "no")
	c.streams = true
	c.w.WriteHeader(http.StatusOK)
	f.tell(ctx)
	return nil
}

// changeFeed collects the changes of the subscriptions of one stream.
type changeFeed struct {
	*call
	signal chan struct{} // there is something to send

	mu       sync.Mutex // guards the fields below
	changed  []changed
	revision uint64
	began    int // number of live subscriptions
}

// follow counts the changes of a subscription.
func (f *changeFeed) follow(ctx context.Context, sub *storage.Subscription, at int) {
	for {
		n, err := sub.Next(ctx)
		if err != nil {
			return
		}
		if n.Object != nil {
			// A change that the client may not see does not count.
			if _, seen := f.view(n.Object); !seen {
				continue
			}
		}
		f.mu.Lock()
		f.revision = max(f.revision, n.Revision)
		one := &f.changed[at]
		switch n.Kind {
		case storage.NoticeSet:
			one.Changes++
		case storage.NoticeDel:
			one.Changes++
			one.Removed++
		case storage.NoticeReset:
			one.Changes++
			one.Reset = true
		case storage.NoticeLive:
			f.began++
		}
		f.mu.Unlock()
		select {
		case f.signal <- struct{}{}:
		default:
		}
	}
}

// take returns the next event, and whether there is one.
func (f *changeFeed) take() (event []byte, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.began < len(f.changed) {
		return nil, false
	}
	some := []changed{}
	for i := range f.changed {
		if one := &f.changed[i]; one.Changes > 0 {
			some = append(some, *one)
			*one = changed{Pattern: one.Pattern}
		}
	}
	event, err := json.Marshal(map[string]any{"revision": f.revision, "changed": some})
	return event, err == nil
}

// tell writes events until the client disconnects, the server closes, or the client's access ends. After the first
// event no change is missed.
func (f *changeFeed) tell(ctx context.Context) {
	alive := time.NewTicker(changesAlive)
	defer alive.Stop()
	for {
		var text string
		select {
		case <-ctx.Done():
			return
		case <-f.s.closed:
			return
		case <-alive.C:
			text = ": alive\n\n"
		case <-f.signal:
			event, ok := f.take()
			if !ok {
				continue
			}
			text = fmt.Sprintf("event: changes\ndata: %s\n\n", event)
		}
		f.w.deadline(f.s.limits.AnswerTime)
		if _, err := f.w.Write([]byte(text)); err != nil {
			return
		}
		if err := http.NewResponseController(f.w).Flush(); err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-f.s.closed:
			return
		case <-time.After(changesPause):
		}
	}
}
