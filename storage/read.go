package storage

import (
	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/meta"
)

// Get returns the object at a path, or ErrNotFound. Its Data is shared and read-only. From memory it takes no lock
// and allocates nothing.
func (l *Layered) Get(path string) (obj meta.Object, err error) {
	// A stored object has a valid path, so a hit needs no check.
	if r := l.run.Load(); r != nil {
		if direct := r.direct.Load(); direct != nil {
			if version := direct.Latest(path); version.Plain() {
				version.CopyTo(&obj)
				return obj, nil
			}
		}
	}
	return l.get(path)
}

// get is Get for everything beyond a hit in memory.
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

// miss answers a read that memory could not answer.
func (r *run) miss(path string) (meta.Object, error) {
	if err := checkKey(path); err != nil {
		return meta.Object{}, err
	}
	if err := r.checkAge(); err != nil {
		return meta.Object{}, err
	}
	return r.view.get(path)
}

// GetList returns the objects that match a glob, ascending by Created, ties by Path.
func (l *Layered) GetList(path string) ([]meta.Object, error) {
	return l.list("list", pathtree.Everything(path))
}

// GetListDescending returns the exact reverse of GetList.
func (l *Layered) GetListDescending(path string) ([]meta.Object, error) {
	q := pathtree.Everything(path)
	q.Descending = true
	return l.list("list", q)
}

// GetN returns the newest limit objects that match a glob, newest first. A limit of 0 means all; a negative limit
// fails with ErrInvalidLimit.
func (l *Layered) GetN(path string, limit int) ([]meta.Object, error) {
	q := pathtree.Everything(path)
	q.Limit, q.Descending = limit, true
	return l.list("list", q)
}

// GetNAscending returns the oldest limit objects that match a glob, oldest first. A limit of 0 means all; a negative
// limit fails with ErrInvalidLimit.
func (l *Layered) GetNAscending(path string, limit int) ([]meta.Object, error) {
	q := pathtree.Everything(path)
	q.Limit = limit
	return l.list("list", q)
}

// GetNRange returns the newest limit objects that match a glob and were created between from and to (Unix
// nanoseconds, both inclusive), newest first. It fails with ErrInvalidLimit unless the limit is positive, and with
// ErrInvalidRange if to < from.
func (l *Layered) GetNRange(path string, limit int, from, to int64) ([]meta.Object, error) {
	if limit == 0 {
		limit = -1 // not positive, so rejected by this call
	}
	return l.list("list", pathtree.Query{Pattern: path, Limit: limit, From: from, To: to, Descending: true})
}

// KeysRange returns the paths that match a glob and were created between from and to (Unix nanoseconds, both
// inclusive), ascending by Created, ties by path. It fails with ErrInvalidRange if to < from.
func (l *Layered) KeysRange(path string, from, to int64) ([]string, error) {
	q := pathtree.Query{Pattern: path, From: from, To: to}
	r, err := l.query(q)
	if err != nil {
		return nil, failed("keys", path, err)
	}
	paths, err := r.view.paths(q)
	if err != nil {
		return nil, failed("keys", path, err)
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
	if err := r.checkAge(); err != nil {
		return nil, failed("keys", "", err)
	}
	paths, err := r.view.keys()
	if err != nil {
		return nil, failed("keys", "", err)
	}
	return paths, nil
}

// list answers all calls that return objects.
func (l *Layered) list(op string, q pathtree.Query) ([]meta.Object, error) {
	r, err := l.query(q)
	if err != nil {
		return nil, failed(op, q.Pattern, err)
	}
	objects, err := r.view.list(q)
	if err != nil {
		return nil, failed(op, q.Pattern, err)
	}
	return objects, nil
}

// query validates a query and runs the hook.
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
	return r, r.checkAge()
}

func (r *run) beforeRead(path string) {
	if hook := r.hook.Load(); hook != nil {
		(*hook)(path)
	}
}

// SetBeforeRead replaces Options.BeforeRead immediately, and for every later Start whose options have none. A nil
// hook removes it. A read in progress may still run the previous hook. SetBeforeRead may be called at any time,
// concurrently, and from a hook.
func (l *Layered) SetBeforeRead(hook func(key string)) {
	l.hooks.Lock()
	defer l.hooks.Unlock()
	l.options.BeforeRead = hook
	if r := l.run.Load(); r != nil {
		r.setBeforeRead(hook)
	}
}

// setBeforeRead requires Layered.hooks.
func (r *run) setBeforeRead(hook func(key string)) {
	if hook == nil {
		r.hook.Store(nil)
		if r.options.MaxStaleness == 0 {
			r.direct.Store(r.memory)
		}
		return
	}
	r.direct.Store(nil)
	r.hook.Store(&hook)
}
