package storage

import (
	"fmt"
	"slices"

	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/meta"
)

// Deletes of a pattern, and of everything. Each commits alone, in the same steps.

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
