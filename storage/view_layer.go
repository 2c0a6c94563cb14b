package storage

import (
	"context"
	"errors"
	"iter"
	"math"
	"slices"
	"sync/atomic"

	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// layerView is the view of a store whose objects are read from the persistent layer.
type layerView struct {
	r     *run
	cache *cache // nil without memory
}

func (v layerView) get(path string) (meta.Object, error) {
	if v.cache != nil {
		if obj, ok := v.cache.get(path); ok {
			return obj, nil
		}
	}
	r := v.r
	r.calls.RLock()
	defer r.calls.RUnlock()
	if r.closed {
		return meta.Object{}, ErrNotActive
	}
	var ticket ticket
	if v.cache != nil {
		ticket = v.cache.fills.begin(path)
	}
	obj, err := v.read(path)
	if err != nil {
		return meta.Object{}, err
	}
	if v.isPast(new(pathtree.Clock), &obj) {
		return meta.Object{}, ErrNotFound
	}
	r.complete(&obj)
	if v.cache != nil {
		v.cache.fills.fill(ticket, func() { v.cache.objects.Put(obj) })
	}
	return obj, nil
}

// read returns the layer's object at a path. It requires calls.
func (v layerView) read(path string) (meta.Object, error) {
	defer v.holdWhole()()
	obj, err := getFrom(v.r.layer, path)
	if errors.Is(err, ErrNotFound) {
		err = ErrNotFound // the caller adds the path
	}
	if err != nil {
		return meta.Object{}, err
	}
	return placed(obj, path), nil
}

// holdWhole blocks glob deletes and clears of a layer that makes them one by one, until release.
func (v layerView) holdWhole() (release func()) {
	if v.r.batch != nil {
		return func() {}
	}
	v.r.whole.RLock()
	return v.r.whole.RUnlock
}

// isPast reports whether an object found by a reader has expired at the time of the read. If so it schedules its
// removal, since nothing else may know of it.
func (v layerView) isPast(now *pathtree.Clock, obj *meta.Object) bool {
	at := v.r.expiryOf(obj)
	if !now.Past(at) {
		return false
	}
	v.r.learn(obj.Path, at)
	return true
}

// each visits the unexpired objects that match a pattern, "" for everything, until the context is done. All reads of
// more than one object use it.
func (v layerView) each(ctx context.Context, pattern string, visit func(*meta.Object)) error {
	// The methods of a context are the caller's code, so no lock may be held.
	var done atomic.Bool
	defer context.AfterFunc(ctx, func() { done.Store(true) })()
	if err := v.eachUntil(&done, pattern, visit); err != nil || !done.Load() {
		return err
	}
	return ctx.Err()
}

// eachUntil is each that ends without an error once done is set.
func (v layerView) eachUntil(done *atomic.Bool, pattern string, visit func(*meta.Object)) error {
	r := v.r
	r.calls.RLock()
	defer r.calls.RUnlock()
	if r.closed {
		return ErrNotActive
	}
	defer v.holdWhole()()
	var now pathtree.Clock
	return r.eachInLayer(pattern, func(obj *meta.Object) bool {
		if done.Load() {
			return false
		}
		if !v.isPast(&now, obj) {
			visit(obj)
		}
		return true
	})
}

func (v layerView) list(q pathtree.Query) ([]meta.Object, error) {
	objects := []meta.Object{}
	err := v.each(context.Background(), q.Pattern, func(obj *meta.Object) {
		if !q.Holds(pathtree.Position{Created: obj.Created, Path: obj.Path}) {
			return
		}
		v.r.complete(obj)
		objects = append(objects, *obj)
		// Keep at most twice the limit, so that a short list of a long directory takes little memory.
		if reach := q.Reach(); reach > 0 && reach < math.MaxInt/2 && len(objects) == 2*reach {
			objects = first(objects, q)
		}
	})
	if err != nil {
		return nil, err
	}
	objects = first(objects, q)
	return objects[min(q.Offset, len(objects)):], nil
}

// first sorts objects by a query's order and cuts them to its reach.
func first(objects []meta.Object, q pathtree.Query) []meta.Object {
	slices.SortFunc(objects, func(a, b meta.Object) int {
		if q.Descending {
			return pathtree.Compare(&b, &a)
		}
		return pathtree.Compare(&a, &b)
	})
	if reach := q.Reach(); reach > 0 && len(objects) > reach {
		objects = objects[:reach]
	}
	return objects
}

func (v layerView) paths(q pathtree.Query) ([]string, error) {
	objects, err := v.list(q)
	if err != nil {
		return nil, err
	}
	paths := make([]string, len(objects))
	for i := range objects {
		paths[i] = objects[i].Path
	}
	return paths, nil
}

func (v layerView) keys() ([]string, error) {
	paths, err := v.allPaths()
	if err != nil {
		return nil, err
	}
	slices.Sort(paths)
	return paths, nil
}

// allPaths returns the paths of unexpired objects.
func (v layerView) allPaths() ([]string, error) {
	if !v.r.mayExpire() {
		// Check again: expiry is recorded before the object is written.
		if paths, err := v.layerKeys(); err != nil || !v.r.mayExpire() {
			return paths, err
		}
	}
	// Only the objects themselves show whether they have expired.
	paths := []string{}
	err := v.each(context.Background(), "", func(obj *meta.Object) { paths = append(paths, obj.Path) })
	return paths, err
}

// layerKeys returns the layer's own keys.
func (v layerView) layerKeys() ([]string, error) {
	v.r.calls.RLock()
	defer v.r.calls.RUnlock()
	if v.r.closed {
		return nil, ErrNotActive
	}
	defer v.holdWhole()()
	return keysOf(v.r.layer)
}

func (v layerView) count(pattern string) (n int, err error) {
	err = v.each(context.Background(), pattern, func(*meta.Object) { n++ })
	return n, err
}

// tree returns a tree built from the paths alone.
func (v layerView) tree(path string) (*pathtree.Tree, error) {
	tree := pathtree.New()
	pattern := ""
	if path != "" {
		if pattern = path + "/**"; len(pattern) > key.MaxLength {
			return tree, nil // a path in a directory below it would be even longer
		}
	}
	return tree, v.each(context.Background(), pattern, func(obj *meta.Object) {
		tree.Put(meta.Object{Path: obj.Path, Index: key.LastIndex(obj.Path)})
	})
}

func (v layerView) stats(stats *Stats) {
	if c := v.cache; c != nil {
		stats.InMemory, stats.Cached = true, true
		stats.Objects, stats.DataBytes = c.objects.Len(), c.objects.Data()
		stats.CacheHits, stats.CacheMisses, stats.CacheEvictions = c.hits.Value(), c.misses.Value(), c.objects.Evictions()
		stats.CacheBytes, stats.CacheLimit = c.objects.Size(), c.limit
	}
}

func (v layerView) find(path string) (found, error) {
	// With retention rules on age, a cached object has the end that the rules give it, not its own.
	if v.cache != nil && !v.r.ages {
		if obj, ok := v.cache.objects.Peek(path); ok {
			return v.r.foundObject(obj, obj.Expires), nil
		}
	}
	return v.r.findInLayer(path)
}

func (v layerView) matching(pattern string) (doomed []removal, err error) {
	r := v.r
	var now pathtree.Clock
	err = r.eachInLayer(pattern, func(obj *meta.Object) bool {
		d := removal{path: obj.Path, object: obj, own: obj.Expires}
		r.complete(obj)
		if r.batch != nil && !r.feed.keeping.Load() {
			obj.Data = nil // only an undo and subscribers need it
		}
		if !now.Past(obj.Expires) {
			doomed = append(doomed, d)
		}
		return true
	})
	return doomed, inLayer(err)
}

func (v layerView) everything() (all []removal, err error) {
	err = v.r.eachInLayer("", func(obj *meta.Object) bool {
		v.r.complete(obj)
		all = append(all, removal{path: obj.Path, object: obj})
		return true
	})
	return all, inLayer(err)
}

func (v layerView) listOf(dir string) (*pathtree.Tree, error) { return v.r.retained.listOf(v.r, dir) }

func (v layerView) collect(s *state) error {
	s.pull, s.stopPull = iter.Pull2(Scan(v.r.layer, s.pattern))
	obj, err, ok := s.pull() // takes the snapshot of the layer
	if err != nil {
		s.stopPull()
		return inLayer(err)
	}
	if ok {
		s.first = &obj
	}
	return nil
}

// The layer shows a change once it is committed. Until then the cache does not answer for its keys (cache.go).

func (v layerView) hide(leaves []*write) (unhide func()) {
	if v.cache == nil {
		return func() {}
	}
	return v.cache.hide(leaves)
}

func (v layerView) hidePaths(paths []string) (unhide func()) {
	if v.cache == nil {
		return func() {}
	}
	return v.cache.hidePaths(paths)
}

func (v layerView) hideAll() (unhide func()) {
	if v.cache == nil {
		return func() {}
	}
	return v.cache.hideAll()
}

func (v layerView) apply(g orderedGroup) {
	if v.cache != nil {
		v.cache.apply(g.leaves)
	}
}

// Hidden keys are already out of the cache.
func (v layerView) remove([]string) {}
func (v layerView) clear()          {}

func (v layerView) needsLayer() bool { return true }
