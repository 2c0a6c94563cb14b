package badger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// store is an open database.
//
// The layer gives the versions of entries itself (Badger's managed mode): version after version, one
// transaction at a time. So it decides what readers see, a view, and a reader never waits for a
// commit that is in its sync.
type store struct {
	dir     string // its one true name
	options Options
	log     *slog.Logger
	db      *badger.DB
	lock    *lock
	copied  string // the directory by way of which it is read; empty for none
	health  *health

	// writing is held by who commits; it guards the fields below.
	writing  sync.Mutex
	version  uint64 // the last that was used
	revision uint64 // the highest that was committed

	view atomic.Pointer[view]

	// reading is held for reading by who looks up an entry, from the look at the view on. Who
	// gives older versions free holds it for writing, for a moment.
	reading sync.RWMutex

	// scanLock guards scans, the scans in progress. Close ends them. Who begins one holds it from
	// the look at the view on.
	scanLock sync.Mutex
	scans    map[*scan]struct{}

	// probing is held by a compaction that tries whether a file can be made.
	probing    sync.Mutex
	leastTable int64                     // about the least size of a table that it makes
	opened     atomic.Pointer[badger.DB] // db, for goroutines of Badger; nil before it is open

	objects   atomic.Int64 // roughly how many there are
	rotations atomic.Int64 // how often a new table in memory was begun
	inLog     atomic.Int64 // bytes that went to the value log since a new table in memory was begun

	// What runs for long: it ends by stop, and is waited for by Close.
	stopping   context.Context
	stop       context.CancelFunc
	work       sync.WaitGroup
	purging    chan struct{} // tells upkeep of objects of older generations; holds one
	compacting chan struct{} // held by who compacts or collects garbage; holds one

	moved map[uint32]bool // files of the value log in which nothing is alive; guarded by compacting
	dead  atomic.Int64    // the one that Badger may remove; 0 for none
}

// view is what a reader sees.
type view struct {
	version    uint64
	generation uint64
	objects    enginekit.Space // of the generation
}

func newView(version, generation uint64) *view {
	return &view{version: version, generation: generation, objects: spaceOf(generation)}
}

// publish makes the last version what readers see. The caller holds writing.
func (s *store) publish(generation uint64) {
	if v := s.view.Load(); v.generation == generation {
		next := *v
		next.version = s.version
		s.view.Store(&next)
		return
	}
	s.view.Store(newView(s.version, generation))
}

// latest reads everything, also what no view shows yet.
const latest = math.MaxUint64

// lookup calls read with the value of a key at a version and returns its error, or returns
// badger.ErrKeyNotFound. The value is valid during the call.
func (s *store) lookup(key []byte, version uint64, read func(value []byte) error) error {
	txn := s.db.NewTransactionAt(version, false)
	defer txn.Discard()
	item, err := txn.Get(key)
	if err != nil {
		return err
	}
	return item.Value(read)
}

// note returns the number that is noted under a key, 0 for none.
func (s *store) note(key []byte, version uint64) (n uint64, err error) {
	err = s.lookup(key, version, func(value []byte) error {
		n, err = decodeNumber(key, value)
		return err
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		err = nil
	}
	return n, err
}

// guard calls into Badger. A panic in there, and a fault in the memory of a file that the disk
// cannot give back, become errors; since nobody knows what it left behind, the layer then takes
// no more writes.
func (s *store) guard(doing string, call func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if value := recover(); value != nil {
			err = s.wrap(doing, s.health.fail(fmt.Errorf("badger panicked: %s", enginekit.OneLine(fmt.Sprint(value)))))
		}
	}()
	return call()
}

// wrap names the directory and what was being done; it keeps nil.
func (s *store) wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("badger: %s in %s: %w", doing, s.dir, restored(err))
}

// failure returns why the store takes no more writes, or nil.
func (s *store) failure() error {
	cause := s.health.failure()
	if cause == nil {
		return nil
	}
	return fmt.Errorf("badger: the store in %s takes no more writes since its disk failed; "+
		"see to the disk, then close the store and start it again: %w", s.dir, cause)
}
