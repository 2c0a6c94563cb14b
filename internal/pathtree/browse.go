package pathtree

import (
	"slices"
	"strings"

	"github.com/oolith-db/oolith/key"
)

// Count returns how many objects match a pattern. Directories that match as a whole cost
// nothing for each object, unless some of their objects have a time to live.
func (t *Tree) Count(pattern string) int {
	s := t.state.Load()
	last := key.LastIndex(pattern)
	var clock clock
	count := 0
	s.walk(key.Parent(pattern), func(d *directory) {
		if !key.HasGlob(last) {
			if n := s.load(d.join(last)); n != nil && !clock.expired(&n.Object) {
				count++
			}
			return
		}
		d.mu.RLock()
		defer d.mu.RUnlock()
		if last == "*" && d.expiring == 0 {
			count += d.list.Len()
			return
		}
		d.list.Scan(func(e *entry) bool {
			if key.Match(last, e.node.Index) && !clock.expired(&e.node.Object) {
				count++
			}
			return true
		})
	})
	return count
}

// Child is a directory below another one.
type Child struct {
	// Name is its last segment.
	Name string
	// Objects is how many objects are directly in it, expired ones that are not removed yet included.
	Objects int
	// Children is how many directories are directly below it.
	Children int
}

// Children returns the directories directly below a path ("" for the root), by name in byte
// order. A directory is there while it holds an object, at any depth.
func (t *Tree) Children(path string) []Child {
	s := t.state.Load()
	d := s.root
	if path != "" {
		var ok bool
		if d, ok = s.dirs.Load(path); !ok {
			return []Child{}
		}
	}
	below := d.matching("*")
	children := make([]Child, len(below))
	for i, c := range below {
		c.mu.RLock()
		children[i] = Child{key.LastIndex(c.path), c.list.Len(), len(c.children)}
		c.mu.RUnlock()
	}
	slices.SortFunc(children, func(a, b Child) int { return strings.Compare(a.Name, b.Name) })
	return children
}

// Directories returns how many directories hold an object or a directory, without the root.
func (t *Tree) Directories() int { return t.state.Load().dirs.Size() }

// join returns the path of a name in the directory.
func (d *directory) join(name string) string {
	if d.path == "" {
		return name
	}
	return d.path + "/" + name
}
