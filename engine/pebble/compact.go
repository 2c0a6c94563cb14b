package pebble

import (
	"cmp"
	"context"

	"github.com/oolith-db/oolith/storage"
)

// Compact implements storage.Compacter. It flushes memory to tables and merges all tables down to the last level,
// several at a time, so nothing overwritten or deleted is left. The obsolete files are removed in the background, at
// the latest by Close.
//
// Reads and writes continue meanwhile. Close ends it with storage.ErrNotActive, and a disk failure ends it with that
// failure.
func (l *Layer) Compact(ctx context.Context) error {
	return l.life.Use(func(d *database) error {
		if err := cmp.Or(ctx.Err(), l.life.Failure()); err != nil {
			return err
		}
		err := d.compact(ctx)
		if failure := d.disk.failure(); failure != nil {
			return l.life.Written(failure)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return l.life.Wrap("compact", err)
	})
}

func (d *database) compact(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-d.closing.Done():
			cancel(storage.ErrNotActive)
		case <-d.disk.failed: // from then on its compactions wait for Close: see failstopFS
			cancel(nil)
		case <-ctx.Done():
		}
	}()
	err := d.db.Compact(ctx, firstKey, lastKey, true)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
