package live

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/oolith-db/oolith/internal/globindex"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// The hub follows the store with one subscription, whatever the number of connections and patterns. So it sees whole commits
// in their order, and a connection that follows several patterns gets a commit as one message.
//
// A topic gets its first state from the store, at a revision L, while the hub may be at an earlier one. It is used
// from when the hub has come to L on: all topics are at one revision, the hub's, whenever mu is free.

// retry is how long the hub waits between attempts to follow a store.
const retry = 200 * time.Millisecond

type hub struct {
	live *Live

	starting sync.Mutex // held while the hub begins to follow; taken before mu

	mu       sync.Mutex // guards the fields below, and the topics
	index    globindex.Index[*topic]
	topics   map[topicKey]*topic
	loading  int // topics that are not live
	revision uint64
	barriers []barrier
	follow   *follower // nil while nothing is followed
	closed   bool
	touched  []*topic // scratch memory of the hub's goroutine, as is the next
	several  []*conn
}

// follower is one subscription of the store, and the goroutine that reads it.
type follower struct {
	sub    *storage.Subscription
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	poke context.CancelFunc // interrupts a wait for the next change
}

func newHub(l *Live) *hub { return &hub{live: l, topics: make(map[topicKey]*topic)} }

func (h *hub) size() (patterns, subscriptions int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.follow != nil {
		subscriptions = 1
	}
	return len(h.topics), subscriptions
}

// start makes the hub follow the store, if it does not yet.
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

// nowhere is a path that is not there, mostly: what is read of it is the present revision.
const nowhere = "-"

// present returns the present revision. What was committed up to it is in the queues of all subscriptions by then.
func (h *hub) present(ctx context.Context) (revision uint64, err error) {
	err = h.live.notices(ctx, nowhere, 0, func(n storage.Notice) {
		if n.Kind == storage.NoticeLive {
			revision = n.Revision
		}
	})
	return revision, err
}

// subscribe follows everything from the present revision on. The state of everything is neither needed nor read.
func (h *hub) subscribe(ctx context.Context) (*storage.Subscription, error) {
	revision, err := h.present(ctx)
	if err != nil {
		return nil, err
	}
	return h.live.store.Subscribe(ctx, "", storage.SubscribeOptions{From: revision, Lag: storage.LagError})
}

// barrier waits for the hub to come to a revision.
type barrier struct {
	revision uint64
	passed   chan struct{}
}

// catchUp waits until the hub has all that is committed now: who wrote and then subscribes finds the write in the state.
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

// passLocked lets those go on that wait for a revision that the hub has come to.
func (h *hub) passLocked(revision uint64) {
	h.barriers = slices.DeleteFunc(h.barriers, func(b barrier) bool {
		if b.revision > revision {
			return false
		}
		close(b.passed)
		return true
	})
}

// run hands on what the store commits.
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
			c.changes = append(c.changes, change{n.Object, n.Kind == storage.NoticeDel})
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

// newWait is a context for the waits of Next, until somebody pokes.
func (f *follower) newWait(ctx context.Context) context.Context {
	f.mu.Lock()
	defer f.mu.Unlock()
	wait, cancel := context.WithCancel(ctx)
	f.poke = cancel
	return wait
}

// interrupt makes the hub's goroutine look at the topics that wait for it.
func (f *follower) interrupt() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.poke != nil {
		f.poke()
	}
}

// settle lets those topics live that waited for the hub, in so far as it has come to a revision. It runs on the hub's
// goroutine, between commits: what the subscription told is applied then. A topic's state was read in an instant of the
// store that handed on all changes before it. So the hub has come to it also when nothing waits.
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

// begin lets a topic live. It needs mu.
func (h *hub) begin(t *topic) {
	for _, c := range t.early {
		if c.revision > t.last {
			t.apply(c)
		}
	}
	t.early, t.live = nil, true
	t.notify()
	h.loading--
	close(t.settled)
	for _, m := range t.members { // those of a topic that was read anew
		m.conn.fallBehind()
	}
}

// commit brings a commit into the topics that it concerns, and gives each connection its message.
func (h *hub) commit(c commit) {
	c.changes = latest(c.changes)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.touched = h.touched[:0]
	for _, ch := range c.changes {
		if h.live.hidden(ch.object) {
			continue
		}
		from := len(h.touched)
		h.touched = h.index.Append(h.touched, ch.object.Path)
		kept := h.touched[:from]
		for _, t := range h.touched[from:] {
			if len(t.pending) == 0 {
				kept = append(kept, t)
			}
			t.pending = append(t.pending, ch)
		}
		h.touched = kept
	}
	if h.live.opt.View != nil {
		h.viewLocked()
	}
	h.revision = max(h.revision, c.revision)
	for _, t := range h.touched {
		h.change(t, commit{c.revision, t.pending})
		clear(t.pending)
		t.pending = t.pending[:0]
	}
	h.deliverSeveral(c.revision)
	clear(h.touched)
}

// latest leaves of the changes of each key the last one: a list with a limit may remove what was just stored.
func latest(changes []change) []change {
	if len(changes) < 2 {
		return changes
	}
	last := make(map[string]int, len(changes))
	for i, ch := range changes {
		last[ch.object.Path] = i
	}
	kept := changes[:0:0]
	for i, ch := range changes {
		if last[ch.object.Path] == i {
			kept = append(kept, ch)
		}
	}
	return kept
}

// viewLocked replaces what touched topics have pending by what their identities see of it. It lets go of mu meanwhile: topics
// that come then read a state in which the commit is.
func (h *hub) viewLocked() {
	h.mu.Unlock()
	defer h.mu.Lock()
	for _, t := range h.touched {
		for i, ch := range t.pending {
			if ch.removed {
				continue
			}
			if seen := h.live.view(t.viewer, ch.object); seen != nil {
				t.pending[i].object = seen
			} else {
				t.pending[i].removed = true
			}
		}
	}
}

