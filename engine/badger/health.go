package badger

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A disk that fails.
//
// Badger returns most errors of the disk to the commit that met them. It passes over others:
//
//   - It only logs that the value log could not be synced, and acknowledges the write.
//   - When a table in memory cannot be put on the disk, it tries again every second, for ever. Writers
//     and Close wait for it.
//   - When a compaction cannot make the file of one of its new tables (no file handle is left, no
//     inode, no room for a mapping), it goes on without that table, and removes the old ones that
//     hold what would have been in it.
//   - When the list of tables (MANIFEST) could be written in part only, it appends to it the next
//     time, behind the part: the list cannot be read any more.
//
// All of this passes through its logger, on the goroutine concerned, and that is where the layer steps in (log.go):
//
//   - Whatever fails, the layer takes no more writes, as after a failed commit. A commit that is
//     under way returns; nobody can tell whether it was kept.
//   - A compaction waits, before it makes a table, until a file of the size can be made (room.go).
//   - Once the list of tables may be in pieces, whoever would append to it waits for ever.
//
// So Close may find Badger waiting for its disk. It does not wait along: the database is left to end by itself when the
// disk recovers, and the directory stays locked until then. In the last case it never ends, and only a new process can
// open the store.

// health knows what failed.
type health struct {
	failed chan struct{} // closed at the first failure
	stuck  chan struct{} // closed when Close is not to wait any longer
	torn   atomic.Bool   // the list of tables may be in pieces

	mu      sync.Mutex // guards the fields below
	cause   error      // the first failure
	waiting int        // goroutines of Badger that wait for the disk
	leaving bool       // Close has begun
	isStuck bool
}

func newHealth() *health {
	return &health{failed: make(chan struct{}), stuck: make(chan struct{})}
}

// fail notes a failure, if it is the first, and returns the first.
func (h *health) fail(err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cause == nil {
		h.cause = restored(err)
		close(h.failed)
	}
	return h.cause
}

// failure returns the first failure, or nil.
func (h *health) failure() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cause
}

// wait counts a goroutine of Badger that begins to wait, or ends.
func (h *health) wait(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting += n
	h.judgeLocked()
}

// retried notes that Badger will try again what failed.
func (h *health) retried() {
	h.wait(+1)
	h.wait(-1)
}

// leave notes that Close has begun.
func (h *health) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leaving = true
	h.judgeLocked()
}

func (h *health) judgeLocked() {
	if h.leaving && h.waiting > 0 && !h.isStuck {
		h.isStuck = true
		close(h.stuck)
	}
}

// retryInterval is how often a compaction that waits looks at the disk, as often as Badger tries again to flush.
const retryInterval = time.Second

// gate holds a compaction before it makes a table, until that can be made.
func (s *store) gate() {
	h := s.health
	if h.torn.Load() {
		h.wait(+1)
		select {} // see above: to go on would destroy the store
	}
	size := s.tableSize()
	err := s.demandTable(size)
	if err == nil {
		return
	}
	h.fail(fmt.Errorf("a compaction cannot make a table: %w", err))
	s.log.Error("badger: a compaction waits for the disk", "dir", s.dir, "error", err)
	h.wait(+1)
	defer h.wait(-1)
	for err != nil {
		time.Sleep(retryInterval)
		err = s.demandTable(size)
	}
}

// tableSize is about the largest size of a table that a compaction makes.
func (s *store) tableSize() int64 {
	size := s.leastTable
	db := s.opened.Load()
	if db == nil {
		return size // Badger compacts already while it opens
	}
	for _, level := range db.Levels()[1:] {
		size = max(size, level.TargetFileSize)
	}
	return size
}

// hold keeps a goroutine of Badger from appending to a list of tables that is in pieces.
func (s *store) hold(err error) {
	s.log.Error("badger: the list of tables could not be written; end the process, then start it again",
		"dir", s.dir, "error", err)
	s.health.torn.Store(true)
	s.health.wait(+1)
	select {}
}
