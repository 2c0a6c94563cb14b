package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oolith-db/oolith/client"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// A durable store syncs each commit. So records are committed in batches, of what there is: while
// one batch is in its sync the next one gathers, and none waits to be full. A fast input makes
// large batches, and a slow one small ones at once.
const (
	batchRecords = 1000
	batchBytes   = 4 << 20
	// pendingBytes bounds the data of all records on their way. A larger one travels alone.
	pendingBytes = 64 << 20
)

// job is one record on its way into the store.
type job struct {
	number int64
	path   string
	data   json.RawMessage
	// times are those of the object to restore; nil when the store gives them.
	times *storage.Times
	// expires is when the object ceases to be, in Unix nanoseconds; 0 for never.
	expires int64
	// pattern is what a generated path was made from; empty for other paths.
	pattern string
}

// writer hands records on in batches, in the order in which they were added. One goroutine adds and
// waits; the writer has one of its own, which ends by wait.
type writer struct {
	commit func(batch []job)
	jobs   chan job
	room   *budget
	ended  sync.WaitGroup
}

// startWriter starts a writer. It calls commit with at least one record and no path twice.
func startWriter(commit func(batch []job)) *writer {
	w := &writer{commit: commit, jobs: make(chan job, batchRecords), room: newBudget(pendingBytes)}
	w.ended.Go(w.run)
	return w
}

// add hands over a record. It blocks while there is no room.
func (w *writer) add(j job) {
	w.room.acquire(int64(len(j.data)))
	w.jobs <- j
}

// wait returns when everything added is committed, and ends the writer.
func (w *writer) wait() {
	close(w.jobs)
	w.ended.Wait()
}

func (w *writer) run() {
	batch, paths := make([]job, 0, batchRecords), make(map[string]bool)
	next, more := <-w.jobs
	for more {
		clear(batch)
		clear(paths)
		batch = append(batch[:0], next)
		paths[next.path] = true
		size := len(next.data)
		// The record that ends the batch, if any, begins the next one.
		for next, more = w.poll(); more && len(batch) < batchRecords && size < batchBytes && !paths[next.path]; next, more = w.poll() {
			batch = append(batch, next)
			paths[next.path] = true
			size += len(next.data)
		}
		w.commit(batch)
		for i := range batch {
			w.room.release(int64(len(batch[i].data)))
		}
		if !more {
			next, more = <-w.jobs
		}
	}
}

// poll returns the next record if there is one now.
func (w *writer) poll() (job, bool) {
	select {
	case j, ok := <-w.jobs:
		return j, ok
	default:
		return job{}, false
	}
}

// writable is the part of a store that records are stored by.
type writable interface {
	Get(path string) (meta.Object, error)
	SetWith(path string, data json.RawMessage, options storage.SetOptions) (meta.Object, error)
	Commit(batch *storage.Batch) ([]meta.Object, error)
}

// committer stores batches. It answers for each record, in order, by done; a nil error says that the
// record is stored. After stop the answer is errNotTried.
type committer struct {
	store    writable
	done     func(job, error)
	ifExists ifExists

	stopped atomic.Bool
}

var (
	errNotTried = errors.New("not tried, since the store failed before")
	errExpired  = errors.New("it has expired")
	errSkipped  = errors.New("its path already has an object")
	errExists   = errors.New("the path already has an object, and --if-exists fail stops the import")
)

// stop ends the storing: what comes is not tried.
func (c *committer) stop() { c.stopped.Store(true) }

// commit stores records at distinct paths.
func (c *committer) commit(batch []job) {
	live := make([]job, 0, len(batch))
	for _, j := range batch {
		err := c.prepare(&j)
		if errors.Is(err, errExists) { // what comes before it is stored
			c.put(live)
			live = live[:0]
		}
		if err != nil {
			c.done(j, err)
			continue
		}
		live = append(live, j)
	}
	c.put(live)
}

