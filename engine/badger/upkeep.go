package badger

import (
	"context"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// Upkeep: what the layer does in the background, on one goroutine that Close ends.

// releaseInterval is how often versions that nobody can read any more are given free.
const releaseInterval = time.Second

func (s *store) upkeep() {
	release := time.NewTicker(releaseInterval)
	defer release.Stop()
	var due <-chan time.Time // never
	if s.options.GCInterval > 0 {
		ticker := time.NewTicker(s.options.GCInterval)
		defer ticker.Stop()
		due = ticker.C
	}
	s.purgeSoon() // what the last run left
	for {
		err := s.guard("upkeep", func() error {
			select {
			case <-s.stopping.Done():
			case <-release.C:
				s.release()
			case <-s.purging:
				return s.purge(s.stopping)
			case <-due:
				return s.collect(s.stopping)
			}
			return nil
		})
		if s.stopping.Err() != nil {
			return
		}
		if err != nil {
			s.log.Warn("badger: upkeep", "dir", s.dir, "error", err)
		}
	}
}

const (
	// gcShare is how much of a file of the value log is garbage when upkeep moves the rest: with a
	// half, each byte is moved once on average.
	gcShare = 0.5
	// gcShareCompact is the same for Compact.
	gcShareCompact = 0.1
)

// collect collects the garbage of the value log.
//
// What is garbage is known from compactions. But a table in memory that only takes places in the
// value log would not be full, and not be compacted, before the value log has grown to thousands of
// times its size. So one is put away early after enough was written to the value log.
func (s *store) collect(ctx context.Context) error {
	if s.inLog.Load() >= s.options.ValueLogFileSize {
		if err := s.rotate(ctx); err != nil {
			return err
		}
	}
	return s.alone(ctx, func() error { return s.collectGarbage(ctx, gcShare) })
}

// alone calls a function while nobody else compacts or collects garbage.
func (s *store) alone(ctx context.Context, call func() error) error {
	select {
	case s.compacting <- struct{}{}:
		defer func() { <-s.compacting }()
		return call()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// rotate makes Badger begin a new table in memory, by filling the current one, and waits until the
// tables in memory before it are on the disk. It takes as much writing as a table in memory is
// large, which compresses to little. The table spans all keys, so that a compaction that takes it
// along takes all that is below it.
func (s *store) rotate(ctx context.Context) error {
	before, version := s.rotations.Load(), s.view.Load().version
	for written := int64(0); s.rotations.Load() == before && written < 2*s.db.Opts().MemTableSize; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := s.fillSome(true)
		if err != nil {
			return err
		}
		written += n
	}
	if _, err := s.fillSome(false); err != nil {
		return err
	}
	s.inLog.Store(0)
	return s.awaitFlush(ctx, version)
}

// fillSome writes a transaction of filler, or removes it, and returns how much was written.
func (s *store) fillSome(keep bool) (written int64, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	filler := make([]byte, s.options.ValueThreshold-1)
	if err := s.demand(s.options.MinFree/2 + s.db.MaxBatchSize()); err != nil {
		return 0, err
	}
	return written, s.annotate("fill a table in memory", func(txn *badger.Txn) error {
		change := func(key []byte) error {
			written += int64(len(key) + len(filler))
			if keep {
				return txn.Set(key, filler)
			}
			return txn.Delete(key)
		}
		err := change(fillerEnd)
		for i := int64(0); err == nil && i < s.db.MaxBatchCount()/2 && written < s.db.MaxBatchSize()/2; i++ {
			err = change(fmt.Appendf(fillerPrefix[:len(fillerPrefix):len(fillerPrefix)], "%06x", i))
		}
		return err
	})
}

// awaitFlush waits until what was committed up to a version is in tables on the disk. Badger tells
// nobody when that is, but each table knows its newest version, and each transaction writes
// revisionKey, of which the newest version is always kept.
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
			return s.failure()
		case <-ticker.C:
		}
	}
}
