package pathtree

import (
	"slices"
	"strings"

	"github.com/oolith-db/oolith/key"
)

// Count returns how many objects match a pattern at a time in Unix nanoseconds, 0 for that of the
// read. Directories that match as a whole cost nothing for each object, whether or not some end.
func (t *Tree) Count(pattern string, at int64) int {
	s := t.state.Load()
	count := 0
	s.each(pattern, func(d *directory, name string) {
		switch {
		case name == "*":
			objects, _ := d.count(at)
			count += objects
		case key.HasGlob(name):
			count += d.countMatches(name, clock{at})
		default:
			clock := clock{at}
			if n := s.load(d.join(name)); n != nil && !clock.expired(n) {
				count++
			}
		}
	})
	return count
}

// countMatches returns how many objects in the directory have a name that matches and are not expired.
func (d *directory) countMatches(name string, clock clock) (count int) {
	var c collector
	c.take(d)
	for _, n := range c.versions {
		if key.Match(name, n.Index()) && !clock.expired(n) {
			count++
		}
	}
	return count
}

// Held returns how many objects are directly in a directory ("" for the root), expired ones that
// are not removed yet included.
func (t *Tree) Held(path string) int {
	s := t.state.Load()
	d := s.root
	if path != "" {
		var ok bool
		if d, ok = s.dirs.Load(path); !ok {
			return 0
		}
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.list.Len()
}

// Child is a directory below another one.
type Child struct {
	// Name is its last segment.
	Name string
	// Objects is how many objects are directly in it.
	Objects int
	// Children is how many directories are directly below it.
	Children int
}

// Children returns the directories directly below a path ("" for the root), by name in byte
// order. A directory is there while it holds an object that is not expired, at any depth.
func (t *Tree) Children(path string) []Child {
	s := t.state.Load()
	d := s.root
	if path != "" {
		var ok bool
		if d, ok = s.dirs.Load(path); !ok {
			return []Child{}
		}
	}
	children := []Child{}
	for _, c := range d.copyChildren() {
		child := Child{Name: key.LastIndex(c.path)}
		child.Objects, child.Children = c.count(0)
		if child.Objects > 0 || child.Children > 0 {
			children = append(children, child)
		}
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
