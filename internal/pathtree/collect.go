package pathtree

import (
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// Collect returns the objects that match a pattern, or all for "", shared and read-only: a
// list for each directory that has some, in the order of time, and the directories in no order. A name that
// is a partial glob ("a*") is not looked at: Match does that.
//
// It is the quickest way to get hold of everything, for who keeps writers waiting meanwhile: it
// copies pointers and does not look at what they point at, so that expired objects that
// are not removed yet are among them. Each directory is read in one consistent snapshot.
func (t *Tree) Collect(pattern string) [][]*meta.Object {
	s := t.state.Load()
	var c collector
	if pattern == "" {
		c.objects = make([]*meta.Object, 0, s.objects.size())
		s.root.all(c.take)
		return c.lists
	}
	s.each(pattern, func(d *directory, name string) {
		if key.HasGlob(name) {
			c.take(d)
		} else if n := s.load(d.join(name)); n != nil {
			c.lists = append(c.lists, []*meta.Object{&n.Object})
		}
	})
	return c.lists
}

// Match leaves of what Collect returned for a pattern what matches it.
func Match(lists [][]*meta.Object, pattern string) [][]*meta.Object {
	name := key.LastIndex(pattern)
	if name == "*" || !key.HasGlob(name) || key.IsSubtree(pattern) { // or everything
		return lists
	}
	matching := lists[:0]
	for _, list := range lists {
		// Into a list of its own: the rest of this one is to be let go of.
		var of []*meta.Object
		for _, obj := range list {
			if key.Match(name, obj.Index) {
				of = append(of, obj)
			}
		}
		if len(of) > 0 {
			matching = append(matching, of)
		}
	}
	clear(lists[len(matching):])
	return matching
}

// collector gathers lists. They share the memory of objects while that lasts.
type collector struct {
	objects []*meta.Object
	lists   [][]*meta.Object
}

// take adds what is in a directory.
func (c *collector) take(d *directory) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if cap(c.objects)-len(c.objects) < d.list.Len() {
		c.objects = make([]*meta.Object, 0, d.list.Len())
	}
	start := len(c.objects)
	d.list.Scan(func(e *entry) bool {
		c.objects = append(c.objects, &e.node.Object)
		return true
	})
	if end := len(c.objects); end > start {
		c.lists = append(c.lists, c.objects[start:end:end])
	}
}
