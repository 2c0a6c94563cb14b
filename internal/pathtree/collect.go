package pathtree

import (
	"github.com/oolith-db/oolith/key"
)

// Collect returns the versions that match a pattern, or all for "": a
// list for each directory that has some, in the order of time, and the directories in no order. A name that
// is a partial glob ("a*") is not looked at: Match does that.
//
// It is the quickest way to get hold of everything, for who keeps writers waiting meanwhile: it
// copies pointers and does not look at what they point at, so that expired objects that
// are not removed yet are among them. Each directory is read in one consistent snapshot.
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

// Match leaves of what Collect returned for a pattern what matches it.
func Match(lists [][]*Version, pattern string) [][]*Version {
	name := key.LastIndex(pattern)
	if name == "*" || !key.HasGlob(name) || key.IsSubtree(pattern) { // or everything
		return lists
	}
	matching := lists[:0]
	for _, list := range lists {
		// Into a list of its own: the rest of this one is to be let go of.
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

// collector gathers lists. They share the memory of versions while that lasts.
type collector struct {
	versions []*Version
	lists    [][]*Version
}

// take adds what is in a directory.
func (c *collector) take(d *directory) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if cap(c.versions)-len(c.versions) < d.list.Len() {
		c.versions = make([]*Version, 0, d.list.Len())
	}
	start := len(c.versions)
	d.list.Scan(func(e *entry) bool {
		c.versions = append(c.versions, e.node)
		return true
	})
	if end := len(c.versions); end > start {
		c.lists = append(c.lists, c.versions[start:end:end])
	}
}
