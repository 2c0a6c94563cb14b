package pathtree

import (
	"github.com/oolith-db/oolith/key"
)

// Collect returns the versions that match a pattern, or all for "": one list for each directory with matches, in the
// order of time. The directories are in no particular order. If the name is a partial glob ("a*"), Collect ignores it,
// and Match applies it.
//
// It is the fastest way to read everything while writers wait. It copies pointers without following them, so the result
// includes expired objects that are not removed yet. Each directory is read in one consistent snapshot.
func (t *Tree) Collect(pattern string) [][]*Version {
	s := t.state.Load()
	var c collector
	if pattern == "" {
		c.versions = make([]*Version, 0, s.objects.size())
		s.root.all(c.take)
		return c.lists
	}
	s.each(pattern, func(d *directory, name string) {
		if key.HasGlob(name) {
			c.take(d)
		} else if n := s.load(d.join(name)); n != nil {
			c.lists = append(c.lists, []*Version{n})
		}
	})
	return c.lists
}

// Match reduces the result of Collect for a pattern to the versions that match it.
func Match(lists [][]*Version, pattern string) [][]*Version {
	name := key.LastIndex(pattern)
	if name == "*" || !key.HasGlob(name) || key.IsSubtree(pattern) { // or everything
		return lists
	}
	matching := lists[:0]
	for _, list := range lists {
		// Into a new list, so the rest of this one can be freed.
		var of []*Version
		for _, n := range list {
			if key.Match(name, n.Index()) {
				of = append(of, n)
			}
		}
		if len(of) > 0 {
			matching = append(matching, of)
		}
	}
	clear(lists[len(matching):])
	return matching
}

// collector gathers lists. They share one block of memory until it is full.
type collector struct {
	versions []*Version
	lists    [][]*Version
}

// take adds the content of a directory.
func (c *collector) take(d *directory) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if cap(c.versions)-len(c.versions) < d.list.Len() {
		c.versions = make([]*Version, 0, d.list.Len())
	}
	start := len(c.versions)
	d.list.Scan(func(e entry) bool {
		c.versions = append(c.versions, d.at(e))
		return true
	})
	if end := len(c.versions); end > start {
		c.lists = append(c.lists, c.versions[start:end:end])
	}
}
