package live

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// How the hub follows the store, reaches a revision, and starts over.

// retry is the pause of the hub between attempts to follow a store.
const retry = 200 * time.Millisecond

// follower is one subscription of the store and the goroutine that reads it.
type follower struct {
	sub    *storage.Subscription
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	poke context.CancelFunc // interrupts a wait for the next change
}

// start makes the hub follow the store, unless it does already.
func (h *hub) start() error {
	h.starting.Lock()
	defer h.starting.Unlock()
	h.mu.Lock()
	running, closed := h.follow != nil, h.closed
	h.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if running {
		return nil
	}
	ctx, cancel := context.WithCancel(h.live.ctx)
	sub, err := h.subscribe(ctx)
	if err != nil {
		cancel()
		return err
	}
	f := &follower{sub: sub, cancel: cancel, done: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		cancel()
		return ErrClosed
	}
	h.follow, h.revision = f, 0
	go h.run(ctx, f)
	return nil
}

// nowhere is a path that usually does not exist: reading it yields the present revision.
const nowhere = "-"

// present returns the present revision. Everything committed up to it is then in the queues of all subscriptions.
func (h *hub) present(ctx context.Context) (revision uint64, err error) {
	err = h.live.notices(ctx, nowhere, storage.SubscribeOptions{}, func(n storage.Notice) {
		if n.Kind == storage.NoticeLive {
			revision = n.Revision
		}
	})
	return revision, err
}

// subscribe follows everything from the present revision. The whole state is not needed and not read.
func (h *hub) subscribe(ctx context.Context) (*storage.Subscription, error) {
	revision, err := h.present(ctx)
	if err != nil {
		return nil, err
	}
	return h.live.store.Subscribe(ctx, "", storage.SubscribeOptions{From: revision, Lag: storage.LagError})
}

// barrier waits for the hub to reach a revision.
type barrier struct {
	revision uint64
	passed   chan struct{}
}

// catchUp waits until the hub has everything committed so far, so a client that writes and then subscribes finds its
// write in the state.
func (h *hub) catchUp(ctx context.Context) error {
	committed := h.live.store.Revision()
	h.mu.Lock()
	reached := h.revision >= committed
	h.mu.Unlock()
	if reached {
		return nil
	}
	revision, err := h.present(ctx)
	if err != nil {
		return err
	}
	b := barrier{revision, make(chan struct{})}
	h.mu.Lock()
	h.barriers = append(h.barriers, b)
	h.mu.Unlock()
	h.await(b.passed)
	return nil
}

// passLocked releases those that wait for a revision which the hub has reached.
func (h *hub) passLocked(revision uint64) {
	h.barriers = slices.DeleteFunc(h.barriers, func(b barrier) bool {
		if b.revision > revision {
			return false
		}
		close(b.passed)
		return true
	})
}

// run distributes the commits of the store.
func (h *hub) run(ctx context.Context, f *follower) {
	defer close(f.done)
	defer f.cancel()
	defer f.sub.Close()
	var c commit
	began := false
	wait := f.newWait(ctx)
	for {
		if began && len(c.changes) == 0 {
			h.settle(f, 0)
		}
		n, err := f.sub.Next(wait)
		switch {
		case err != nil && ctx.Err() == nil && errors.Is(err, context.Canceled):
			wait = f.newWait(ctx)
			continue
		case err != nil:
			h.lost(f, err)
			return
		}
		switch n.Kind {
		case storage.NoticeLive:
			began = true
			h.settle(f, n.Revision)
		case storage.NoticeReset, storage.NoticeState:
			if began {
				h.lost(f, storage.ErrLagged)
				return
			}
		case storage.NoticeSet, storage.NoticeDel:
			ch := change{object: n.Object}
			if n.Kind == storage.NoticeDel {
				ch = change{n.Object, true, n.Reason, n.Revision}
			}
			c.changes = append(c.changes, ch)
			if n.More {
				continue
			}
			c.revision = n.Revision
			h.commit(c)
			clear(c.changes)
			c.changes = c.changes[:0]
		}
	}
}

// newWait returns a context for the waits of Next, which poke ends.
func (f *follower) newWait(ctx context.Context) context.Context {
	f.mu.Lock()
	defer f.mu.Unlock()
	wait, cancel := context.WithCancel(ctx)
	f.poke = cancel
	return wait
}

// interrupt makes the hub's goroutine look at the waiting topics.
func (f *follower) interrupt() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.poke != nil {
		f.poke()
	}
}

// settle makes waiting topics live if the hub has reached their revision. It runs on the hub's goroutine, between
// commits, when everything delivered is applied. A topic's state was read at an instant of the store that had handed
// on all earlier changes, so the hub has also reached it when nothing is waiting.
func (h *hub) settle(f *follower, revision uint64) {
	h.mu.Lock()
	latest, none := uint64(0), h.loading == 0 && len(h.barriers) == 0
	if !none {
		for _, b := range h.barriers {
			latest = max(latest, b.revision)
		}
		for _, t := range h.topics {
			if !t.live && t.loaded {
				latest = max(latest, t.last)
			}
		}
	}
	h.mu.Unlock()
	if none && revision == 0 {
		return
	}
	if f.sub.Lag() == 0 {
		revision = max(revision, latest)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.revision = max(h.revision, revision)
	h.passLocked(h.revision)
	for _, t := range h.topics {
		if !t.live && t.loaded && t.last <= h.revision {
			h.begin(t)
		}
	}
}

// lost ends a follower, and follows again if anybody needs it: the states of all topics are reloaded. After the store
// is closed, all streams end.
func (h *hub) lost(f *follower, cause error) {
	h.mu.Lock()
	if h.follow != f { // it was stopped or replaced
		h.mu.Unlock()
		return
	}
	h.follow = nil
	h.passLocked(math.MaxUint64) // they find their topics reloaded or gone
	var over []*conn
	again := len(h.topics) > 0 && !h.closed
	stopped := !errors.Is(cause, storage.ErrLagged)
	for _, t := range h.topics {
		if stopped {
			for _, m := range t.members {
				over = append(over, m.conn)
			}
			h.discard(t, fmt.Errorf("the hub no longer follows the store: %w", cause))
			continue
		}
		if t.live {
			t.settled = make(chan struct{})
			h.loading++
		}
		t.live, t.loaded, t.early = false, false, nil
	}
	h.mu.Unlock()
	if !again {
		return
	}
	h.live.opt.Logger.Warn("the streams start over", "cause", cause)
	if stopped {
		for _, c := range over {
			c.end(closeRestart, "the store is closed")
		}
		return
	}
	h.live.stats.resets.Add(1)
	go h.restart()
}

// restart follows the store again and reloads all topics.
func (h *hub) restart() {
	for h.live.ctx.Err() == nil {
		err := h.start()
		if err == nil {
			break
		}
		if errors.Is(err, storage.ErrNotActive) {
			h.lost(nil, err)
			return
		}
		select {
		case <-time.After(retry):
		case <-h.live.ctx.Done():
			return
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.topics {
		if !t.live && !t.loaded {
			go h.load(t)
		}
	}
}
