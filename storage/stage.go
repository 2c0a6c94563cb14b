package storage

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/monotonic"
)

// Staging determines what a group will change, before anything is touched.

// found describes what a write finds at its path.
type found struct {
	exists bool
	// past means that the object is expired and not removed yet; exists is false.
	past             bool
	created, expires int64
	own              int64 // the end of its own time to live, without Retention
	revision         uint64
	// broken is the reason (ErrUndecodable) if the stored entry is not an object. Then object has only its path.
	broken error
	// object is the stored object; nil if memory holds it, or if an earlier write that is not applied yet stored it.
	object *meta.Object
	// spot is its position in memory, or the position it would have.
	spot pathtree.Spot
	// by is that earlier write. Once it is applied, its caller may reuse it. So only a write of the same group may read
	// it.
	by *write
}

// foundObject returns the found of obj, whose own time to live ends at own.
func (r *run) foundObject(obj *meta.Object, own int64) found {
	f := found{exists: true, created: obj.Created, expires: r.expiryOf(obj), own: own, revision: obj.Revision, object: obj}
	return f.asOfNow()
}

// asOfNow sets past instead of exists if the object is expired by now.
func (f found) asOfNow() found {
	if f.exists && expired(f.expires) {
		f.exists, f.past = false, true
	}
	return f
}

// overlay holds the writes that are staged and not yet applied, by key.
type overlay struct {
	mu sync.Mutex // guards the map below, and write.under
	// keys holds the last such write of each key. write.under links it to the earlier ones, which count again if the
	// layer rejects the last one.
	keys map[string]*write
	size atomic.Int32 // of keys
}

func (o *overlay) get(path string, f *found) bool {
	if o.size.Load() == 0 { // only the leader, which runs here, increases it
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.keys[path]
	if w == nil {
		return false
	}
	*f = w.asFound()
	return true
}

// whole is get, plus the stored object, for writes that store its data again.
func (o *overlay) whole(path string) (f found, obj meta.Object, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.keys[path]
	if w == nil {
		return found{}, meta.Object{}, false
	}
	return w.asFound(), w.object, true
}

// asFound returns what a write finds after w, which is staged and not applied.
func (w *write) asFound() found {
	f := found{
		exists: w.stores(), created: w.object.Created, expires: w.object.Expires, own: w.own, revision: w.revision, by: w,
	}
	return f.asOfNow()
}

func (o *overlay) put(w *write) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.keys == nil {
		o.keys = make(map[string]*write)
	}
	path := w.target()
	w.under = o.keys[path]
	o.keys[path] = w
	o.size.Store(int32(len(o.keys)))
}

// drop removes writes. Writes that it does not hold are ignored.
func (o *overlay) drop(leaves []*write) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.keys) == 0 {
		return
	}
	for _, w := range slices.Backward(leaves) {
		path := w.target()
		switch last := o.keys[path]; {
		case last != w:
			for ; last != nil; last = last.under {
				if last.under == w {
					last.under = w.under
					break
				}
			}
		case w.under != nil:
			o.keys[path] = w.under
		default:
			delete(o.keys, path)
		}
		w.under = nil
	}
	o.size.Store(int32(len(o.keys)))
}

// stage gives each write its revision, starting after p.given, and its object. It answers the writes that fail, skips
// those already answered, and returns the number of changes.
func (r *run) stage(group []*write) (live int) {
	p := &r.pipeline
	// A single write that is applied before the next is staged needs no overlay.
	overlaid := len(group) > 1 || r.async != nil || len(r.options.Retention) > 0
	for _, w := range group {
		if w.err != nil {
			continue
		}
		next := p.given + uint64(live) + 1
		if w.op == opBatch {
			live += r.stageBatch(w, next)
			continue
		}
		if w.err = r.stageOne(w, next); w.err != nil {
			continue
		}
		if overlaid {
			p.overlay.put(w)
		}
		live++
	}
	return live
}

