package pathtree

import (
	"slices"
	"sort"

	"github.com/oolith-db/oolith/key"
)

// Count returns how many objects match a pattern at a time in Unix nanoseconds; 0 for the time of the read. The cost of
// a directory that matches completely does not depend on its number of objects, even if some of them expire.
func (t *Tree) Count(pattern string, at int64) int {
	s := t.state.Load()
	count := 0
	s.each(pattern, func(d *directory, name string) {
		switch {
		case name == "*":
			objects, _ := d.count(at)
			count += objects
		case key.HasGlob(name):
			count += d.countMatches(name, Clock{at})
		default:
			clock := Clock{at}
			if n := s.load(d.join(name)); n != nil && !clock.Past(n.Expires()) {
				count++
			}
		}
	})
	return count
}

// countMatches returns how many objects in the directory have a matching name and are not expired.
func (d *directory) countMatches(name string, clock Clock) (count int) {
	var c collector
	c.take(d)
	for _, n := range c.versions {
		if key.Match(name, n.Index()) && !clock.Past(n.Expires()) {
			count++
		}
	}
	return count
}

// Held returns how many objects are directly in a directory ("" for the root), including expired ones that are not
// removed yet.
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

// Child is a subdirectory of a directory.
type Child struct {
	// Name is its last segment.
	Name string
	// Objects is how many objects are directly in it.
	Objects int
	// Children is how many directories are directly below it.
	Children int
}

// Children returns a part of the subdirectories directly below a path ("" for the root), by name in byte order. The
// part has at most limit of those after the name after, or after the first offset ones if offset is not 0; a limit of 0
// means all. A directory exists while it holds an object that is not expired, at any depth. total is the number of all
// subdirectories, and rank the number before the part. next is the name after which the next part begins, or empty if
// there is none.
//
// The cost is the part, and a look at each subdirectory in which all objects are expired and not removed yet.
func (t *Tree) Children(path, after string, offset, limit int) (part []Child, total, rank int, next string) {
	s := t.state.Load()
	d := s.root
	if path != "" {
		var ok bool
		if d, ok = s.dirs.Load(path); !ok {
			return []Child{}, 0, 0, ""
		}
	}
	directories, total, rank, more := d.childrenAfter(after, offset, limit)
	if more {
		next = key.LastIndex(directories[limit-1].path)
	}
	part = make([]Child, 0, len(directories))
	for _, c := range directories {
		child := Child{Name: key.LastIndex(c.path)}
		// It may have become empty in the meantime.
		if child.Objects, child.Children = c.count(0); child.Objects > 0 || child.Children > 0 {
			part = append(part, child)
		}
	}
	return part, total, rank, next
}

// childrenAfter is Children at one instant, without the content of each subdirectory.
func (d *directory) childrenAfter(after string, offset, limit int) (part []*directory, total, rank int, more bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.children == nil {
		return nil, 0, 0, false
	}
	var at int64
	if d.ending != nil {
		at = now()
	}
	gone := d.gone(at)
	total = d.children.Len() - len(gone)
	if offset > 0 {
		if offset >= total {
			return nil, total, total, false
		}
		rank = offset
		// Expired subdirectories have no rank: each one before the position moves it by one.
		place := offset
		name, _, _ := d.children.GetAt(place)
		for _, other := range gone {
			if other > name {
				break
			}
			place++
			name, _, _ = d.children.GetAt(place)
		}
		after = name
	} else if after != "" {
		rank = sort.Search(d.children.Len(), func(i int) bool {
			name, _, _ := d.children.GetAt(i)
			return name > after
		})
		rank -= sort.Search(len(gone), func(i int) bool { return gone[i] > after })
	}
	if limit == 0 {
		part = make([]*directory, 0, total)
	}
	d.children.Ascend(after, func(name string, child *directory) bool {
		if offset == 0 && name == after || child.last != 0 && child.last <= at { // 0: it is new
			return true
		}
		if more = limit > 0 && len(part) == limit; !more {
			part = append(part, child)
		}
		return !more
	})
	return part, total, rank, more
}

// gone returns the names, in byte order, of the subdirectories in which all objects are expired at a time and not
// removed yet. It requires mu.
func (d *directory) gone(at int64) (names []string) {
	if d.ending == nil {
		return nil
	}
	d.ending.Scan(func(child *directory) bool {
		if child.last > at {
			return false
		}
		names = append(names, key.LastIndex(child.path))
		return true
	})
	slices.Sort(names)
	return names
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
