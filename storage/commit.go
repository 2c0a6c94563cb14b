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
// Every change of the store is a write in one queue. Whoever finds the queue without a
// leader leads: it takes what waits, a group, commits it, wakes its callers, and hands
// the lead to the first write that has come meanwhile. So there is one committer at
// a time and no goroutine of its own, a lone writer meets no other goroutine, and while one group is in
// the sync of the persistent layer the next one gathers, whatever the engine.
//
// A group is as many writes of known keys as follow each other, or one glob delete, or
// one clear. A batch is one write with parts: they stand and fall together. For each group, in
// this order:
//
//	1 stage    revision, times, conditions, against what is there and what the writes
//	           before it change (stage.go); what is too many in a list (retain.go)
//	2 persist  one atomic batch, one sync (order.go); deletes of patterns go by glob.go
//	3 apply    memory: now visible to readers (apply.go)
//	4 publish  the sharded channels and the feed, in commit order (publish.go)
//
// Then the callers return, and run their hooks. When step 2 fails, the callers get the
// error and nothing else happens. When the layer cannot tell whether it kept the group,
// the pipeline takes no more writes: what is in memory could no longer be known to be what is on
// disk.
//
// In a store without a persistent layer there is nothing to wait for: a write takes pipeline.mu and goes through the
// steps itself, with no queue and no group (commitInPlace, passAlone).
//
// Over a layer that can (AsyncBatcher), two groups overlap: the lead is handed on as soon
// as the layer has the group in its order, so that the next one is staged and
// written while the first is in its sync. Steps 3 and 4 still happen group after group.

const (
	// groupBytes is the data after which a group takes no more writes, so that a
	// batch stays small against what engines can hold.
	groupBytes = 16 << 20
	// groupsInFlight is how many groups overlap: one in its sync, and one behind it, so
	// that the disk need not wait. More would only make the groups smaller.
	groupsInFlight = 2
	// gatherings is how often the leader gives way at most before it takes its group.
	gatherings = 8
)

// pipeline is the queue of writes and the state of the committer.
type pipeline struct {
	mu      sync.Mutex // guards the fields below; held for moments only
	waiting []*write
	leading bool
	closed  bool
	idle    chan struct{} // made by close: closed when nobody leads any more
	spares  [][]*write    // the memory of queues to come

	revision atomic.Uint64         // of the last commit
	first    uint64                // the revision that the run began at
	stopped  atomic.Pointer[error] // why no more writes are taken

	overlay overlay

	// writes are spare *write. They belong to the run, as their channels may to a bubble
	// of testing/synctest.
	writes sync.Pool

	// Only the leader uses what follows.
	remarks  []func()        // what is to be logged of the group, once another may lead
	given    uint64          // the last revision that was given out
	last     <-chan struct{} // closed when the last group that was ordered is settled
	inFlight chan struct{}   // a token for each group that is ordered and not settled
	changes  []Change        // the memory of the batch
}

// begin sets where the revisions go on.
func (p *pipeline) begin(revision uint64) {
	p.revision.Store(revision)
	p.first, p.given = revision, revision
	p.inFlight = make(chan struct{}, groupsInFlight)
	settled := make(chan struct{})
	close(settled)
	p.last = settled
	p.writes.New = func() any { return &write{wake: make(chan bool, 1)} }
}

// commit passes a write of one key through the pipeline. The request has the outcome (write.result); nothing else of it
// is kept.
func (r *run) commit(request *write) error {
	return r.commitContext(context.Background(), request)
}

// commitContext is commit that a context can end while the write waits in the queue.
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

// commitInPlace takes a write of one key through all steps in a store without a persistent layer, where nothing is to
// be waited for: no queue, no group, and nothing that outlives the call but the object.
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

// passAlone is pass in a store without a persistent layer: each write is a group of its own.
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

// pass returns when the write is answered, or with the context's error when it is withdrawn (context.go).
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

// finish answers a group, hands the lead on, and logs what there is to log: a log handler may write to the
// store, and would wait for its own leader.
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

// leadAsync is lead over a layer that orders a group before it is durable. An error is the context's: the write is
// withdrawn.
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

// gather lets the writers come back who were answered just now, if a group is in flight: the disk is busy with that one
// anyway, and what is not in this group has to wait for another sync.
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
	// A layer without batches answers for each write alone.
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

// answer wakes the callers of a group, but for the one that led it.
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

// handOver makes the first write that waits lead.
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

// close takes no more writes and returns when those that wait are answered.
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

// commitGroup takes a group through all steps.
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

// passInstant runs what is to see no change half beside the follower, and not in the queue: a write there may wait for an
// engine that is lost.
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

// commitWrites takes writes that can share a group through all steps.
func (r *run) commitWrites(group []*write) {
	o := r.order(group)
	if o.parted {
		r.commitParted(group)
		return
	}
	o.wait()
	r.settle(group, o)
}

// commitParted commits what the layer did not refuse of a group, in two halves, one after the other: were a
// group tried again as a whole for each write that is refused, its work would grow with their product.
func (r *run) commitParted(group []*write) {
	left := slices.DeleteFunc(slices.Clone(group), func(w *write) bool { return w.refused })
	r.commitWrites(left[:len(left)/2])
	r.commitWrites(left[len(left)/2:])
}

// guard runs a step of a group. Only foreign code can panic in it, a layer that changes what it holds, as reads
// of it have their own guards (upgrade.go): the callers get an error, and since nobody knows how far it
// came, the pipeline stops.
func (r *run) guard(group []*write, step func()) {
	defer func() {
		if value := recover(); value != nil {
			fail(group, r.pipeline.stop(fmt.Errorf("persistent layer: %w", panicError(value))))
		}
	}()
	step()
}

// fail answers all writes of a group with an error, but those that the layer refused for their own sake. Those
// that were answered before had their answers from the writes that now come to nothing.
func fail(group []*write, err error) {
	for _, w := range group {
		if !w.refused {
			w.fail(err)
		}
	}
}

// stop ends the taking of writes and returns what they are answered with.
func (p *pipeline) stop(cause error) error {
	stopped := fmt.Errorf("%w: %w", ErrWritesStopped, cause)
	p.stopped.CompareAndSwap(nil, &stopped)
	return p.cause()
}

// cause is why the pipeline is stopped; nil while it is not.
func (p *pipeline) cause() error {
	if cause := p.stopped.Load(); cause != nil {
		return *cause
	}
	return nil
}