// view is what an identity sees of an object, nil for nothing.
func (l *Live) view(viewer any, obj *meta.Object) (seen *meta.Object) {
	if l.opt.View == nil {
		return obj
	}
	if v, ok := viewer.(*lone); ok {
		viewer = v.identity
	}
	given := *obj
	err := guard("View", func() {
		if result, ok := l.opt.View(viewer, &given); ok && result != nil {
			seen = result
		}
	})
	if err != nil {
		l.opt.Logger.Error("an object is shown to nobody", "path", obj.Path, "error", err)
		return nil
	}
	if seen == nil {
		return nil
	}
	copied := *seen
	copied.Path, copied.Index, copied.Created, copied.Revision = obj.Path, obj.Index, obj.Created, obj.Revision
	return &copied
}

// lone is the viewer of one connection whose identity cannot be compared.
type lone struct{ identity any }

// viewerOf is under what an identity's topics are kept.
func (l *Live) viewerOf(identity any) any {
	switch {
	case l.opt.View == nil || identity == nil:
		return nil
	case reflect.ValueOf(identity).Comparable():
		return identity
	}
	return &lone{identity}
}

// change brings a commit into a topic, and hands on what it changed. It needs mu.
func (h *hub) change(t *topic, c commit) {
	if !t.live {
		c.changes = append([]change(nil), c.changes...)
		t.early = append(t.early, c)
		return
	}
	if c.revision <= t.last {
		return
	}
	ops := t.apply(c)
	if len(ops) == 0 || len(t.members) == 0 {
		return
	}
	d := newDelta(t, c.revision, ops)
	for _, m := range t.members {
		if len(m.conn.members) == 1 {
			m.conn.push(d.frameFor(h.live, m))
			continue
		}
		if len(m.conn.parts) == 0 {
			h.several = append(h.several, m.conn)
		}
		m.conn.parts = append(m.conn.parts, part{m, d.part})
	}
}

// deliverSeveral gives those that follow several patterns one message for the commit. It needs mu.
func (h *hub) deliverSeveral(revision uint64) {
	for i, c := range h.several {
		c.push(h.live.message(c.protocol, "patch", revision, "", c.parts))
		c.parts, h.several[i] = nil, nil
	}
	h.several = h.several[:0]
}

// lost ends a follower, and follows anew if anybody needs it: the states of all topics are read again. After a close of the
// store all streams end.
func (h *hub) lost(f *follower, cause error) {
	h.mu.Lock()
	if h.follow != f { // it was stopped, or there is a new one
		h.mu.Unlock()
		return
	}
	h.follow = nil
	h.passLocked(math.MaxUint64) // they find their topics read anew, or gone
	var over []*conn
	again := len(h.topics) > 0 && !h.closed
	stopped := !errors.Is(cause, storage.ErrLagged)
	for _, t := range h.topics {
		if stopped {
			for _, m := range t.members {
				over = append(over, m.conn)
			}
			h.discard(t, fmt.Errorf("the hub follows the store no more: %w", cause))
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
	h.live.opt.Logger.Warn("streams begin anew", "cause", cause)
	if stopped {
		for _, c := range over {
			c.end(closeRestart, "the store is closed")
		}
		return
	}
	h.live.stats.resets.Add(1)
	go h.restart()
}

// restart follows the store again, and reads all topics anew.
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

// discard takes a topic out for good. It needs mu.
func (h *hub) discard(t *topic, err error) {
	if h.topics[t.topicKey] != t {
		return
	}
	delete(h.topics, t.topicKey)
	h.index.Remove(t.pattern, t)
	if !t.live {
		h.loading--
		t.err = err
		close(t.settled)
	}
	t.live = false
	t.notify()
}

// topic returns the topic of a pattern, as a viewer sees it, once it lives.
func (h *hub) topic(ctx context.Context, pattern string, viewer any) (*topic, error) {
	if err := h.start(); err != nil {
		return nil, err
	}
	k := topicKey{pattern, viewer}
	h.mu.Lock()
	t := h.topics[k]
	if t == nil {
		t = &topic{topicKey: k, list: isList(pattern), versions: versions{h.live.opt.Store}, stats: &h.live.stats, settled: make(chan struct{})}
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

// await makes the hub look at a topic until it lives. A commit that nobody is told of wakes nobody: hence the timer.
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
	err = h.live.notices(h.live.ctx, t.pattern, 0, func(n storage.Notice) {
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

// notices reads what the store tells about a pattern, from a revision on or from the state, up to NoticeLive.
func (l *Live) notices(ctx context.Context, pattern string, from uint64, each func(storage.Notice)) error {
	sub, err := l.store.Subscribe(ctx, pattern, storage.SubscribeOptions{From: from})
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

// hidden reports whether an object is in no stream.
func (l *Live) hidden(obj *meta.Object) bool { return l.opt.Hidden != nil && l.opt.Hidden(obj.Path) }

// sweep forgets topics that nobody followed for some sweeps, and stops to follow the store when there are none.
func (h *hub) sweep(most int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.topics {
		if len(t.members) > 0 || !t.live {
			continue
		}
		if t.sweeps++; t.sweeps > most {
			h.discard(t, nil)
		}
	}
	if len(h.topics) == 0 && h.follow != nil {
		h.follow.cancel()
		h.follow = nil
		h.passLocked(math.MaxUint64)
	}
}

// close ends the hub. The connections are gone.
func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	f := h.follow
	h.mu.Unlock()
	if f != nil {
		f.cancel()
		<-f.done
	}
}
