package storage

import (
	"fmt"
)

// Deletes of patterns and of everything. Each is a commit of its own, with the usual steps.

// commitGlob deletes the objects that match a pattern. All its deletes share one revision.
func (r *run) commitGlob(w *write) {
	began := r.stopwatch()
	doomed, err := r.view.matching(w.path)
	if err != nil {
		w.err = err
		return
	}
	if len(doomed) == 0 {
		// Nothing changes and the layer stores nothing. A new revision would be assigned again after a restart.
		r.publishGlob(w, nil)
		r.committedSince(began)
		return
	}
	paths := pathsOf(doomed)
	defer r.view.hidePaths(paths)()
	revision := r.pipeline.given + 1
	if w.err = r.persistGlob(doomed, revision); w.err != nil {
		return
	}
	r.view.remove(paths)
	r.pipeline.committed(revision)
	r.forget(paths)
	w.revision = revision
	r.publishGlob(w, doomed)
	r.committedSince(began)
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
	// The layer deletes one by one. No read of the layer may see only some of the deletes.
	r.whole.Lock()
	defer r.whole.Unlock()
	for i, d := range doomed {
		if err := r.layer.Del(d.path); err != nil {
			err = fmt.Errorf("persistent layer: %q, %w", d.path, err)
			return r.restore(doomed[:i], err)
		}
	}
	return nil
}

// restore undoes deletes in a layer without batches after cause interrupted them. If it fails, the pipeline stops.
func (r *run) restore(deleted []removal, cause error) error {
	for i := range deleted {
		kept := *deleted[i].removed()
		kept.Expires = deleted[i].own
		if err := r.layer.Set(kept.Path, &kept); err != nil {
			return r.pipeline.stop(fmt.Errorf("%w; restoring %q failed, %w", cause, kept.Path, err))
		}
	}
	return cause
}

// commitClear removes everything.
func (r *run) commitClear(w *write) {
	began := r.stopwatch()
	var doomed []removal
	if r.feed.keeping.Load() {
		if doomed, w.err = r.view.everything(); w.err != nil {
			return
		}
	}
	revision := r.pipeline.given + 1
	defer r.view.hideAll()()
	if w.err = r.persistClear(revision); w.err != nil {
		return
	}
	r.view.clear()
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
	r.whole.Lock()
	defer r.whole.Unlock()
	// Layer.Clear cannot return an error, so check for remaining keys.
	r.layer.Clear()
	left, err := r.layer.Keys()
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("%d keys are left, %q the first", len(left), left[0])
	}
	if err != nil {
		return r.pipeline.stop(fmt.Errorf("persistent layer: clear, %w", err))
	}
	return nil
}
