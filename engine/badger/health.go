package badger

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Disk failures.
//
// Badger returns most disk errors to the commit that met them. It ignores others:
//
//   - It only logs that the value log could not be synced, and acknowledges the write.
//   - If a memtable cannot be flushed, it retries every second, forever. Writers and Close wait for it.
//   - If a compaction cannot create the file of one of its new tables (no file handle, no inode, or no space for a
//     mapping is left), it continues without that table, and removes the old tables that hold its content.
//   - If the list of tables (MANIFEST) could be written only partially, the next append goes after the partial
//     record: the list can no longer be read.
//
// All of this passes through its logger, on the goroutine concerned, where the layer intervenes (log.go):
//
//   - After any failure, the layer rejects all writes, as after a failed commit. A commit in progress returns; it is
//     unknown whether it was kept.
//   - A compaction waits, before it creates a table, until a file of that size can be created (room.go).
//   - Once the list of tables may be broken, every goroutine that would append to it waits forever.
//
// Close may therefore find Badger waiting for its disk. It does not wait too: the database is left to end by itself
// when the disk recovers, and the directory stays locked until then. In the last case it never ends, and only a new
// process can open the store.

// health records failures.
type health struct {
	failed chan struct{} // closed at the first failure
	stuck  chan struct{} // closed when Close must not wait any longer
	torn   atomic.Bool   // the list of tables may be broken

	mu      sync.Mutex // guards the fields below
	cause   error      // the first failure
	waiting int        // the number of goroutines of Badger that wait for the disk
	leaving bool       // Close has begun
	isStuck bool
}

func newHealth() *health {
	return &health{failed: make(chan struct{}), stuck: make(chan struct{})}
}

// fail records a failure, if it is the first, and returns the first.
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

// wait counts a goroutine of Badger that begins or ends waiting.
func (h *health) wait(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting += n
	h.judgeLocked()
}

// retried records that Badger will retry what failed.
func (h *health) retried() {
	h.wait(+1)
	h.wait(-1)
}

// leave records that Close has begun.
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

// retryInterval is the interval at which a waiting compaction checks the disk. Badger retries a flush at the same
// interval.
const retryInterval = time.Second

// gate blocks a compaction before it creates a table, until the table can be created.
func (s *store) gate() {
	h := s.health
	if h.torn.Load() {
		h.wait(+1)
		select {} // see above: continuing would destroy the store
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

// tableSize returns the approximate maximum size of a table that a compaction makes.
func (s *store) tableSize() int64 {
	size := s.leastTable
	db := s.opened.Load()
	if db == nil {
		return size // Badger already compacts while it opens
	}
	for _, level := range db.Levels()[1:] {
		size = max(size, level.TargetFileSize)
	}
	return size
}

// hold keeps a goroutine of Badger from appending to a broken list of tables.
func (s *store) hold(err error) {
	s.log.Error("badger: the list of tables could not be written; end the process, then start it again",
		"dir", s.dir, "error", err)
	s.health.torn.Store(true)
	s.health.wait(+1)
	select {}
}
