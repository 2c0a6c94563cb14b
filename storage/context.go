package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/oolith-db/oolith/meta"
)

// Writes with a context, for callers that cannot wait for a disk indefinitely.

// SetContext is SetWith with a context that can withdraw the write while it waits for its turn. Nothing is written
// then, and the error is the context's. Once a commit includes the write, the call waits for the outcome even if the
// context ends. An error of the context therefore always means that nothing was written.
func (l *Layered) SetContext(ctx context.Context, path string, data json.RawMessage, opt SetOptions) (meta.Object, error) {
	if err := checkContext(ctx); err != nil {
		return meta.Object{}, failed("set", path, err)
	}
	return l.store(ctx, "set", opSet, path, data, opt)
}

// CommitContext is Commit with a context, as SetContext is SetWith.
func (l *Layered) CommitContext(ctx context.Context, batch *Batch) ([]meta.Object, error) {
	if err := checkContext(ctx); err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	return l.commitAll(ctx, batch)
}

// UpdateContext is Update with a context, as SetContext is SetWith. It also checks the context before each call of
// the function. It does not interrupt a read of the persistent layer.
func (l *Layered) UpdateContext(ctx context.Context, path string, change func(old meta.Object) (json.RawMessage, error)) (meta.Object, error) {
	if err := checkContext(ctx); err != nil {
		return meta.Object{}, failed("update", path, err)
	}
	return l.updateContext(ctx, path, change)
}

// A write is in the queue until the leader takes it; both hold pipeline.mu. A write that is still in the queue can be
// withdrawn. For any other write the caller waits for the outcome.

// await returns when a queued write is answered or has to lead. It returns the context's error if it withdrew the
// write.
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
	return <-w.wake, nil // false: its group is being committed
}

// enter waits until another group may be in flight. It returns the context's error if it withdrew the leading write.
func (p *pipeline) enter(ctx context.Context, w *write) error {
	select {
	case p.inFlight <- struct{}{}:
		return nil
	case <-ctx.Done():
	}
	p.withdraw(w) // still in the queue, since only the leader takes writes
	p.handOver()
	return ctx.Err()
}

// withdraw removes a write from the queue and reports whether it was there. A write that was told to lead passes the
// lead on.
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
