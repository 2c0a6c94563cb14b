package badger

import (
	"context"
	"strings"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Compact implements storage.Compacter: it removes what was cleared, puts what is in memory into
// tables, merges all tables into one level, and writes the files of the value log anew of which a
// tenth or more is garbage. The file of the value log that is being written stays as it is.
//
// Reads and writes go on meanwhile. The context ends it between its steps, and while tables are
// merged, which goes on in the background then. A Close ends it with storage.ErrNotActive after the
// step that is under way.
func (l *Layer) Compact(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s, err := l.beginWork()
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.stopping, cancel)
	go func() {
		defer s.work.Done()
		done <- s.alone(ctx, func() error { return s.guard("compact", func() error { return s.compact(ctx) }) })
	}()
	defer stop()
	defer cancel()
	select {
	case err = <-done:
	case <-s.health.failed: // it may wait for the disk
		err = s.failure()
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil && s.stopping.Err() != nil {
		return storage.ErrNotActive
	}
	return err
}

// beginWork returns the store, and makes Close wait for what is done with it until work.Done.
func (l *Layer) beginWork() (*store, error) {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.store == nil {
		return nil, storage.ErrNotActive
	}
	if l.options.ReadOnly {
		return nil, l.store.readOnlyError()
	}
	l.store.work.Add(1)
	return l.store, nil
}

func (s *store) compact(ctx context.Context) error {
	if err := s.failure(); err != nil {
		return err
	}
	if err := s.purge(ctx); err != nil {
		return err
	}
	if err := s.moveLiving(ctx, gcShareCompact); err != nil {
		return err
	}
	if err := s.rotate(ctx); err != nil {
		return err
	}
	if err := s.merge(ctx); err != nil {
		return err
	}
	return s.collectGarbage(ctx, gcShareCompact)
}

// merge merges all tables into one level.
func (s *store) merge(ctx context.Context) error {
	// Badger takes tables of which each is new (of level 0) for merged. But it merges five of them by
	// itself.
	for s.onlyNew() {
		if err := s.rotate(ctx); err != nil {
			return err
		}
	}
	s.release()
	const workers = 2
	err := s.guard("merge the tables", func() error { return s.db.Flatten(workers) })
	if err != nil && strings.Contains(err.Error(), "Unable to fill tables") {
		err = nil // there is nothing that could be merged
	}
	return enginekit.FirstError(s.failure(), s.wrap("merge the tables", err))
}

// onlyNew reports whether there are tables, and all of them are new.
func (s *store) onlyNew() bool {
	levels := s.db.Levels()
	for _, level := range levels[1:] {
		if level.NumTables > 0 {
			return false
		}
	}
	return levels[0].NumTables > 0
}
