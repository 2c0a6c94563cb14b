package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/oolith-db/oolith/meta"
)

// Writes that a context can end, for those who cannot wait for a disk however long it takes.

// SetContext is SetWith that a context can end while the write waits for its turn: then nothing is written, and the
// error is the context's. Once the write is in a commit, the call waits for the outcome, whatever becomes of the
// context: an error of the context always means that nothing was written. A context that has ended before the call
// writes nothing.
func (l *Layered) SetContext(ctx context.Context, path string, data json.RawMessage, opt SetOptions) (meta.Object, error) {
	if err := checkContext(ctx); err != nil {
		return meta.Object{}, failed("set", path, err)
	}
	return l.store(ctx, "set", opSet, path, data, opt)
}

// CommitContext is Commit that a context can end, as it can SetContext.
func (l *Layered) CommitContext(ctx context.Context, batch *Batch) ([]meta.Object, error) {
	if err := checkContext(ctx); err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	return l.commitAll(ctx, batch)
}

// UpdateContext is Update that a context can end, as it can SetContext: before each call of the function too. A read
// of the persistent layer that is under way is waited for.
func (l *Layered) UpdateContext(ctx context.Context, path string, change func(old meta.Object) (json.RawMessage, error)) (meta.Object, error) {
	if err := checkContext(ctx); err != nil {
		return meta.Object{}, failed("update", path, err)
	}
	return l.updateContext(ctx, path, change)
}

// A write is in the queue until the leader takes it, both under pipeline.mu. So a write that is still there can be
// withdrawn, and of one that is not there the outcome is awaited.

// await returns when a write in the queue is answered, or has to lead; or with the context's error, when that withdraws
// it.
func (p *pipeline) await(ctx context.Context, w *write) (lead bool, err error) {
	ended := ctx.Done()
	if ended == nil {
		return <-w.wake, nil
	}
	select {
	case lead := <-w.wake:
		return lead, nil
	case <-ended:
	}
	if p.withdraw(w) {
		return false, ctx.Err()
	}
	return <-w.wake, nil // its group is under way: false
}

// enter waits until another group may be in flight; or returns with the context's error, when that withdraws the write
// that leads.
func (p *pipeline) enter(ctx context.Context, w *write) error {
	select {
	case p.inFlight <- struct{}{}:
		return nil
	case <-ctx.Done():
	}
	p.withdraw(w) // it is in the queue: nobody else takes
	p.handOver()
	return ctx.Err()
}

// withdraw takes a write out of the queue, and reports whether it was there. One that was told to lead passes the lead
// on.
func (p *pipeline) withdraw(w *write) bool {
	p.mu.Lock()
	at := slices.Index(p.waiting, w)
	if at < 0 {
		p.mu.Unlock()
		return false
	}
	p.waiting = slices.Delete(p.waiting, at, at+1)
	lead := false
	select {
	case lead = <-w.wake:
	default:
	}
	p.mu.Unlock()
	if lead {
		p.handOver()
	}
	return true
}
