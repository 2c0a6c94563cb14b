package storage

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// The commit pipeline.
//
// Every change of the store is a write in one queue. A writer that finds the queue without a leader becomes the leader.
// The leader takes the waiting writes as a group, commits it, wakes its callers, and hands the lead to the first write
// that has arrived in the meantime. So there is one committer at a time and no dedicated goroutine. A single writer
// never switches goroutines. While one group is in the sync of the persistent layer, the next one gathers, with any
// engine.
//
// A group is a run of consecutive writes of known keys, or one glob delete, or one clear. A batch is one write with
// parts, all or nothing. Each group goes through these steps, in this order:
//
//	1 stage    revision, times, conditions, against the stored objects and the earlier
//	           writes of the group (stage.go); the limits of lists (retain.go)
//	2 persist  one atomic batch, one sync (order.go); glob.go handles deletes of patterns
//	3 apply    memory: now visible to readers (apply.go)
//	4 publish  the sharded channels and the feed, in commit order (publish.go)
//
// Then the callers return and run their hooks. If step 2 fails, the callers get the error and nothing else happens. If
// the layer cannot tell whether it kept the group, the pipeline rejects all later writes, because memory and disk may
// differ.
//
// A store without a persistent layer has nothing to wait for: a write takes pipeline.mu and runs the steps itself, with
// no queue and no group (commitInPlace, passAlone).
//
// Over a layer that supports it (AsyncBatcher), two groups overlap. The leader hands over the lead once the layer has
// ordered the group, so the next group is staged and written during the sync of the first. Steps 3 and 4 still happen
// group after group.

const (
	// groupBytes is the size of the data at which a group takes no more writes. It keeps a batch small compared with
	// what engines can hold.
	groupBytes = 16 << 20
	// groupsInFlight is how many groups overlap: one in its sync and one after it, so the disk never waits. More would
	// only make the groups smaller.
	groupsInFlight = 2
	// gatherings is how often the leader yields at most before it takes its group.
	gatherings = 8
)

// pipeline is the queue of writes and the state of the committer.
type pipeline struct {
	mu      sync.Mutex // guards the fields below; held only briefly
	waiting []*write
	leading bool
	closed  bool
	idle    chan struct{} // set by close; closed once there is no leader
	spares  [][]*write    // the memory of future queues

	revision atomic.Uint64         // of the last commit
	first    uint64                // at which the run began
	stopped  atomic.Pointer[error] // why writes are rejected

	overlay overlay

	// writes are spare *write. They belong to the run, because their channels may belong to a bubble of
	// testing/synctest.
	writes sync.Pool

	// Only the leader uses the fields below.
	remarks  []func()        // log calls for the group, made after the lead is handed over
	given    uint64          // the last revision issued
	last     <-chan struct{} // closed when the last ordered group is settled
	inFlight chan struct{}   // a token for each group that is ordered but not settled
	changes  []Change        // the memory of the batch
}

// begin sets the revision after which the run continues.
func (p *pipeline) begin(revision uint64) {
	p.revision.Store(revision)
	p.first, p.given = revision, revision
	p.inFlight = make(chan struct{}, groupsInFlight)
	settled := make(chan struct{})
	close(settled)
	p.last = settled
	p.writes.New = func() any { return &write{wake: make(chan bool, 1)} }
}

// commit passes a write of one key through the pipeline. The request receives the outcome (write.result). Nothing else
// of it is kept.
func (r *run) commit(request *write) error {
	return r.commitContext(context.Background(), request)
}

// commitContext is commit with a context that can withdraw the write while it waits in the queue.
func (r *run) commitContext(ctx context.Context, request *write) error {
	r.keep(request)
	if r.inPlace && request.op.single() {
		return r.commitInPlace(request)
	}
	w := r.pipeline.writes.Get().(*write)
	wake := w.wake
	*w = *request
	w.wake = wake
	err := r.pass(ctx, w)
	request.object, request.revision = w.object, w.revision
	*w = write{wake: wake}
	r.pipeline.writes.Put(w)
	return err
}

