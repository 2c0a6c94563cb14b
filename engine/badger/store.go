package badger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// store is an open database.
//
// The layer assigns the versions of entries itself (Badger's managed mode): consecutive versions, one transaction at
// a time. It therefore decides what readers see, and a reader never waits for a commit in its sync.
//
// LOCK ORDER: the layer's, writing, scanLock, reading.
type store struct {
	layer   *Layer
	dir     string // its canonical name
	options Options
	log     *slog.Logger
	db      *badger.DB
	space   enginekit.Space // of the objects
	lock    *lock
	mark    *os.File // nil if the store is opened read-only
	copied  string   // the directory of the view through which it is read; empty if none
	health  *health

	// writing is held during a commit; it guards the fields below.
	writing  sync.Mutex
	version  uint64 // the last used version
	revision uint64 // the highest committed revision

	visible atomic.Uint64 // the version that readers see

	// reading is held for reading during a look-up, from reading visible on. Releasing older versions holds it for
	// writing, briefly.
	reading sync.RWMutex

	// scanLock guards scans, the scans in progress. The start of a scan holds it from reading visible on.
	scanLock sync.Mutex
	scans    map[*cursor]struct{}

	// probing is held by a compaction that tests whether a file can be created.
	probing    sync.Mutex
	leastTable int64                     // the approximate minimum size of a table that it makes
	opened     atomic.Pointer[badger.DB] // db, for goroutines of Badger; nil before it is open

	objects   atomic.Int64 // the approximate number of objects
	rotations atomic.Int64 // how often a new memtable was begun

	// Long-running work: stop ends it, and Close waits for it.
	stopping   context.Context
	stop       context.CancelFunc
	work       sync.WaitGroup
	compacting sync.Mutex // held during a compaction
}

// latest reads everything, including what readers do not see yet.
const latest = math.MaxUint64

// lookup calls read with the value of a key at a version and the version of the entry, unless the key is absent. The
// value is valid during the call.
func (s *store) lookup(key []byte, version uint64, read func(value []byte, written uint64) error) (found bool, err error) {
	txn := s.db.NewTransactionAt(version, false)
	defer txn.Discard()
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, item.Value(func(value []byte) error { return read(value, item.Version()) })
}

// note returns the number stored under a key, or 0 if there is none.
func (s *store) note(key []byte, version uint64) (n uint64, err error) {
	_, err = s.lookup(key, version, func(value []byte, _ uint64) error {
		n, err = decodeNumber(key, value)
		return err
	})
	return n, err
}

// SizeHint implements storage.SizeHinter. It returns the number of entries that the tables and logs held at Start,
// including overwritten and removed objects, plus the puts and minus the deletes since.
func (s *store) SizeHint() int { return int(max(0, min(s.objects.Load(), 1<<30))) }

// LastRevision implements enginekit.Database.
func (s *store) LastRevision() (uint64, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.revision, nil
}

// guard calls into Badger. It converts a panic, and a memory fault in a mapped file that the disk cannot read, to
// errors. The state after it is unknown, so the layer then rejects all writes.
func (s *store) guard(call func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if value := recover(); value != nil {
			err = s.health.fail(fmt.Errorf("badger panicked: %s", enginekit.OneLine(fmt.Sprint(value))))
		}
	}()
	return call()
}

// upkeep releases versions that nobody can read any more, until Close ends it.
func (s *store) upkeep() {
	const interval = time.Second
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-s.stopping.Done():
			return
		case <-ticker.C:
		}
		err := s.guard(func() error {
			if s.options.hooks.upkeep != nil {
				s.options.hooks.upkeep()
			}
			s.release()
			return nil
		})
		if err != nil {
			s.log.Warn("badger: upkeep", "dir", s.dir, "error", err)
		}
	}
}

// release advances the discard version as far as nobody needs older versions.
//
// Badger keeps the versions of a key that are visible above the discard version. At and below it, a compaction drops
// all but the newest, and forgets a deletion completely if nothing older is below it. This is correct as long as
// nothing older can turn up elsewhere. But a scan holds the memtables that it began with in memory, and with them
// their logs, even after they are flushed. If the process then crashes, these logs are replayed as if they were new:
// objects deleted since the scan began come back, if a compaction has forgotten their deletion. The discard version
// therefore never exceeds that of the oldest scan.
func (s *store) release() {
	if s.health.failure() != nil {
		return
	}
	version := s.visible.Load()
	s.scanLock.Lock()
	for scan := range s.scans {
		version = min(version, scan.version)
	}
	s.scanLock.Unlock()
	// A look-up of an older version has ended, or began before the lock and is waited for.
	s.reading.Lock()
	defer s.reading.Unlock()
	s.db.SetDiscardTs(version)
}

// ID implements storage.Identified. The first call for a directory draws the number and returns once it is on disk. A
// store without a number that is opened read-only has one for as long as it is open.
func (l *Layer) ID() (id uint64, err error) {
	err = l.life.Use(func(s *store) error {
		s.writing.Lock()
		defer s.writing.Unlock()
		err := s.guard(func() error {
			id, err = s.note(idKey, latest)
			return err
		})
		if err != nil || id != 0 {
			return l.life.Wrap("read the store's id", err)
		}
		id = rand.Uint64() | 1
		if s.options.ReadOnly {
			return nil
		}
		return l.life.Wrap("note the store's id", s.annotate(func(txn *badger.Txn) error { return txn.Set(idKey, encodeNumber(id)) }))
	})
	return id, err
}

// MarkIncomplete implements storage.IncompleteMarker. When it returns, the mark and everything written before it are
// on disk, regardless of Durability.
func (l *Layer) MarkIncomplete(reason string) error {
	return l.life.Write(func(s *store) error {
		s.writing.Lock()
		defer s.writing.Unlock()
		return s.annotate(func(txn *badger.Txn) error {
			mark := []byte("-")
			if reason != "" {
				mark = []byte("+" + reason)
			}
			return txn.Set(incompleteKey, mark)
		})
	})
}

// checkComplete rejects a database that is marked as incomplete.
func (s *store) checkComplete() error {
	_, err := s.lookup(incompleteKey, latest, func(mark []byte, _ uint64) error {
		if reason, marked := strings.CutPrefix(string(mark), "+"); marked {
			return enginekit.Incomplete(reason)
		}
		return nil
	})
	return err
}
