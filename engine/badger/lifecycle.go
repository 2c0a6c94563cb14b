package badger

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// open opens the database. After an error it holds nothing.
func (l *Layer) open(closing context.Context, opt storage.LayerOptions) (*store, error) {
	if err := l.awaitLeft(); err != nil {
		return nil, err
	}
	key, err := l.options.key()
	if err != nil {
		return nil, err
	}
	var dir string
	if l.options.ReadOnly {
		dir, err = enginekit.FindDir(l.dir)
	} else {
		dir, err = enginekit.PrepareDir(l.dir, enginekit.SyncDir)
	}
	if err != nil {
		return nil, err
	}
	// No file is left in a foreign directory.
	if _, err := checkFormat(dir); err != nil {
		return nil, err
	}
	held, err := lockDir(dir, l.options.ReadOnly)
	if err != nil {
		return nil, err
	}
	s := l.newStore(dir, held)
	s.stopping, s.stop = context.WithCancel(closing)
	if err := s.open(key, opt); err != nil {
		s.stop()
		return nil, cmp.Or(err, s.closeMark(false), s.removeView(), s.lock.release())
	}
	if !l.options.ReadOnly {
		s.release()
		s.work.Go(s.upkeep)
	}
	return s, nil
}

// awaitLeft waits for a database that Close left behind, for as long as Badger takes to notice that the disk has
// recovered.
func (l *Layer) awaitLeft() error {
	if l.left == nil {
		return nil
	}
	patience := 3 * retryInterval
	if l.options.hooks.patience > 0 {
		patience = l.options.hooks.patience
	}
	select {
	case <-l.left:
		l.left = nil
		return nil
	case <-time.After(patience):
		return errors.New("it could not be closed, because its disk failed, and still cannot be; see to the disk, " +
			"or end the process, then start it again")
	}
}

func (l *Layer) newStore(dir string, held *lock) *store {
	return &store{
		layer:   l,
		dir:     dir,
		options: l.options,
		log:     l.life.Log(),
		lock:    held,
		health:  newHealth(),
		scans:   make(map[*cursor]struct{}),
	}
}

// open opens the database in the locked directory. After an error the database is closed again; if even that fails,
// the lock is kept.
func (s *store) open(key []byte, opt storage.LayerOptions) error {
	state, err := checkFormat(s.dir)
	if err != nil {
		return err
	}
	if state == inTheMaking && s.options.ReadOnly {
		return errors.New("there is no store to read")
	}
	found, err := s.inspect(key, state)
	if err != nil {
		return err
	}
	s.objects.Store(found.entries)
	room, err := s.lookAtRoom()
	if err != nil {
		return err
	}
	s.options = s.options.scaled(room.total)
	o := s.badgerOptions(key, found.memTableSize)
	s.leastTable = o.BaseTableSize
	if s.options.ReadOnly {
		o, err = s.readOptions(o, found)
	} else {
		err = s.prepare(found, state)
	}
	if err != nil {
		return err
	}
	err = s.guard(func() error {
		s.db, err = enginekit.Locked("the directory", func() (*badger.DB, error) { return badger.OpenManaged(o) }, lockHolder)
		return err
	})
	if err != nil {
		return err
	}
	if state == inTheMaking {
		err = endFormat(s.dir)
	}
	s.opened.Store(s.db)
	if err == nil {
		err = s.guard(func() error { return s.recover(opt) })
	}
	if err = cmp.Or(s.health.failure(), err); err != nil {
		if closeErr := s.closeDatabase(); closeErr != nil {
			s.log.Debug("badger: close after a failed start", "dir", s.dir, "error", closeErr)
		}
	}
	return err
}

// recover reads the notes of the database, and rolls back an incomplete batch that a crash left.
func (s *store) recover(opt storage.LayerOptions) error {
	s.version = s.db.MaxVersion()
	generation, err := s.note(generationKey, latest)
	if err != nil {
		return corrupt("%w", err)
	}
	s.space = spaceOf(generation)
	if s.options.ReadOnly {
		before, err := s.partsVersion()
		if err != nil {
			return err
		}
		if before > 0 {
			s.version = before
		}
	} else if err := s.undo(); err != nil {
		return err
	}
	if s.revision, err = s.note(revisionKey, s.version); err != nil {
		return corrupt("%w", err)
	}
	s.visible.Store(s.version)
	if opt.AllowIncomplete {
		return nil
	}
	return s.checkComplete()
}

// badgerOptions returns the options for memtables of at least the given size.
func (s *store) badgerOptions(key []byte, memTableSize int64) badger.Options {
	size := max(s.options.MemTableSize, memTableSize)
	o := badger.DefaultOptions(s.dir)
	o.Logger = logger{s}
	o.MetricsEnabled = false  // they are variables of the process
	o.DetectConflicts = false // there is one writer at a time
	o.SyncWrites = s.options.Durability == DurabilitySync
	o.MemTableSize = size
	o.NumMemtables = 3
	// Fewer and larger files than by default: each takes a file handle and a mapping.
	o.BaseTableSize = size / 8
	o.BaseLevelSize = min(o.BaseLevelSize, 4*size)
	// Badger may merge new tables (of level 0) among themselves, four or more of them, while others are on their way
	// to another level, and then forgets deletions of entries in those. Because of revisionKey all tables overlap, so
	// five or more move at once, and three are left.
	o.NumLevelZeroTables, o.NumLevelZeroTablesStall = 5, 8
	o.NumCompactors = max(2, min(runtime.GOMAXPROCS(0), 4))
	// Nothing goes to the value log. Badger creates a file for it nevertheless.
	o.ValueThreshold = min(1<<20, maxTransaction(size))
	o.ValueLogFileSize = 1 << 20
	o.BlockCacheSize = s.options.CacheSize
	o.ChecksumVerificationMode = options.OnBlockRead
	o.VerifyValueChecksum = true
	if len(key) > 0 {
		o.EncryptionKey = key
		o.IndexCacheSize = max(1, s.options.CacheSize/4)
		o.BlockCacheSize = max(1, s.options.CacheSize-o.IndexCacheSize)
	}
	return o
}

// Close closes the database. It flushes memory to tables and syncs, unless the disk fails.
func (s *store) Close() error {
	s.stop()
	err := s.closeDatabase()
	inOrder := err == nil && s.lock != nil && !s.options.ReadOnly && s.health.failure() == nil
	return cmp.Or(err, s.closeMark(inOrder), s.removeView(), s.health.failure(), s.lock.release())
}

// closeDatabase closes the database, after the background work on it has ended. If Badger waits for a failing disk,
// the database is left behind, and left is closed once the database has ended and the lock is released.
func (s *store) closeDatabase() error {
	if s.health.torn.Load() {
		s.lock = nil // never released: see health.go
		s.layer.left = make(chan struct{})
		return nil
	}
	held, done := s.lock, make(chan error, 1)
	s.health.leave()
	go func() {
		s.work.Wait()
		done <- s.guard(s.db.Close)
	}()
	select {
	case err := <-done:
		return err
	case <-s.health.stuck:
	}
	s.lock = nil
	left := make(chan struct{})
	s.layer.left = left
	go func() {
		defer close(left)
		err := cmp.Or(<-done, held.release())
		s.log.Info("badger: a store that was left behind is closed", "dir", s.dir, "error", err)
	}()
	return nil
}
