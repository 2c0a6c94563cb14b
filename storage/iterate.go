package storage

import (
	"context"
	"iter"
	"slices"

	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/meta"
)

const (
	// iterateBytes is how much of what a scan of the persistent layer reads is kept until its turn comes. Of the
	// rest the places are, and the objects are read again.
	iterateBytes = 32 << 20
	// placeBytes is roughly what an object takes besides its data.
	placeBytes = 256
)

// Iterate returns what matches a glob; it reads on as the loop goes. What is written meanwhile may or may
// not show; an object that is there all the time shows exactly once, unless a write moves it to another time of
// creation. An error ends the loop, and comes last. BeforeRead runs once. Options.Limit is not looked at; a
// Cursor is where the iteration begins.
//
// In memory one directory is read in constant memory, and several take a pointer for each object. Where lists come
// from the persistent layer it is scanned once, which finds the order: 32 MiB of objects are kept, and of
// those beyond the path, by which each is read when its turn comes.
func (l *Layered) Iterate(pattern string, opt ListOptions) iter.Seq2[meta.Object, error] {
	return l.IterateContext(context.Background(), pattern, opt)
}

// IterateContext is Iterate that a context ends, with its error: between two objects, and while the persistent layer is
// scanned.
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

// place is where an object is in an iteration.
type place struct {
	pathtree.Position
	object *meta.Object // nil: to be read
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

// objectAt returns the object of a place, or ErrNotFound for what is no longer there or not to be seen. It lets go of it.
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
		err = ErrNotFound // another one, with a place of its own
	}
	if err != nil {
		return meta.Object{}, err
	}
	v.r.complete(&obj)
	return obj, nil
}
