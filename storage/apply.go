package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/meta"
)

// The steps of a commit behind its staging. This is the only code that changes layers.

// ordered is what becomes of a group between its order and its end.
type ordered struct {
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
	// unhide lets memory at the group's keys again.
	unhide func()
	err    error         // of durable
	began  time.Duration // by run.stopwatch
}

// order stages the writes of a group and gives them to the persistent layer. It answers
// those that come to nothing.
func (r *run) order(group []*write) (o ordered) {
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
			return ordered{}
		}
		if trimming && len(r.options.Retention) > 0 {
			var err error
			n := len(o.leaves)
			// After an error too these are all that are staged.
			if o.leaves, err = r.trim(o.leaves, p.ordered+uint64(live)+1); err != nil {
				p.overlay.drop(o.leaves)
				fail(group, err)
				return ordered{}
			}
			// One by one, a push and then a delete would show a list too long in between.
			o.trimmed = len(o.leaves) > n
			o.atOnce = o.atOnce || o.trimmed || len(group) > 1 && r.retains(group)
		}
		o.unhide = r.hide(o.leaves)
		durable, refused, err := r.persistTimed(o.leaves)
		if err == nil {
			p.ordered = lastRevisionOf(o.leaves)
			o.durable = durable
			return o
		}
		o.unhide()
		p.overlay.drop(o.leaves)
		if refused == nil {
			fail(group, err)
			return ordered{}
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
			return ordered{parted: true}
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
func (o *ordered) wait() {
	if o.durable != nil {
		o.err = o.durable()
	}
}

// settle makes a group visible, in memory and to watchers, or answers it with the error of the
// persistent layer. The groups before it are settled.
func (r *run) settle(group []*write, o ordered) {
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

// hide keeps the cache off the keys of a group until unhide (cache.go).
func (r *run) hide(leaves []*write) (unhide func()) {
	if r.cache == nil {
		return func() {}
	}
	return r.cache.hide(leaves)
}

func (r *run) hidePaths(paths []string) (unhide func()) {
	if r.cache == nil {
		return func() {}
	}
	return r.cache.hidePaths(paths)
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

// apply makes the changes of a group visible in memory, and notes what expires.
func (r *run) apply(o ordered) {
	switch {
	case r.cache != nil:
		r.cache.apply(o.leaves)
	case r.memory == nil:
	case o.atOnce:
		r.applyAtOnce(o.leaves)
	default:
		for _, w := range o.leaves {
			if w.err == nil {
				r.applyOne(w)
			}
		}
	}
	r.note(o.leaves)
}

// applyOne applies one change.
func (r *run) applyOne(w *write) {
	if w.stores() {
		w.version = r.memory.PutAt(w.found.spot, &w.object)
		return
	}
	// What memory holds now is what the writes before left, and is whole.
	if n, ok := r.memory.Stored(w.path); ok {
		w.found.spot.Version = n
		r.memory.Delete(w.path)
	}
}

// applyAtOnce applies changes in one instant. Of several of one key only the last is seen.
func (r *run) applyAtOnce(leaves []*write) {
	changes := make([]pathtree.Mutation, 0, len(leaves))
	last := make(map[string]int, len(leaves)) // the place in changes of a path
	writers := make([]*write, 0, len(leaves))
	for _, w := range leaves {
		if w.err != nil {
			continue
		}
		path := w.target()
		at, again := last[path]
		change := pathtree.Mutation{Path: path}
		if w.stores() {
			change.Object = &w.object
		} else if again {
			w.found.object = writers[at].shared()
		} else if n, ok := r.memory.Stored(path); ok {
			w.found.spot.Version = n
		}
		if again {
			changes[at], writers[at] = change, w
			continue
		}
		last[path] = len(changes)
		changes, writers = append(changes, change), append(writers, w)
	}
	for i, version := range r.memory.Apply(changes) {
		writers[i].version = version
	}
}

// committed notes the revision of a change that committed alone, once readers see it.
func (p *pipeline) committed(revision uint64) {
	p.ordered = revision
	p.revision.Store(revision)
}

// commitGlob deletes what matches a pattern. All its deletes have one revision.
func (r *run) commitGlob(w *write) {
	began := r.stopwatch()
	doomed, err := r.doomed(w.path)
	if err != nil {
		w.err = err
		return
	}
	if len(doomed) == 0 {
		// Nothing changes, and the layer hears nothing of it: a revision would be given out again
		// after a restart.
		r.publishGlob(w, nil)
		r.committedSince(began)
		return
	}
	paths := make([]string, len(doomed))
	for i := range doomed {
		paths[i] = doomed[i].path
	}
	defer r.hidePaths(paths)()
	revision := r.pipeline.ordered + 1
	if w.err = r.persistGlob(doomed, revision); w.err != nil {
		return
	}
	if !r.fromLayer() {
		r.memory.DeleteAll(paths)
	}
	r.pipeline.committed(revision)
	r.forget(paths)
	w.revision = revision
	r.publishGlob(w, doomed)
	r.committedSince(began)
}

// removal is an object that a glob delete or a clear removes.
type removal struct {
	path    string
	version *pathtree.Version // in memory
	object  *meta.Object      // nil until somebody wants it of memory
}

// removed returns the object, to be kept by anybody.
func (d *removal) removed() *meta.Object {
	if d.object == nil {
		obj := d.version.Object()
		d.object = &obj
	}
	return d.object
}

// doomed returns what a glob delete removes, or all for an empty pattern, in no order: writers wait meanwhile.
func (r *run) doomed(pattern string) (doomed []removal, err error) {
	var now moment
	if !r.fromLayer() {
		for _, list := range pathtree.Match(r.memory.Collect(pattern), pattern) {
			doomed = slices.Grow(doomed, len(list))
			for _, n := range list {
				if !now.past(n.Expires()) {
					doomed = append(doomed, removal{path: n.Path(), version: n})
				}
			}
		}
		return doomed, nil
	}
	for obj, err := range Scan(r.layer, pattern) {
		if err != nil {
			return nil, fmt.Errorf("persistent layer: %w", err)
		}
		obj.Revision = r.revisionOf(&obj)
		if r.batch != nil && !r.feed.keeping.Load() {
			obj.Data = nil // only an undo and subscribers need it
		}
		if !now.past(r.expiryOf(&obj)) {
			doomed = append(doomed, removal{path: obj.Path, object: &obj})
		}
	}
	return doomed, nil
}

// everything returns all objects, those that are expired and not removed yet included.
func (r *run) everything() (all []removal, err error) {
	if !r.fromLayer() {
		for _, list := range r.memory.Collect("") {
			for _, n := range list {
				all = append(all, removal{path: n.Path(), version: n})
			}
		}
		return all, nil
	}
	for obj, err := range Scan(r.layer, "") {
		if err != nil {
			return nil, fmt.Errorf("persistent layer: %w", err)
		}
		r.complete(&obj)
		all = append(all, removal{path: obj.Path, object: &obj})
	}
	return all, nil
}

// persistGlob deletes objects from the persistent layer, all or none.
func (r *run) persistGlob(doomed []removal, revision uint64) error {
	if r.layer == nil {
		return nil
	}
	defer r.persistedSince(r.clock())
	if r.batch != nil {
		changes := make([]Change, len(doomed))
		for i := range doomed {
			changes[i] = Change{Key: doomed[i].path, Revision: revision}
		}
		return r.commitBatch(changes)
	}
	if r.fromLayer() {
		// Deletes one by one: no read of the layer may show half of them.
		r.whole.Lock()
		defer r.whole.Unlock()
	}
	for i, d := range doomed {
		if err := r.layer.Del(d.path); err != nil {
			err = fmt.Errorf("persistent layer: %s: %w", d.path, err)
			return r.restore(doomed[:i], err)
		}
	}
	return nil
}

// restore undoes deletes in a layer that cannot batch, after cause ended them. When it
// cannot, the pipeline stops.
func (r *run) restore(deleted []removal, cause error) error {
	for i := range deleted {
		kept := *deleted[i].removed()
		if !r.fromLayer() && kept.Expires != 0 {
			kept.Expires = r.expirer.own(kept.Path) // memory's is the end that a rule sets, too
		}
		if err := r.layer.Set(kept.Path, &kept); err != nil {
			return r.pipeline.stop(fmt.Errorf("%w; and putting %s back failed: %w", cause, kept.Path, err))
		}
	}
	return cause
}

// commitClear removes everything.
func (r *run) commitClear(w *write) {
	began := r.stopwatch()
	var doomed []removal
	if r.feed.keeping.Load() {
		if doomed, w.err = r.everything(); w.err != nil {
			return
		}
	}
	revision := r.pipeline.ordered + 1
	if r.cache != nil {
		defer r.cache.fills.commit()()
		r.cache.objects.Clear()
	}
	if w.err = r.persistClear(revision); w.err != nil {
		return
	}
	if !r.fromLayer() {
		r.memory.Clear()
	}
	r.pipeline.committed(revision)
	r.forgetAll()
	w.revision = revision
	r.publishGlob(w, doomed)
	r.committedSince(began)
}

func (r *run) persistClear(revision uint64) error {
	defer r.persistedSince(r.clock())
	switch {
	case r.layer == nil:
		return nil
	case r.batch != nil:
		return r.commitBatch([]Change{{Clear: true, Revision: revision}})
	}
	if r.fromLayer() {
		r.whole.Lock()
		defer r.whole.Unlock()
	}
	// Layer.Clear cannot say that it failed: what is left does.
	r.layer.Clear()
	left, err := r.layer.Keys()
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("%d keys are left, %q the first", len(left), left[0])
	}
	if err != nil {
		return r.pipeline.stop(fmt.Errorf("persistent layer: clear: %w", err))
	}
	return nil
}
