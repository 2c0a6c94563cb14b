package storage

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/meta"
)

// memoryView is the view of a store that has all its objects in memory.
type memoryView struct{ r *run }

func (v memoryView) get(path string) (meta.Object, error) {
	if n, ok := v.r.memory.Get(path); ok {
		return n.Object(), nil
	}
	return meta.Object{}, ErrNotFound
}

func (v memoryView) list(q pathtree.Query) ([]meta.Object, error) {
	return copyObjects(v.r.memory.Select(q)), nil
}

func (v memoryView) paths(q pathtree.Query) ([]string, error) {
	found := v.r.memory.Select(q)
	paths := make([]string, len(found))
	for i, n := range found {
		paths[i] = strings.Clone(n.Path())
	}
	return paths, nil
}

func (v memoryView) keys() ([]string, error) { return v.r.memory.Paths(0), nil }

func (v memoryView) count(pattern string) (int, error) { return v.r.memory.Count(pattern, 0), nil }

func (v memoryView) tree(string) (*pathtree.Tree, error) { return v.r.memory, nil }

func (v memoryView) stats(stats *Stats) {
	stats.InMemory = true
	stats.Objects, stats.Directories, stats.DataBytes = v.r.memory.Len(), v.r.memory.Directories(), v.r.memory.Bytes()
}

// iteratePage is how many objects an iteration takes from a directory in memory at once.
const iteratePage = 256

func (v memoryView) iterate(_ context.Context, q pathtree.Query) iter.Seq2[meta.Object, error] {
	if pathtree.OneDirectory(q.Pattern) {
		return v.iteratePages(q)
	}
	return v.iterateAll(q)
}

// iteratePages reads one directory: each page begins where the previous one ended.
func (v memoryView) iteratePages(q pathtree.Query) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		q.Limit = iteratePage
		for {
			found := v.r.memory.Select(q)
			for _, n := range found {
				if !yield(n.Object(), nil) {
					return
				}
			}
			if len(found) < q.Limit {
				return
			}
			last := found[len(found)-1].Position()
			q.After, q.Offset = &last, 0
		}
	}
}

// iterateAll reads several directories at once, because each page would have to look at all of them.
func (v memoryView) iterateAll(q pathtree.Query) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		found := v.r.memory.Select(q)
		for i, n := range found {
			found[i] = nil // release it
			if !expired(n.Expires()) && !yield(n.Object(), nil) {
				return
			}
		}
	}
}

func (v memoryView) find(path string) (f found, err error) {
	err = v.findInto(path, &f)
	return f, err
}

func (v memoryView) findInto(path string, f *found) (err error) {
	r := v.r
	*f = found{}
	f.spot = r.memory.Find(path)
	n := f.spot.Version
	switch {
	case n == nil && r.skips: // what is left out is there all the same
		*f, err = r.findInLayer(path)
	case n != nil:
		f.exists, f.created, f.revision = true, n.Created(), n.Revision()
		if end := n.Expires(); end != 0 {
			f.expires, f.own = end, end
			if r.ages {
				f.own = r.expirer.own(path)
			}
			*f = f.asOfNow()
		}
	}
	return err
}

func (v memoryView) matching(pattern string) (doomed []removal, err error) {
	var now pathtree.Clock
	for _, list := range pathtree.Match(v.r.memory.Collect(pattern), pattern) {
		doomed = slices.Grow(doomed, len(list))
		for _, n := range list {
			if !now.Past(n.Expires()) {
				doomed = append(doomed, v.removal(n))
			}
		}
	}
	return doomed, nil
}

func (v memoryView) everything() (all []removal, err error) {
	for _, list := range v.r.memory.Collect("") {
		for _, n := range list {
			all = append(all, v.removal(n))
		}
	}
	return all, nil
}

func (v memoryView) removal(n *pathtree.Version) removal {
	d := removal{path: n.Path(), version: n, own: n.Expires()}
	if d.own != 0 && v.r.ages && v.r.batch == nil { // an undo writes it; memory's end includes retention rules
		d.own = v.r.expirer.own(d.path)
	}
	return d
}

func (v memoryView) listOf(string) (*pathtree.Tree, error) { return v.r.memory, nil }

func (v memoryView) collect(s *state) error {
	if s.collectFirst(v.r.memory) {
		return nil
	}
	s.lists = v.r.memory.Collect(s.pattern)
	if s.kept && v.r.ages {
		s.own = v.r.expirer.ends(s.lists)
	}
	return nil
}

// Memory shows only what apply made visible.
func (v memoryView) hide([]*write) (unhide func())      { return func() {} }
func (v memoryView) hidePaths([]string) (unhide func()) { return func() {} }
func (v memoryView) hideAll() (unhide func())           { return func() {} }
func (v memoryView) remove(paths []string)              { v.r.memory.DeleteAll(paths) }
func (v memoryView) clear()                             { v.r.memory.Clear() }
func (v memoryView) needsLayer() bool                   { return false }

func (v memoryView) apply(g orderedGroup) {
	if g.atOnce {
		v.applyAtOnce(g.leaves)
		return
	}
	for _, w := range g.leaves {
		if w.err == nil {
			v.r.applyOne(w)
		}
	}
}
