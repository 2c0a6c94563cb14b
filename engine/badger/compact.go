package badger

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/storage"
)

// Compact implements storage.Compacter. It flushes memory to tables, and merges all tables into one level.
//
// Reads and writes continue meanwhile. The context ends it between its steps, and during the merge of tables, which
// then continues in the background. Close ends it with storage.ErrNotActive after the step in progress.
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
		done <- s.compact(ctx)
	}()
	defer stop()
	defer cancel()
	select {
	case err = <-done:
	case <-s.health.failed: // it may wait for the disk
		err = s.health.failure()
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil && s.stopping.Err() != nil {
		return storage.ErrNotActive
	}
	return l.life.Wrap("compact", err)
}

// beginWork returns the store, and makes Close wait for work on it until work.Done.
func (l *Layer) beginWork() (s *store, err error) {
	err = l.life.Use(func(open *store) error {
		if err := cmp.Or(l.life.Failure(), open.health.failure()); err != nil {
			return l.life.Wrap("compact", err)
		}
		s = open
		s.work.Add(1)
		return nil
	})
	return s, err
}

// compact compacts. Only one compaction runs at a time.
func (s *store) compact(ctx context.Context) error {
	s.compacting.Lock()
	defer s.compacting.Unlock()
	return s.guard(func() error {
		if err := s.rotate(ctx); err != nil {
			return err
		}
		return s.merge(ctx)
	})
}

// merge merges all tables into one level.
func (s *store) merge(ctx context.Context) error {
	// Badger treats tables as merged if all of them are new (of level 0). But it merges five of them by itself.
	for s.onlyNew() {
		if err := s.rotate(ctx); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.release()
	const workers = 2
	err := s.db.Flatten(workers)
	if err != nil && strings.Contains(err.Error(), "Unable to fill tables") {
		err = nil // there is nothing to merge
	}
	return cmp.Or(s.health.failure(), err)
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

// rotate makes Badger begin a new memtable, by filling the current one with versions of one key, and waits until the
// earlier memtables are on disk. It writes as much as a memtable holds, which compresses well. The table spans all
// keys, so a compaction that includes it includes everything below it.
func (s *store) rotate(ctx context.Context) error {
	before, version := s.rotations.Load(), s.visible.Load()
	filler := make([]byte, s.db.Opts().ValueThreshold/2)
	for written := int64(0); s.rotations.Load() == before && written < 2*s.db.Opts().MemTableSize; written += int64(len(filler)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.fill(func(txn *badger.Txn) error { return txn.Set(fillerKey, filler) }); err != nil {
			return err
		}
	}
	if err := s.fill(func(txn *badger.Txn) error { return txn.Delete(fillerKey) }); err != nil {
		return err
	}
	return s.awaitFlush(ctx, version)
}

// fill writes some of the filler, or removes it.
func (s *store) fill(with func(txn *badger.Txn) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return cmp.Or(s.demand(s.options.MinFree/2+s.db.MaxBatchSize()), s.annotate(with))
}

// awaitFlush waits until everything committed up to a version is in tables on disk. Badger does not report this, but
// each table knows its newest version, and each transaction writes revisionKey, whose newest version is always kept.
func (s *store) awaitFlush(ctx context.Context, version uint64) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		for _, table := range s.db.Tables() {
			if table.MaxVersion >= version {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.health.failed:
			return s.health.failure()
		case <-ticker.C:
		}
	}
}
