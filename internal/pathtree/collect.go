package pathtree

import (
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// Collect returns the objects that match a pattern, or all for "", shared and read-only: a
// list for each directory that has some, in the order of time, and the directories in no order.
//
// It is the quickest way to get hold of everything, for who keeps writers waiting meanwhile: it
// copies pointers and does not look at what they point at, so that expired objects that
// are not removed yet are among them. Each directory is read in one consistent snapshot.
func (t *Tree) Collect(pattern string) [][]*meta.Object {
	s := t.state.Load()
	var c collector
	if pattern == "" {
		c.objects = make([]*meta.Object, 0, s.objects.size())
		s.root.all(func(d *directory) { c.take(d, "*") })
		return c.lists
	}
	name := key.LastIndex(pattern)
	s.walk(key.Parent(pattern), func(d *directory) {
		if key.HasGlob(name) {
			c.take(d, name)
		} else if n := s.load(d.join(name)); n != nil {
			c.lists = append(c.lists, []*meta.Object{&n.Object})
		}
	})
	return c.lists
}

// collector gathers lists. They share the memory of objects while that lasts.
type collector struct {
	objects []*meta.Object
	lists   [][]*meta.Object
}

// take adds what matches a name out of a directory.
func (c *collector) take(d *directory, name string) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if name == "*" && cap(c.objects)-len(c.objects) < d.list.Len() {
		c.objects = make([]*meta.Object, 0, d.list.Len())
	}
	start := len(c.objects)
	d.list.Scan(func(e *entry) bool {
		if name == "*" || key.Match(name, e.node.Index) {
			c.objects = append(c.objects, &e.node.Object)
		}
		return true
	})
	if end := len(c.objects); end > start {
		c.lists = append(c.lists, c.objects[start:end:end])
	}
}