// commitInPlace runs a write of one key through all steps in a store without a persistent layer. There is nothing to
// wait for, so it uses no queue and no group. Only the object outlives the call.
func (r *run) commitInPlace(w *write) error {
	p := &r.pipeline
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrNotActive
	}
	began := r.stopwatch()
	if err := r.stageOne(w, p.given+1); err != nil {
		return err
	}
	r.applyOne(w)
	r.noteOne(w)
	p.committed(w.revision)
	r.publishOne(w)
	r.committedSince(began)
	return nil
}

// passAlone is pass in a store without a persistent layer: each write is its own group.
func (r *run) passAlone(w *write) error {
	p := &r.pipeline
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrNotActive
	}
	r.commitGroup([]*write{w})
	remarks := p.remarks
	p.remarks = nil
	p.mu.Unlock()
	for _, remark := range remarks {
		remark()
	}
	return w.err
}

// pass returns when the write is answered, or with the context's error if the write was withdrawn (context.go).
func (r *run) pass(ctx context.Context, w *write) error {
	if r.readOnly && w.op != opInstant {
		return ErrReadOnly
	}
	if r.layer == nil {
		return r.passAlone(w)
	}
	p := &r.pipeline
	if r.mirror != nil && w.op == opInstant {
		return r.passInstant(w)
	}
	if err := r.checkShared(w); err != nil {
		return err
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrNotActive
	}
	p.waiting = append(p.waiting, w)
	if p.leading {
		p.mu.Unlock()
		switch lead, err := p.await(ctx, w); {
		case err != nil:
			return err
		case !lead:
			return w.err
		}
	} else {
		p.leading = true
		p.mu.Unlock()
	}
	if r.async == nil {
		r.lead(w)
	} else if err := r.leadAsync(ctx, w); err != nil {
		return err
	}
	return w.err
}

// lead commits the next group, which begins with w.
func (r *run) lead(w *write) {
	group := r.take()
	r.commitGroup(group)
	r.finish(group, w)
}

// finish answers a group, hands over the lead, and then logs. The order matters: a log handler may write to the store,
// and would otherwise wait for its own leader.
func (r *run) finish(group []*write, leader *write) {
	p := &r.pipeline
	remarks := p.remarks
	p.remarks = nil
	r.answer(group, leader)
	p.handOver()
	for _, remark := range remarks {
		remark()
	}
}

// leadAsync is lead over a layer that orders a group before it is durable. It returns the context's error if it
// withdrew the write.
func (r *run) leadAsync(ctx context.Context, w *write) error {
	p := &r.pipeline
	if err := p.enter(ctx, w); err != nil {
		return err
	}
	defer func() { <-p.inFlight }()
	p.gather()
	group := r.take()
	if !group[0].grouped() || r.retains(group) {
		<-p.last
		r.commitGroup(group)
		r.finish(group, w)
		return nil
	}
	var o orderedGroup
	r.guard(group, func() { o = r.order(group) })
	if o.parted {
		<-p.last
		r.guard(group, func() { r.commitParted(group) })
		r.finish(group, w)
		return nil
	}
	before, settled := p.last, make(chan struct{})
	p.last = settled
	p.handOver()
	r.guard(group, o.wait)
	<-before
	r.guard(group, func() { r.settle(group, o) })
	close(settled)
	r.answer(group, w)
	return nil
}

// gather yields if a group is in flight, so that writers that were just answered can write again. The disk is busy with
// that group anyway, and a write that misses this group waits for another sync.
func (p *pipeline) gather() {
	if isClosed(p.last) {
		return
	}
	for known, round := 0, 0; round < gatherings; round++ {
		runtime.Gosched()
		p.mu.Lock()
		waiting := len(p.waiting)
		p.mu.Unlock()
		if waiting == known {
			return
		}
		known = waiting
	}
}

