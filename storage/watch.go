package storage

import (
	"context"
	"fmt"
)

// Watch calls callback with every event from now on, in the one order in which the
// changes were committed, on a goroutine of the watch, one event at a time. Each watch
// sees every change, however many there are.
//
// A callback may take its time and may use the store: it never blocks a writer. For one
// that lags more than 16,384 events behind, only the newest event of each key is kept until it has caught
// up, and none of a key that was created and removed meanwhile; Stats tells of it. A panic in it is logged, and the watch goes on with the next event.
//
// The watch ends by stop, which does not wait for a callback that runs, may be called any
// number of times and from the callback itself; and with Close, which delivers what was committed
// first, within a bounded time. On a store that is not active Watch does nothing.
func (l *Layered) Watch(callback EventCallback) (stop func()) {
	r := l.run.Load()
	if r == nil || callback == nil {
		return func() {}
	}
	return r.log.watch(callback)
}

// WatchContext is Watch that a context ends, in place of a function: it may be called after the context's end for an
// event that is under way, and for no later one. On a store that is not active it is ErrNotActive.
func (l *Layered) WatchContext(ctx context.Context, callback EventCallback) error {
	if err := checkContext(ctx); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	r, err := l.active()
	if err == nil && callback == nil {
		err = fmt.Errorf("%w: the callback is nil", ErrInvalidOptions)
	}
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	context.AfterFunc(ctx, r.log.watch(callback))
	return nil
}

// WatchSharded returns the store's event channels, of which there is one set from Start to Close,
// with Options.Workers shards. Events are sent from the first call on. Close closes
// the channels. On a store that is not active the channels are closed and empty.
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

// WatchWithCallback calls callback with each event of a store until the store is closed.
// It returns at once. On a *Layered, or an Adapter of one, it is Watch: one goroutine, one
// order, and every change for every caller. On any other Database a goroutine reads each
// channel of WatchSharded, so that callback runs concurrently for keys of different
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

// WatchStorageNoop takes all events of a store's WatchSharded and drops them, until the
// store is closed. It returns at once. A store of this package never needs it: nothing
// waits for a consumer.
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

// underlying takes the adapters off a store.
func underlying(db Database) Database {
	for {
		wrapper, ok := db.(interface{ Underlying() Database })
		if !ok {
			return db
		}
		db = wrapper.Underlying()
	}
}
