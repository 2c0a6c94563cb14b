package storage

import (
	"errors"
	"fmt"
	"sync"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/monotonic"
)

// Staging: what a group will change, worked out before anything is touched.

// found is what a write finds at its path.
type found struct {
	exists  bool
	created int64
	// object is what is there; nil when an earlier write that is not applied yet put it
	// there.
	object *meta.Object
	// by is that write. Once it is applied its caller may use it anew: only where
	// both are of one group may it be looked into.
	by *write
}

// overlay knows what writes that are staged and not yet applied do to their keys.
type overlay struct {
	mu   sync.Mutex // guards the map below
	keys map[string]found
}

func (o *overlay) get(path string) (found, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f, ok := o.keys[path]
	return f, ok
}

func (o *overlay) put(w *write) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.keys == nil {
		o.keys = make(map[string]found)
	}
	o.keys[w.target()] = found{exists: w.op != opDel, created: w.object.Created, by: w}
}

// drop forgets writes, unless later ones stand in their place.
func (o *overlay) drop(group []*write) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.keys) == 0 {
		return
	}
	for _, w := range group {
		if path := w.target(); o.keys[path].by == w {
			delete(o.keys, path)
		}
	}
}

// stage gives each write its revision, from p.ordered on, and its object. It answers the
// writes that come to nothing, passes over those that are answered, and returns how many
// are left.
func (r *run) stage(group []*write) (live int) {
	p := &r.pipeline
	// A lone write that is applied before the next is staged needs no overlay.
	overlaid := len(group) > 1 || r.async != nil
	for _, w := range group {
		if w.err != nil {
			continue
		}
		if w.err = r.stageOne(w, p.ordered+uint64(live)+1); w.err != nil {
			continue
		}
		if overlaid {
			p.overlay.put(w)
		}
		live++
	}
	return live
}

func (r *run) stageOne(w *write, revision uint64) (err error) {
	now := monotonic.Now()
	path := w.path
	if w.op == opPush {
		// The time is unique in this process; an earlier one, with another clock, may
		// have used it.
		for path = key.At(w.path, now); ; path = key.At(w.path, now) {
			if w.found, err = r.find(path); err != nil {
				return err
			}
			if !w.found.exists {
				break
			}
			now = monotonic.Now()
		}
	} else if w.found, err = r.find(path); err != nil {
		return err
	}
	switch {
	case w.op == opDel:
		if !w.found.exists {
			return ErrNotFound
		}
		return nil
	case w.op == opSetMeta:
		w.object = meta.Object{Created: w.created, Updated: w.updated}
	case w.found.exists:
		w.object = meta.Object{Created: w.found.created, Updated: now}
	default:
		w.object = meta.Object{Created: now}
	}
	w.object.Path, w.object.Index = path, key.LastIndex(path)
	w.object.Data, w.object.Revision = w.data, revision
	return nil
}

// find returns what a write finds at a path.
func (r *run) find(path string) (found, error) {
	if f, ok := r.pipeline.overlay.get(path); ok {
		return f, nil
	}
	if r.memory != nil {
		if obj, ok := r.memory.Get(path); ok {
			return found{exists: true, created: obj.Created, object: obj}, nil
		}
		if !r.cached {
			return found{}, nil
		}
	}
	obj, err := r.layer.Get(path)
	if errors.Is(err, ErrNotFound) {
		return found{}, nil
	}
	if err != nil {
		return found{}, fmt.Errorf("persistent layer: %w", err)
	}
	obj = placed(obj, path)
	return found{exists: true, created: obj.Created, object: &obj}, nil
}
