package main

import (
	"encoding/json"
	"hash/maphash"
	"sync"

	"github.com/oolith-db/oolith/storage"
)

// A durable store syncs groups of writes: what arrives during one sync shares the next.
// One writer at a time would pay a sync for each record, so that an import has many.
const (
	writers = 64
	// laneLength is how many records wait for each writer.
	laneLength = 4
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

// pool stores records by many writers at once. Records of one path are stored in the
// order in which they were added. One goroutine adds and waits.
type pool struct {
	store func(job) error
	done  func(job, error)
	lanes []chan job
	seed  maphash.Seed
	room  *budget
	ended sync.WaitGroup
}

// startPool starts n writers. They call store, and then done with its result, each for
// one record at a time. They end by wait.
func startPool(n int, store func(job) error, done func(job, error)) *pool {
	p := &pool{store: store, done: done, seed: maphash.MakeSeed(), room: newBudget(pendingBytes)}
	for range n {
		lane := make(chan job, laneLength)
		p.lanes = append(p.lanes, lane)
		p.ended.Go(func() {
			for j := range lane {
				p.done(j, p.store(j))
				p.room.release(int64(len(j.data)))
			}
		})
	}
	return p
}

// add hands a record to the writer of its path. It blocks while there is no room.
func (p *pool) add(j job) {
	p.room.acquire(int64(len(j.data)))
	p.lanes[p.lane(j.path)] <- j
}

// lane returns the writer of a path.
func (p *pool) lane(path string) int {
	return int(maphash.String(p.seed, path) % uint64(len(p.lanes)))
}

// wait returns when everything added is done, and ends the writers.
func (p *pool) wait() {
	for _, lane := range p.lanes {
		close(lane)
	}
	p.ended.Wait()
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