// put stores records in one commit. What the store refuses costs itself only: it is found by
// halves, and the others are stored.
func (c *committer) put(jobs []job) {
	err := errNotTried
	if !c.stopped.Load() {
		err = c.try(jobs)
	}
	if err != nil && !isRefusal(err) && err != errNotTried && len(jobs) > 1 {
		c.done(jobs[0], err)
		c.put(jobs[1:]) // each answers for itself whether it is tried
		return
	}
	if err != nil && err != errNotTried && len(jobs) > 1 {
		half := len(jobs) / 2
		c.put(jobs[:half])
		c.put(jobs[half:])
		return
	}
	for _, j := range jobs {
		c.done(j, err)
	}
}

// try stores all or none.
func (c *committer) try(jobs []job) error {
	if len(jobs) == 1 {
		j := &jobs[0]
		_, err := c.store.SetWith(j.path, j.data, c.options(j))
		if errors.Is(err, storage.ErrConflict) && c.ifExists != replaceExisting && j.pattern == "" {
			return c.exists(j) // somebody wrote there since it was looked at
		}
		return err
	}
	var batch storage.Batch
	for i := range jobs {
		batch.SetWith(jobs[i].path, jobs[i].data, c.options(&jobs[i]))
	}
	_, err := c.store.Commit(&batch)
	return err
}

// prepare finds out whether a record can be stored at all, and where.
func (c *committer) prepare(j *job) error {
	if c.stopped.Load() {
		return errNotTried
	}
	if j.expires > 0 && j.expires <= time.Now().UnixNano() {
		return errExpired // no read would show it
	}
	if c.ifExists != replaceExisting && j.pattern == "" {
		if err := c.mustBeAbsent(j); err != nil {
			return err
		}
	}
	// A generated path is new in this process. In a store that was written while the clock
	// was ahead it may be taken.
	for j.pattern != "" {
		_, err := c.store.Get(j.path)
		if errors.Is(err, storage.ErrNotFound) {
			break
		}
		if err != nil {
			return err
		}
		j.generate(j.pattern)
	}
	return nil
}

// options are those of the write of a record.
func (c *committer) options(j *job) storage.SetOptions {
	return storage.SetOptions{Times: j.times, Expires: j.expires, IfAbsent: c.ifExists != replaceExisting}
}

// mustBeAbsent demands that a path holds no object, as --if-exists says.
func (c *committer) mustBeAbsent(j *job) error {
	_, err := c.store.Get(j.path)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	return c.exists(j)
}

// exists says what becomes of a record whose path holds an object.
func (c *committer) exists(j *job) error {
	if c.ifExists == skipExisting {
		return errSkipped
	}
	return fmt.Errorf("%q: %w", j.path, errExists)
}

// isRefusal tells an error about one record from one about the store, which takes no more, or a server that does not answer.
func isRefusal(err error) bool {
	if refused, ok := errors.AsType[*client.Error](err); ok && (refused.Status >= 500 || refused.Status == http.StatusUnauthorized || refused.Status == http.StatusTooManyRequests) {
		return false
	}
	return !isAny(err, []error{storage.ErrWritesStopped, storage.ErrNotActive, storage.ErrReadOnly, errUnanswered, context.Canceled})
}

// budget bounds the bytes in use.
type budget struct {
	total int64

	mu   sync.Mutex // guards left
	left int64
	more *sync.Cond // signalled when left grows
}

func newBudget(total int64) *budget {
	b := &budget{total: total, left: total}
	b.more = sync.NewCond(&b.mu)
	return b
}

// acquire takes n bytes, waiting until they are free. What exceeds the whole budget takes
// all of it.
func (b *budget) acquire(n int64) {
	n = min(n, b.total)
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.left < n {
		b.more.Wait()
	}
	b.left -= n
}

// release gives back what acquire(n) took.
func (b *budget) release(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += min(n, b.total)
	b.more.Broadcast()
}
