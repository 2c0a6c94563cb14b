package pebble

import (
	"context"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Compact implements storage.Compacter: it writes what is in memory to tables and merges all
// tables down to the last level, several at a time, so that nothing of what was overwritten or
// deleted is left. The files that are not needed any more go in the background, at the latest by
// Close.
//
// Reads and writes go on meanwhile. A Close ends it with storage.ErrNotActive, and a disk that
// fails ends it with that failure.
func (l *Layer) Compact(ctx context.Context) error {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return storage.ErrNotActive
	}
	if err := enginekit.FirstError(ctx.Err(), l.failure()); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	closing, failed := l.closing, l.disk.failed
	go func() {
		select {
		case <-closing:
			cancel(storage.ErrNotActive)
		case <-failed: // its compactions wait for Close from then on: see failstopFS
			cancel(nil)
		case <-ctx.Done():
		}
	}()
	err := l.db.Compact(ctx, firstKey, lastKey, true)
	if failure := l.failure(); failure != nil {
		return failure
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return l.wrap("compact", err)
}