// stageBatch stages the parts of a batch, all or none. Their revisions are consecutive.
func (r *run) stageBatch(batch *write, revision uint64) (live int) {
	var named map[string]bool
	for _, w := range batch.parts {
		err := r.stageOne(w, revision+uint64(live))
		if err == nil && w.op == opPush {
			if named == nil {
				named = batch.named()
			}
			if path := w.target(); named[path] {
				err = fmt.Errorf("%w, %q", ErrDuplicateKey, path)
			}
		}
		if errors.Is(err, ErrNotFound) && batch.lenient {
			w.err = err
			continue
		}
		if err != nil {
			batch.fail(fmt.Errorf("%q, %w", w.path, err))
			return 0
		}
		live++
	}
	for _, w := range batch.parts {
		if w.err == nil {
			r.pipeline.overlay.put(w)
		}
	}
	return live
}

// named returns the paths that the parts of a batch name. No push may create one of them. The paths of pushes differ
// from each other because their times differ.
func (w *write) named() map[string]bool {
	paths := make(map[string]bool)
	for _, part := range w.parts {
		if part.op != opPush {
			paths[part.path] = true
		}
	}
	return paths
}

func (r *run) stageOne(w *write, revision uint64) (err error) {
	now := monotonic.Now()
	path := w.path
	if w.op == opTouch {
		var there meta.Object
		if w.found, there, err = r.findWhole(path); err != nil {
			return err
		}
		w.created, w.updated = there.Created, there.Updated
		w.data = there.Data // shared with the stored object: data in a store is immutable
	} else if w.op == opPush {
		// The time is unique in this process. An earlier process with another clock may have used it.
		for path = w.name(now); ; path = w.name(now) {
			if err = r.find(path, &w.found); err != nil {
				return err
			}
			if !w.found.exists {
				break
			}
			now = monotonic.Now()
		}
	} else if err = r.find(path, &w.found); err != nil {
		return err
	}
	if err := w.condition.check(path, &w.found, r.locks); err != nil {
		return err
	}
	w.revision = revision
	switch {
	case w.op == opExpire:
		if !w.found.past {
			return ErrNotFound
		}
		return nil
	case w.op == opDel:
		if !w.found.exists {
			return ErrNotFound
		}
		return nil
	case w.op == opTouch:
		switch {
		case w.found.broken != nil:
			return fmt.Errorf("persistent layer: %w", w.found.broken)
		case !w.found.exists:
			return ErrNotFound
		}
		w.object.Created, w.object.Updated = w.created, w.updated
	case w.op == opSetMeta:
		w.object.Created, w.object.Updated = w.created, w.updated
	case w.found.exists && w.found.broken == nil:
		w.object.Created, w.object.Updated = w.found.created, now
	default:
		w.object.Created, w.object.Updated = now, 0
	}
	w.object.Path, w.object.Index = path, key.LastIndex(path)
	w.object.Data, w.object.Revision = w.data, revision
	switch {
	case w.keepsExpiry && w.found.exists:
		w.own = w.found.own
	case w.ttl > 0:
		w.own = endOf(w.ttl)
	default:
		w.own = w.expires
	}
	w.object.Expires = w.own
	if w.object.Expires = r.expiryOf(&w.object); w.object.Expires != 0 {
		r.expiring.Store(true) // before any reader of the layer can see it
	}
	return nil
}

// name returns the path of a push at a time.
func (w *write) name(now int64) string {
	if w.made == nil {
		return key.At(w.path, now)
	}
	if w.found.exists || w.object.Path != "" { // an earlier path did not work out, and the layer may still refer to it
		w.made = pathtree.NewPush(w.path, w.data)
	}
	w.made = w.made.NamedAt(w.path, now)
	return w.made.Path()
}

// findWhole is find, plus the object if there is one.
func (r *run) findWhole(path string) (found, meta.Object, error) {
	// Only the leader adds writes to the overlay, so find cannot meet one that is absent here.
	if f, obj, ok := r.pipeline.overlay.whole(path); ok {
		return f, obj, nil
	}
	var f found
	if err := r.find(path, &f); err != nil {
		return f, meta.Object{}, err
	}
	switch {
	case f.spot.Version != nil:
		return f, f.spot.Version.Object(), nil
	case f.object != nil:
		return f, *f.object, nil
	}
	return f, meta.Object{}, nil
}

// find sets f to what a write finds at a path.
func (r *run) find(path string, f *found) (err error) {
	if r.pipeline.overlay.get(path, f) {
		return nil
	}
	if memory, ok := r.view.(memoryView); ok {
		return memory.findInto(path, f) // a static call, so the write stays on the stack
	}
	*f, err = r.view.find(path)
	return err
}
