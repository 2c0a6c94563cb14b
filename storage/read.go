package storage

import (
	"errors"
	"math"
	"slices"

	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/meta"
)

// Get returns the object at a path, or ErrNotFound. Its Data is shared and read-only. From
// memory it takes no lock and allocates nothing.
func (l *Layered) Get(path string) (meta.Object, error) {
	// What is found has a valid path: a hit needs no check.
	if r := l.run.Load(); r != nil {
		if direct := r.direct.Load(); direct != nil {
			if version := direct.Latest(path); version.Plain() {
				return version.PlainObject(), nil
			}
		}
	}
	return l.get(path)
}

// get is Get where there is more to do than to find the object in memory.
func (l *Layered) get(path string) (meta.Object, error) {
	r := l.run.Load()
	if r == nil {
		return meta.Object{}, failed("get", path, ErrNotActive)
	}
	if hook := r.hook.Load(); hook != nil {
		if err := checkKey(path); err != nil {
			return meta.Object{}, failed("get", path, err)
		}
		(*hook)(path)
	}
	obj, err := r.miss(path)
	if err != nil {
		return meta.Object{}, failed("get", path, err)
	}
	return obj, nil
}

// miss answers a read that memory could not.
func (r *run) miss(path string) (meta.Object, error) {
	if err := checkKey(path); err != nil {
		return meta.Object{}, err
	}
	return r.get(path)
}

// get reads a valid path.
func (r *run) get(path string) (meta.Object, error) {
	if r.memory != nil {
		if n, ok := r.memory.Get(path); ok {
			return n.Object(), nil
		}
		return meta.Object{}, ErrNotFound
	}
	if r.cache != nil {
		if obj, ok := r.cache.objects.Get(path); ok && !expired(obj.Expires) {
			r.cache.hits.Inc()
			return *obj, nil
		}
	}
	r.calls.RLock()
	defer r.calls.RUnlock()
	if r.closed {
		return meta.Object{}, ErrNotActive
	}
	var ticket ticket
	if r.cache != nil {
		r.cache.misses.Inc()
		ticket = r.cache.fills.begin(path)
	}
	obj, err := r.getFromLayer(path)
	if err != nil {
		return meta.Object{}, err
	}
	obj = placed(obj, path)
	if r.isPast(&moment{}, &obj) {
		return meta.Object{}, ErrNotFound
	}
	r.complete(&obj)
	if r.cache != nil {
		r.cache.fills.fill(ticket, func() { r.cache.objects.Put(obj) })
	}
	return obj, nil
}

func (r *run) getFromLayer(path string) (meta.Object, error) {
	defer r.holdWhole()()
	obj, err := getFrom(r.layer, path)
	if errors.Is(err, ErrNotFound) {
		err = ErrNotFound // the path is named by whoever called
	}
	return obj, err
}

// GetList returns what matches a glob, ascending by Created, ties by Path.
func (l *Layered) GetList(path string) ([]meta.Object, error) {
	return l.list("list", pathtree.Everything(path))
}

// GetListDescending returns the exact reverse of GetList.
func (l *Layered) GetListDescending(path string) ([]meta.Object, error) {
	q := pathtree.Everything(path)
	q.Descending = true
	return l.list("list", q)
}

// GetN returns the newest limit objects that match a glob, newest first. A limit of 0
// means all; a negative one is ErrInvalidLimit.
func (l *Layered) GetN(path string, limit int) ([]meta.Object, error) {
	q := pathtree.Everything(path)
	q.Limit, q.Descending = limit, true
	return l.list("list", q)
}

// GetNAscending returns the oldest limit objects that match a glob, oldest first. A
// limit of 0 means all; a negative one is ErrInvalidLimit.
func (l *Layered) GetNAscending(path string, limit int) ([]meta.Object, error) {
	q := pathtree.Everything(path)
	q.Limit = limit
	return l.list("list", q)
}

// GetNRange returns the newest limit objects that match a glob and were created from
// 'from' to 'to' (Unix nanoseconds, both inclusive), newest first. The limit must be
// positive, else it is ErrInvalidLimit; to < from is ErrInvalidRange.
func (l *Layered) GetNRange(path string, limit int, from, to int64) ([]meta.Object, error) {
	if limit == 0 {
		limit = -1 // not positive, and so not allowed here
	}
	return l.list("list", pathtree.Query{Pattern: path, Limit: limit, From: from, To: to, Descending: true})
}

// KeysRange returns the paths that match a glob and were created from 'from' to 'to' (Unix
// nanoseconds, both inclusive), ascending by Created, ties by path. to < from is ErrInvalidRange.
func (l *Layered) KeysRange(path string, from, to int64) ([]string, error) {
	q := pathtree.Query{Pattern: path, From: from, To: to}
	r, err := l.query(q)
	if err != nil {
		return nil, failed("keys", path, err)
	}
	if !r.fromLayer() {
		found := r.memory.Select(q)
		paths := make([]string, len(found))
		for i, n := range found {
			paths[i] = n.Path()
		}
		return paths, nil
	}
	objects, err := r.scan(q)
	if err != nil {
		return nil, failed("keys", path, err)
	}
	paths := make([]string, len(objects))
	for i := range objects {
		paths[i] = objects[i].Path
	}
	return paths, nil
}

