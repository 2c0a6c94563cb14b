package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Ordering stages a group and passes it to the persistent layer. Once the group is durable it is applied and published.
// Everything that can fail is here and in the functions called from here.

// orderedGroup is a group between its order and its end.
type orderedGroup struct {
	// leaves are the changes of the group, including deletes by the limit of a list.
	leaves []*write
	// atOnce means that readers must see all of them in one instant.
	atOnce bool
	// trimmed means that some of them keep lists within their limits. All are then one change for subscribers.
	// Otherwise a subscriber would see a list that is too long between a push and its delete.
	trimmed bool
	// parted means that the layer rejected more than one write: the rest must be committed in parts.
	parted bool
	// durable waits until the group is durable in the persistent layer; nil if it already is.
	durable func() error
	// unhide makes the group's keys visible to readers again (view.hide).
	unhide func()
	err    error         // returned by durable
	began  time.Duration // by run.stopwatch
}

// order stages the writes of a group and passes them to the persistent layer. It answers the writes that fail.
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
			// After an error these are also all staged writes.
			if o.leaves, err = r.trim(o.leaves, p.given+uint64(live)+1); err != nil {
				p.overlay.drop(o.leaves)
				fail(group, err)
				return orderedGroup{}
			}
			// If applied one by one, a push and its delete would show a list that is too long in between.
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
			// A list that is too long does less harm than a failed write.
			path := refused.path
			p.remarks = append(p.remarks, func() {
				r.options.Logger.Error("oolith: a list is longer than its limit", slog.String("path", path), slog.Any("error", err))
			})
			trimming = false
		}
		// The others are staged again, including those that failed: they may have found the rejected write.
		if refused.whole != nil {
			err = fmt.Errorf("%q, %w", refused.target(), err)
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

// lastRevisionOf returns the revision of the last staged change.
func lastRevisionOf(leaves []*write) (last uint64) {
	for _, w := range leaves {
		if w.err == nil {
			last = w.revision
		}
	}
	return last
}

// wait returns when the group is durable in the persistent layer, or has failed.
func (o *orderedGroup) wait() {
	if o.durable != nil {
		o.err = o.durable()
	}
}

// settle makes a group visible, in memory and to consumers, or answers it with the error of the persistent layer. All
// earlier groups are settled.
func (r *run) settle(group []*write, o orderedGroup) {
	p := &r.pipeline
	err := p.cause() // of an earlier group
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

// persist passes the staged writes of a group to the persistent layer. On an error, refused is the one write that
// caused it, or nil if it concerns all.
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

// commitBatch commits changes atomically.
func (r *run) commitBatch(changes []Change) error {
	_, err := r.judge(r.batch.Commit(changes), len(changes))
	return err
}

// judge interprets the error of a batch of n changes. at is the index of the one change that the layer rejects, or -1.
// If it is unknown whether the layer kept the batch, the pipeline stops.
func (r *run) judge(err error, n int) (at int, judged error) {
	if err == nil {
		return -1, nil
	}
	if entry, ok := errors.AsType[*EntryError](err); ok && entry.Index >= 0 && entry.Index < n {
		return entry.Index, fmt.Errorf("persistent layer: %w", entry.Err)
	}
	return -1, r.pipeline.stop(fmt.Errorf("persistent layer: %w", err))
}

// committed records the revision of a change that committed alone, once readers see it.
func (p *pipeline) committed(revision uint64) {
	p.given = revision
	p.revision.Store(revision)
}
