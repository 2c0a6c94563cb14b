package storage

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// Watch calls callback with every later event, in commit order, one at a time, in the watch's own goroutine. Each watch
// receives every change, however many watches there are.
//
// A callback may take long and may use the store. It never blocks a writer. For a callback that lags more than 16,384
// events behind, only the newest event of each key is kept until it has caught up. Keys that were created and deleted
// in the meantime are dropped. Stats reports this. A panic of the callback is logged, and the watch continues with the
// next event.
//
// stop ends the watch. It does not wait for a running callback, and may be called any number of times and from the
// callback. Close also ends the watch, after delivering committed changes for a limited time. On a store that is not
// active, Watch does nothing.
func (l *Layered) Watch(callback EventCallback) (stop func()) {
	r := l.run.Load()
	if r == nil || callback == nil {
		return func() {}
	}
	return r.feed.watch(callback)
}

// watch is a consumer of all events: a queue, and a goroutine that runs the callback.
type watch struct {
	feed     *feed
	callback EventCallback
	signal   chan struct{} // 1 token: look at the queue again
	quit     chan struct{} // closed by stop
	done     chan struct{} // closed when run has ended
	returned atomic.Uint64 // completed calls of callback
	taken    atomic.Int64  // events that run has taken from the queue but not started

	mu      sync.Mutex // guards the fields below; never held in the callback
	queue   backlog
	idle    bool        // run found nothing and needs a signal
	stopped atomic.Bool // set with mu held
}

// watch adds a consumer that receives every later event.
func (f *feed) watch(callback EventCallback) (stop func()) {
	w := &watch{
		feed:     f,
		callback: callback,
		signal:   make(chan struct{}, 1),
		quit:     make(chan struct{}),
		done:     make(chan struct{}),
		queue:    backlog{kept: watchKept},
	}
	if f.join(w) {
		go w.run()
	}
	return w.giveUp
}

// watchKept is how many slots a watch keeps. There are few watches, and each receives everything, so thousands of
// events may wait until its goroutine is scheduled.
const watchKept = 4096

func (w *watch) consumes() string { return "" }

func (w *watch) push(group []*change) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped.Load() {
		return false
	}
	for i := range group {
		w.queue.add(group[i])
	}
	if w.queue.newest != nil {
		w.feed.lagged.Store(true)
	}
	if w.idle && w.queue.live > 0 {
		w.idle = false
		select {
		case w.signal <- struct{}{}:
		default:
		}
	}
	return true
}

// run delivers until stop, or until there are no more commits and everything is delivered.
func (w *watch) run() {
	defer close(w.done)
	defer w.end()
	var some [watchTake]Event
	for {
		// Check before take, so that take sees everything committed before the end.
		ended := isClosed(w.feed.ended)
		n := w.take(&some)
		for i := 0; i < n && !w.stopped.Load(); i++ {
			event := some[i]
			some[i] = Event{}
			w.taken.Add(-1)
			w.call(event)
		}
		if n > 0 {
			continue
		}
		if ended {
			return
		}
		select {
		case <-w.signal:
		case <-w.feed.ended:
		case <-w.quit:
			return
		}
	}
}

// watchTake is how many events a watch takes from its queue at once. It is small, so that a stuck callback keeps few
// events from being superseded, and large enough that the watch rarely contends with the writer.
const watchTake = 16

// take takes the next events and returns their number; 0 if there are none or the watch is stopped.
func (w *watch) take(some *[watchTake]Event) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped.Load() {
		return 0
	}
	for n < len(some) {
		c, ok := w.queue.first()
		if !ok {
			break
		}
		some[n] = c.Event
		w.queue.pop()
		n++
	}
	w.taken.Store(int64(n))
	w.idle = n == 0
	return n
}

// call runs the callback. A panic in it loses that event for this watch only.
func (w *watch) call(event Event) {
	defer func() {
		w.returned.Add(1)
		if value := recover(); value != nil {
			w.feed.logger.Error("oolith: a watcher panicked; its watch goes on",
				slog.Any("panic", value), slog.String("stack", string(debug.Stack())))
		}
	}()
	w.callback(event)
}

func (w *watch) lag() (events int, coalesced uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queue.live + int(w.taken.Load()), w.queue.coalesced
}

func (w *watch) progress() uint64 { return w.returned.Load() }

// giveUp ends the watch. The callback may be running, or may run one last time.
func (w *watch) giveUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped.Load() {
		w.stopped.Store(true)
		w.taken.Store(0)
		close(w.quit)
		// The caller may keep stop forever, and a callback may never return. Neither may keep the waiting events in
		// memory.
		w.queue = backlog{coalesced: w.queue.coalesced}
	}
}

// end releases everything that the watch holds.
func (w *watch) end() {
	w.giveUp()
	w.feed.leave(w)
	w.feed, w.callback = nil, nil // a push, which needs the feed, finds the watch stopped
}

// WatchContext is Watch that ends with a context instead of a function. After the end of the context, the callback may
// run for an event in progress, but for no later one. On a store that is not active it returns ErrNotActive.
func (l *Layered) WatchContext(ctx context.Context, callback EventCallback) error {
	if err := checkContext(ctx); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	r, err := l.active()
	if err == nil && callback == nil {
		err = fmt.Errorf("%w, the callback is nil", ErrInvalidOptions)
	}
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	context.AfterFunc(ctx, r.feed.watch(callback))
	return nil
}

// WatchSharded returns the store's event channels. There is one set from Start to Close, with Options.Workers shards.
// Events are sent after the first call. Close closes the channels. On a store that is not active the channels are
// closed and empty.
func (l *Layered) WatchSharded() *ShardedChan {
	r := l.run.Load()
	if r == nil {
		closed := NewShardedChan(l.options.Workers)
		closed.Close()
		return closed
	}
	r.shardedOnce.Do(func() { r.sharded.Store(NewShardedChan(r.options.Workers)) })
	return r.sharded.Load()
}

// WatchWithCallback calls callback with each event of a store until the store is closed. It returns at once. On a
// *Layered, or an Adapter of one, it is Watch: one goroutine, one order, and every change for every caller. On any
// other Database a goroutine reads each channel of WatchSharded. Then callback runs concurrently for keys of different
// shards, and callers share the events.
func WatchWithCallback(dataStore Database, callback func(Event)) {
	if dataStore == nil || callback == nil {
		return
	}
	if store, ok := underlying(dataStore).(interface {
		Watch(EventCallback) func()
	}); ok {
		store.Watch(callback)
		return
	}
	receive(dataStore.WatchSharded(), callback)
}

// WatchStorageNoop receives and drops all events of a store's WatchSharded until the store is closed. It returns at
// once. A store of this package never needs it, because nothing waits for a consumer.
func WatchStorageNoop(dataStore Database) {
	if dataStore != nil {
		receive(dataStore.WatchSharded(), func(Event) {})
	}
}

// receive starts a goroutine for each shard, which ends when the shard is closed.
func receive(channels *ShardedChan, callback func(Event)) {
	if channels == nil {
		return
	}
	for i := range channels.Count() {
		go func() {
			for event := range channels.Shard(i) {
				callback(event)
			}
		}()
	}
}

// underlying unwraps the adapters of a store.
func underlying(db Database) Database {
	for {
		wrapper, ok := db.(interface{ Underlying() Database })
		if !ok {
			return db
		}
		db = wrapper.Underlying()
	}
}