// take returns the next group.
func (r *run) take() []*write {
	p := &r.pipeline
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 1
	// A layer without batches answers each write individually.
	if p.waiting[0].grouped() && r.atomic() {
		size := p.waiting[0].size()
		for n < len(p.waiting) && p.waiting[n].grouped() && size < groupBytes {
			size += p.waiting[n].size()
			n++
		}
	}
	var spare []*write
	if last := len(p.spares) - 1; last >= 0 {
		spare, p.spares = p.spares[last], p.spares[:last]
	}
	group := p.waiting
	p.waiting = append(spare, group[n:]...)
	clear(group[n:])
	return group[:n]
}

// answer wakes the callers of a group, except its leader.
func (r *run) answer(group []*write, leader *write) {
	for _, w := range group {
		if w != leader {
			w.wake <- false
		}
	}
	clear(group)
	p := &r.pipeline
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.spares) <= groupsInFlight {
		p.spares = append(p.spares, group[:0])
	}
}

// handOver makes the first waiting write the leader.
func (p *pipeline) handOver() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) > 0 {
		p.waiting[0].wake <- true
		return
	}
	p.leading = false
	if p.idle != nil {
		close(p.idle)
	}
}

// close rejects new writes and returns when the waiting ones are answered.
func (p *pipeline) close() {
	p.mu.Lock()
	p.closed = true
	leading := p.leading
	if leading {
		p.idle = make(chan struct{})
	}
	p.mu.Unlock()
	if leading {
		<-p.idle
	}
	<-p.last
}

// commitGroup runs a group through all steps.
func (r *run) commitGroup(group []*write) {
	r.guard(group, func() {
		if err := r.pipeline.cause(); err != nil && group[0].op != opInstant {
			fail(group, err)
			return
		}
		switch op := group[0].op; {
		case op == opInstant:
			group[0].instant(r.pipeline.revision.Load())
		case r.mirror != nil:
			r.commitShared(group)
		case op == opDelGlob:
			r.commitGlob(group[0])
		case op == opClear:
			r.commitClear(group[0])
		default:
			r.commitWrites(group)
		}
	})
}

// passInstant runs an instant between two changes of the follower, under mirror.turn, and not in the queue. A write in
// the queue may wait for an engine that is unreachable.
func (r *run) passInstant(w *write) error {
	p := &r.pipeline
	r.mirror.turn.Lock()
	defer r.mirror.turn.Unlock()
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return ErrNotActive
	}
	w.instant(p.revision.Load())
	return nil
}

// commitWrites runs writes that can share a group through all steps.
func (r *run) commitWrites(group []*write) {
	o := r.order(group)
	if o.parted {
		r.commitParted(group)
		return
	}
	o.wait()
	r.settle(group, o)
}

// commitParted commits the writes of a group that the layer did not reject, in two halves, one after the other.
// Retrying the whole group for each rejected write would cost the product of both numbers.
func (r *run) commitParted(group []*write) {
	left := slices.DeleteFunc(slices.Clone(group), func(w *write) bool { return w.refused })
	r.commitWrites(left[:len(left)/2])
	r.commitWrites(left[len(left)/2:])
}

// guard runs a step of a group. Only foreign code can panic in it: the layer, while it changes its content. Reads of
// the layer have their own guards (upgrade.go). After a panic the callers get an error and the pipeline stops, because
// the state of the layer is unknown.
func (r *run) guard(group []*write, step func()) {
	defer func() {
		if value := recover(); value != nil {
			fail(group, r.pipeline.stop(fmt.Errorf("persistent layer: %w", panicError(value))))
		}
	}()
	step()
}

// fail answers all writes of a group with an error, except those that the layer rejected individually. It also replaces
// earlier answers, because they depended on writes that now fail.
func fail(group []*write, err error) {
	for _, w := range group {
		if !w.refused {
			w.fail(err)
		}
	}
}

// stop makes the pipeline reject writes and returns the error that answers them.
func (p *pipeline) stop(cause error) error {
	stopped := fmt.Errorf("%w, %w", ErrWritesStopped, cause)
	p.stopped.CompareAndSwap(nil, &stopped)
	return p.cause()
}

// cause returns why the pipeline is stopped, or nil while it is not.
func (p *pipeline) cause() error {
	if cause := p.stopped.Load(); cause != nil {
		return *cause
	}
	return nil
}