// Keys returns all paths in byte order.
func (l *Layered) Keys() ([]string, error) {
	r, err := l.active()
	if err != nil {
		return nil, failed("keys", "", err)
	}
	r.beforeRead("")
	if !r.fromLayer() {
		return r.memory.Paths(0), nil
	}
	r.calls.RLock()
	defer r.calls.RUnlock()
	if r.closed {
		return nil, failed("keys", "", ErrNotActive)
	}
	paths, err := r.layerKeys()
	if err != nil {
		return nil, failed("keys", "", err)
	}
	slices.Sort(paths)
	return paths, nil
}

// layerKeys returns the paths in the persistent layer of what is not expired. It needs calls.
func (r *run) layerKeys() ([]string, error) {
	defer r.holdWhole()()
	if !r.mayExpire() {
		// Asked again: what expires is known before it is written.
		if paths, err := keysOf(r.layer); err != nil || !r.mayExpire() {
			return paths, err
		}
	}
	// Only the objects themselves tell.
	paths := []string{}
	var now moment
	for obj, err := range Scan(r.layer, "") {
		if err != nil {
			return nil, err
		}
		if !r.isPast(&now, &obj) {
			paths = append(paths, obj.Path)
		}
	}
	return paths, nil
}

// list answers all calls that return objects.
func (l *Layered) list(op string, q pathtree.Query) ([]meta.Object, error) {
	r, err := l.query(q)
	if err != nil {
		return nil, failed(op, q.Pattern, err)
	}
	objects, err := r.read(q)
	if err != nil {
		return nil, failed(op, q.Pattern, err)
	}
	return objects, nil
}

// query checks a query and runs the hook.
func (l *Layered) query(q pathtree.Query) (*run, error) {
	r, err := l.active()
	if err != nil {
		return nil, err
	}
	if err := checkPattern(q.Pattern); err != nil {
		return nil, err
	}
	if q.Limit < 0 {
		return nil, ErrInvalidLimit
	}
	if q.To < q.From {
		return nil, ErrInvalidRange
	}
	r.beforeRead(q.Pattern)
	return r, nil
}

func (r *run) beforeRead(path string) {
	if hook := r.hook.Load(); hook != nil {
		(*hook)(path)
	}
}

// SetBeforeRead replaces Options.BeforeRead, at once and for every later Start that is given none; nil for no hook. A
// read that has begun may still run the one before. It may be called at any time, from any goroutine, in a hook too.
func (l *Layered) SetBeforeRead(hook func(key string)) {
	l.hooks.Lock()
	defer l.hooks.Unlock()
	l.options.BeforeRead = hook
	if r := l.run.Load(); r != nil {
		r.setBeforeRead(hook)
	}
}

// setBeforeRead needs Layered.hooks.
func (r *run) setBeforeRead(hook func(key string)) {
	if hook == nil {
		r.hook.Store(nil)
		r.direct.Store(r.memory)
		return
	}
	r.direct.Store(nil)
	r.hook.Store(&hook)
}

// fromLayer reports whether lists come from the persistent layer.
func (r *run) fromLayer() bool { return r.memory == nil }

// holdWhole keeps glob deletes and clears off a layer that makes them one by one, until release.
func (r *run) holdWhole() (release func()) {
	if r.batch != nil {
		return func() {}
	}
	r.whole.RLock()
	return r.whole.RUnlock
}

// read answers a checked query.
func (r *run) read(q pathtree.Query) ([]meta.Object, error) {
	if !r.fromLayer() {
		return copyObjects(r.memory.Select(q)), nil
	}
	return r.scan(q)
}

// scan answers a query from the persistent layer.
func (r *run) scan(q pathtree.Query) ([]meta.Object, error) {
	r.calls.RLock()
	defer r.calls.RUnlock()
	if r.closed {
		return nil, ErrNotActive
	}
	defer r.holdWhole()()
	objects := []meta.Object{}
	var now moment
	for obj, err := range Scan(r.layer, q.Pattern) {
		if err != nil {
			return nil, err
		}
		if q.Holds(pathtree.Position{Created: obj.Created, Path: obj.Path}) && !r.isPast(&now, &obj) {
			r.complete(&obj)
			objects = append(objects, obj)
		}
		// Twice the limit at most are kept, so that a short list of a long
		// directory takes little memory.
		if reach := q.Reach(); reach > 0 && reach < math.MaxInt/2 && len(objects) == 2*reach {
			objects = first(objects, q)
		}
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
