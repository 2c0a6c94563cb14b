package storage

import (
	"context"
	"iter"
	"slices"

	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/meta"
)

const (
	// iterateBytes limits how many bytes of objects a scan of the persistent layer keeps until their turn. The scan
	// keeps only the places of the other objects and reads them again.
	iterateBytes = 32 << 20
	// placeBytes is the approximate overhead of an object besides its data.
	placeBytes = 256
)

// Iterate returns an iterator over the objects that match a glob. It reads while the loop runs. Concurrent writes may
// or may not be visible. An object that exists throughout is yielded exactly once, unless a write changes its
// creation time. An error is yielded last and ends the loop. BeforeRead runs once. Options.Limit is ignored; Cursor
// is where the iteration begins.
//
// In memory, one directory takes constant memory and several take a pointer for each object. If lists come from the
// persistent layer, it is scanned once to find the order. The scan keeps up to 32 MiB of objects, and only the paths
// of the rest, which are read when their turn comes.
func (l *Layered) Iterate(pattern string, opt ListOptions) iter.Seq2[meta.Object, error] {
	return l.IterateContext(context.Background(), pattern, opt)
}

// IterateContext is Iterate with a context. The end of the context ends the loop with its error, between two objects
// and during the scan of the persistent layer.
func (l *Layered) IterateContext(ctx context.Context, pattern string, opt ListOptions) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		var q pathtree.Query
		r, err := l.active()
		if err == nil {
			err = checkContext(ctx)
		}
		if err == nil {
			q, err = opt.query(pattern, r.id)
		}
		if err == nil {
			r, err = l.query(q)
		}
		if err != nil {
			yield(meta.Object{}, failed("iterate", pattern, err))
			return
		}
		for obj, err := range r.view.iterate(ctx, q) {
			if err == nil && l.run.Load() != r {
				err = ErrNotActive
			}
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(meta.Object{}, failed("iterate", pattern, err))
				return
			}
			if !yield(obj, nil) {
				return
			}
		}
	}
}

// place is the position of an object in an iteration.
type place struct {
	pathtree.Position
	object *meta.Object // nil if it has to be read
}

// iterate scans once and yields in the order of the query.
func (v layerView) iterate(ctx context.Context, q pathtree.Query) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		places, err := v.places(ctx, q)
		if err != nil {
			yield(meta.Object{}, err)
			return
		}
		for i := range places {
			obj, err := v.objectAt(&places[i])
			if err == ErrNotFound {
				continue
			}
			if !yield(obj, err) || err != nil {
				return
			}
		}
	}
}

func (v layerView) places(ctx context.Context, q pathtree.Query) (places []place, err error) {
	bytes := 0
	err = v.each(ctx, q.Pattern, func(obj *meta.Object) {
		p := place{Position: pathtree.Position{Created: obj.Created, Path: obj.Path}}
		if !q.Holds(p.Position) {
			return
		}
		if bytes += len(obj.Data) + placeBytes; bytes <= iterateBytes {
			v.r.complete(obj)
			p.object = obj
		}
		places = append(places, p)
	})
	slices.SortFunc(places, func(a, b place) int {
		if q.Descending {
			a, b = b, a
		}
		return a.Compare(&b.Position)
	})
	return places[min(q.Offset, len(places)):], err
}

// objectAt returns the object at a place and releases it, or returns ErrNotFound if it is gone or hidden.
func (v layerView) objectAt(p *place) (obj meta.Object, err error) {
	if p.object != nil {
		obj, p.object = *p.object, nil
	} else if obj, err = v.reread(p); err != nil {
		return meta.Object{}, err
	}
	if expired(obj.Expires) {
		return meta.Object{}, ErrNotFound
	}
	return obj, nil
}

func (v layerView) reread(p *place) (meta.Object, error) {
	v.r.calls.RLock()
	defer v.r.calls.RUnlock()
	if v.r.closed {
		return meta.Object{}, ErrNotActive
	}
	obj, err := v.read(p.Path)
	if err == nil && obj.Created != p.Created {
		err = ErrNotFound // a different object, which has its own place
	}
	if err != nil {
		return meta.Object{}, err
	}
	v.r.complete(&obj)
	return obj, nil
}
