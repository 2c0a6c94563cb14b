package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// The order: a group is staged and given to the persistent layer, and, once that has it for good, applied and
// published. Everything that can fail is here and in what it calls.

// orderedGroup is what becomes of a group between its order and its end.
type orderedGroup struct {
	// leaves are the changes of the group, those that a list's limit removes included.
	leaves []*write
	// atOnce says that readers must see all of them in one instant.
	atOnce bool
	// trimmed says that some of them keep lists within their limits. All are then one change to subscribers,
	// who would find a list too long behind a push and before its delete.
	trimmed bool
	// parted says that the layer refused more than one write: what is left is to be committed in parts.
	parted bool
	// durable waits until the persistent layer has the group for good; nil when it has.
	durable func() error
	// unhide lets readers see the group's keys again (view.hide).
	unhide func()
	err    error         // of durable
	began  time.Duration // by run.stopwatch
}

// order stages the writes of a group and gives them to the persistent layer. It answers
// those that come to nothing.
func (r *run) order(group []*write) (o orderedGroup) {
	p := &r.pipeline
	if err := p.cause(); err != nil {
		fail(group, err)
		return o
	}
	o.began = r.stopwatch()
	trimming := true
	for refusals := 0; ; {
		live := r.stage(group)
		o.leaves = leaves(group)
		o.atOnce = len(o.leaves) > len(group)
		if live == 0 {
			return orderedGroup{}
		}
		if trimming && len(r.options.Retention) > 0 {
			var err error
			n := len(o.leaves)
			// After an error too these are all that are staged.
			if o.leaves, err = r.trim(o.leaves, p.given+uint64(live)+1); err != nil {
				p.overlay.drop(o.leaves)
				fail(group, err)
				return orderedGroup{}
			}
			// One by one, a push and then a delete would show a list too long in between.
			o.trimmed = len(o.leaves) > n
			o.atOnce = o.atOnce || o.trimmed || len(group) > 1 && r.retains(group)
		}
		o.unhide = r.view.hide(o.leaves)
		durable, refused, err := r.persistTimed(o.leaves)
		if err == nil {
			p.given = lastRevisionOf(o.leaves)
			o.durable = durable
			return o
		}
		o.unhide()
		p.overlay.drop(o.leaves)
		if refused == nil {
			fail(group, err)
			return orderedGroup{}
		}
		if refused.op == opTrim {
			// A list that is too long does less harm than a write that fails.
			path := refused.path
			p.remarks = append(p.remarks, func() {
				r.options.Logger.Error("oolith: a list is longer than its limit", slog.String("path", path), slog.Any("error", err))
			})
			trimming = false
		}
		// The others are staged anew, those that came to nothing too: what they found may
		// have been the refused write.
		if refused.whole != nil {
			err = fmt.Errorf("%q: %w", refused.target(), err)
			refused = refused.whole
		}
		refused.refused = true
		left := 0
		for _, w := range group {
			if !w.refused {
				w.fail(nil)
				left++
			}
		}
		refused.fail(err)
		if refused.op != opTrim {
			refusals++
		}
		if refusals > 1 && left > 1 {
			return orderedGroup{parted: true}
		}
	}
}

// lastRevisionOf is the revision of the last change that was staged.
func lastRevisionOf(leaves []*write) (last uint64) {
	for _, w := range leaves {
		if w.err == nil {
			last = w.revision
		}
	}
	return last
}

// wait returns when the persistent layer has the group for good, or failed.
func (o *orderedGroup) wait() {
	if o.durable != nil {
		o.err = o.durable()
	}
}

// settle makes a group visible, in memory and to watchers, or answers it with the error of the
// persistent layer. The groups before it are settled.
func (r *run) settle(group []*write, o orderedGroup) {
	p := &r.pipeline
	err := p.cause() // of a group before this one
	if o.err != nil {
		err = p.stop(fmt.Errorf("persistent layer: %w", o.err))
	}
	if err != nil {
		fail(group, err)
	}
	if err == nil && len(o.leaves) > 0 {
		r.apply(o)
		p.revision.Store(max(p.revision.Load(), lastRevisionOf(o.leaves)))
		r.publish(o)
		r.committedSince(o.began)
	}
	p.overlay.drop(o.leaves)
	if o.unhide != nil {
		o.unhide()
	}
}

// persist gives the staged writes of a group to the persistent layer. On an error refused
// is the one write that it concerns, or nil when it concerns all.
func (r *run) persist(leaves []*write) (durable func() error, refused *write, err error) {
	switch {
	case r.layer == nil:
		return nil, nil, nil
	case r.batch == nil:
		w := leaves[0] // the only one
		if w.stores() {
			err = r.layer.Set(w.object.Path, w.durable())
		} else {
			err = r.layer.Del(w.path)
		}
		if err != nil {
			return nil, w, fmt.Errorf("persistent layer: %w", err)
		}
		return nil, nil, nil
	}
	p := &r.pipeline
	changes := p.changes[:0]
	for _, w := range leaves {
		if w.err != nil {
			continue
		}
		c := Change{Key: w.target(), Revision: w.revision}
		if w.stores() {
			c.Object = w.durable()
		}
		changes = append(changes, c)
	}
	if r.async != nil {
		durable, err = r.async.CommitAsync(changes)
	} else {
		err = r.batch.Commit(changes)
	}
	at, err := r.judge(err, len(changes))
	clear(changes)
	p.changes = changes
	if at < 0 {
		return durable, nil, err
	}
	for _, w := range leaves {
		if w.err == nil {
			if at == 0 {
				refused = w
				break
			}
			at--
		}
	}
	return nil, refused, err
}

// commitBatch commits changes that stand and fall together.
func (r *run) commitBatch(changes []Change) error {
	_, err := r.judge(r.batch.Commit(changes), len(changes))
	return err
}

// judge looks at an error of a batch of n changes: at is the index of the one change that
// it refuses, or -1. When it is unknown whether the layer kept the batch, the pipeline stops.
func (r *run) judge(err error, n int) (at int, judged error) {
	if err == nil {
		return -1, nil
	}
	if entry, ok := errors.AsType[*EntryError](err); ok && entry.Index >= 0 && entry.Index < n {
		return entry.Index, fmt.Errorf("persistent layer: %w", entry.Err)
	}
	return -1, r.pipeline.stop(fmt.Errorf("persistent layer: %w", err))
}

// committed notes the revision of a change that committed alone, once readers see it.
func (p *pipeline) committed(revision uint64) {
	p.given = revision
	p.revision.Store(revision)
}
