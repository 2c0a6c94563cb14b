package badger

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Start implements storage.Layer: it makes the directory where it is missing, locks it, looks
// through its files and opens the database.
//
// A directory that is marked as incomplete is refused with storage.ErrIncomplete, unless
// opt.AllowIncomplete is set. A directory that is in use, that is a file, that cannot be written,
// that is corrupt or that holds something else is an error that says so, and so is a key that does
// not fit.
func (l *Layer) Start(opt storage.LayerOptions) error {
	l.turn.Lock()
	defer l.turn.Unlock()
	if l.Active() {
		return storage.ErrActive
	}
	s, err := l.open(opt)
	if err != nil {
		return fmt.Errorf("badger: open %s: %w", l.dir, explain(err))
	}
	l.life.Lock()
	defer l.life.Unlock()
	l.store = s
	return nil
}

// open opens the database, or holds nothing.
func (l *Layer) open(opt storage.LayerOptions) (*store, error) {
	if err := l.awaitLeaving(); err != nil {
		return nil, err
	}
	key, err := l.options.key()
	if err != nil {
		return nil, err
	}
	var dir string
	if l.options.ReadOnly {
		dir, err = existing(l.dir)
	} else {
		dir, err = enginekit.PrepareDir(l.dir, enginekit.SyncDir)
	}
	if err != nil {
		return nil, err
	}
	// Nothing is left in a directory that is not ours.
	if _, err := checkFormat(dir); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir, l.options.ReadOnly)
	if err != nil {
		return nil, err
	}
	s := newStore(dir, l.options, lock)
	if err := s.open(key, opt); err != nil {
		s.stop()
		return nil, enginekit.FirstError(err, s.removeView(), s.unlock())
	}
	if !l.options.ReadOnly {
		s.release()
		s.work.Go(s.upkeep)
	}
	return s, nil
}

// awaitLeaving waits for a database that was left behind by Close, for as long as Badger takes to
// notice that the disk has recovered.
func (l *Layer) awaitLeaving() error {
	if l.leaving == nil {
		return nil
	}
	patience := 3 * retryInterval
	if l.options.hooks.patience > 0 {
		patience = l.options.hooks.patience
	}
	select {
	case <-l.leaving:
		l.leaving = nil
		return nil
	case <-time.After(patience):
		return errors.New("it could not be closed, because its disk failed, and still cannot be; see to the disk, " +
			"or end the process, then start it again")
	}
}

func newStore(dir string, o Options, held *lock) *store {
	s := &store{
		dir:        dir,
		options:    o,
		log:        o.Logger,
		lock:       held,
		health:     newHealth(),
		scans:      make(map[*scan]struct{}),
		moved:      make(map[uint32]bool),
		purging:    make(chan struct{}, 1),
		compacting: make(chan struct{}, 1),
	}
	s.stopping, s.stop = context.WithCancel(context.Background())
	return s
}

// unlock gives the directory back, if it is held.
func (s *store) unlock() error {
	if s.lock == nil {
		return nil
	}
	held := s.lock
	s.lock = nil
	return held.release()
}

// open opens the database in the directory, which is locked. On an error it is closed again, and
// where even that cannot be done the lock is kept.
func (s *store) open(key []byte, opt storage.LayerOptions) error {
	made, err := checkFormat(s.dir)
	if err != nil {
		return err
	}
	if !made && s.options.ReadOnly {
		return errors.New("there is no store to read")
	}
	var found inspected
	err = s.guard("look at the files", func() error {
		found, err = s.inspect(key, made)
		return err
	})
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
		err = s.prepare(found)
	}
	if err == nil && !made {
		err = beginFormat(s.dir)
	}
	if err != nil {
		return err
	}
	err = s.guard("open", func() error {
		s.db, err = enginekit.Locked("the directory", func() (*badger.DB, error) { return badger.OpenManaged(o) }, lockHolder)
		return err
	})
	if err != nil {
		return err
	}
	if !made {
		err = endFormat(s.dir)
	}
	s.opened.Store(s.db)
	if err == nil {
		err = s.guard("begin", func() error { return s.recover(opt) })
	}
	if err = enginekit.FirstError(s.health.failure(), err); err != nil {
		if _, closeErr := s.close(); closeErr != nil {
			s.log.Debug("badger: close after a failed start", "dir", s.dir, "error", closeErr)
		}
		return err
	}
	return nil
}

// recover reads what the database notes about itself, and takes back what a crash left half done.
func (s *store) recover(opt storage.LayerOptions) error {
	s.version = s.db.MaxVersion()
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
	generation, err := s.note(generationKey, s.version)
	if err == nil {
		s.revision, err = s.note(revisionKey, s.version)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errCorrupt, err)
	}
	s.view.Store(newView(s.version, generation))
	if opt.AllowIncomplete {
		return nil
	}
	return s.checkComplete()
}

// badgerOptions returns the options for tables in memory of at least some size.
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
	// Badger may merge new tables (of level 0) among themselves, four of them or more, when some of
	// them are on their way to another level, and then forgets deletions of what is in those. All
	// tables overlap, because of revisionKey, so that five or more are on that way at once, and
	// three are left.
	o.NumLevelZeroTables, o.NumLevelZeroTablesStall = 5, 8
	o.NumCompactors = max(2, min(runtime.GOMAXPROCS(0), 4))
	o.ValueThreshold = s.options.ValueThreshold
	o.ValueLogFileSize = s.options.ValueLogFileSize
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

// Close implements storage.Layer. It waits for calls in progress, ends scans, checks and
// compactions in progress with storage.ErrNotActive (a scan at its next object that is not read
// yet), puts what is in memory into tables and syncs. It may be called from inside a scan's
// loop.
//
// It does not wait for a disk that fails: see health.go.
func (l *Layer) Close() {
	l.turn.Lock()
	defer l.turn.Unlock()
	l.life.Lock()
	s := l.store
	l.store = nil
	if s != nil {
		s.stop()
		s.endScans()
	}
	l.life.Unlock()
	if s == nil {
		return
	}
	left, err := s.close()
	l.leaving = left
	if err = enginekit.FirstError(err, s.removeView(), s.health.failure()); err != nil {
		s.log.Error("badger: close", "dir", s.dir, "error", err)
	}
	if left == nil {
		if err := s.unlock(); err != nil {
			s.log.Error("badger: close", "dir", s.dir, "error", err)
		}
	}
}

// close closes the database, after what is done with it in the background has ended. When Badger
// waits for a disk that fails, the database is left behind, and left is closed when it has ended
// and the lock is given back.
func (s *store) close() (left <-chan struct{}, err error) {
	if s.health.isTorn() {
		s.lock = nil // never given back: see health.go
		return make(chan struct{}), nil
	}
	held, done := s.lock, make(chan error, 1)
	s.health.leave()
	go func() {
		s.work.Wait()
		done <- s.guard("close", s.db.Close)
	}()
	select {
	case err := <-done:
		return nil, restored(err)
	case <-s.health.stuck:
	}
	s.lock = nil
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := enginekit.FirstError(<-done, held.release())
		s.log.Info("badger: a store that was left behind is closed", "dir", s.dir, "error", err)
	}()
	return ended, nil
}
