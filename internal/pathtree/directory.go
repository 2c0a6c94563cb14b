package pathtree

import (
	"math"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/tidwall/btree"

	"github.com/oolith-db/oolith/key"
)

// directory is the content of one parent path: objects ordered by (Created, Path), and subdirectories. It exists while
// it holds either.
type directory struct {
	path   string
	parent *directory // nil for the root

	// mu guards the fields below. Writers also hold Tree.write.
	mu       sync.RWMutex
	list     *btree.BTreeG[entry]
	cells    cells                          // the objects of list
	children *btree.Map[string, *directory] // by name; nil before the first
	// ends are the objects in list with a time to live, by their end; nil if there are none.
	ends *btree.BTreeG[*Version]
	// ending are the subdirectories in which every object has a time to live, by the end of their last object; nil if
	// there are none (expiry.go).
	ending *btree.BTreeG[*directory]

	// last is when the last object at any depth ends, or never if one of them does not end. It is 0 before the first
	// call of settle, and for an empty directory. The parent's mu guards it.
	last int64
}

// place puts a node into the list, and replaces old unless it is nil. It requires mu. The caller calls settle
// afterwards.
func (d *directory) place(old, n *Version) {
	if old == nil {
		d.noteEnd(n)
		n.cell = d.cells.add(n)
		d.list.Set(n.entry())
		return
	}
	d.forgetEnd(old)
	d.noteEnd(n)
	moves := n.created != old.created
	if moves {
		d.list.Delete(old.entry())
	}
	n.cell, old.cell = old.cell, 0
	d.cells.set(n.cell, n)
	if moves {
		d.list.Set(n.entry())
	}
}

// drop removes a node from the list. It requires mu. The caller calls settle afterwards.
func (d *directory) drop(n *Version) {
	d.forgetEnd(n)
	d.list.Delete(n.entry())
	if d.list.Len() == 0 {
		d.cells = cells{}
	} else {
		d.cells.free(n.cell)
	}
	n.cell = 0
}

// clear removes all nodes. It requires mu. The caller calls settle afterwards.
func (d *directory) clear() {
	d.list.Scan(func(e entry) bool {
		d.at(e).cell = 0
		return true
	})
	d.list.Clear()
	d.cells, d.ends = cells{}, nil
}

func newDirectory(path string, parent *directory) *directory {
	d := &directory{path: path, parent: parent}
	d.list = btree.NewBTreeGOptions(d.before, btree.Options{NoLocks: true})
	return d
}

// entry is the entry of a key in its directory's list. It has no pointers, so the garbage collector does not look into
// lists.
type entry struct {
	created int64
	cell    uint
}

// entry returns the entry of a version in a directory. Only the writer calls it.
func (n *Version) entry() entry { return entry{n.created, n.cell} }

// at returns the present version of an entry. It requires mu.
func (d *directory) at(e entry) *Version { return d.cells.at(e.cell) }

// Numbers that are not of a cell, for an entry before or after all others of its time.
const (
	beforeCells = 0
	afterCells  = math.MaxUint
)

// before orders entries by Created, ties by path. It requires mu.
func (d *directory) before(a, b entry) bool {
	switch {
	case a.created != b.created:
		return a.created < b.created
	case a.cell == b.cell || a.cell == afterCells || b.cell == beforeCells:
		return false
	case a.cell == beforeCells || b.cell == afterCells:
		return true
	}
	return d.at(a).Path() < d.at(b).Path()
}

// seek returns the entry at a position in the order of lists, or the next one after it; with descending, the last one
// before the position. It returns false if there is none. It requires mu.
func (d *directory) seek(created int64, path string, descending bool) (found entry, ok bool) {
	take := func(e entry) bool {
		found, ok = e, true
		return false
	}
	if descending {
		d.list.Descend(entry{created, afterCells}, take)
	} else {
		d.list.Ascend(entry{created, beforeCells}, take)
	}
	if !ok || found.created != created || descending == (d.at(found).Path() < path) {
		return found, ok
	}
	// Several entries may have this time, even all of them.
	rank := d.rank(created, path)
	if descending {
		rank--
	}
	return d.list.GetAt(rank)
}

// rank returns how many entries are before a position in the order of lists. It requires mu.
func (d *directory) rank(created int64, path string) int {
	return sort.Search(d.list.Len(), func(i int) bool {
		e, _ := d.list.GetAt(i)
		return e.created > created || e.created == created && d.at(e).Path() >= path
	})
}

// directory returns the directory at a path. It creates the directory and its parents if they are missing. It requires
// Tree.write.
func (s *state) directory(path string) *directory {
	if path == "" {
		return s.root
	}
	if s.recent != nil && s.recent.path == path {
		return s.recent
	}
	if d, ok := s.dirs.Load(path); ok {
		s.recent = d
		return d
	}
	parent := s.directory(key.Parent(path))
	path = strings.Clone(path) // it may share memory with an object, which the directory outlives
	d := newDirectory(path, parent)
	parent.mu.Lock()
	if parent.children == nil {
		parent.children = new(btree.Map[string, *directory])
	}
	parent.children.Set(key.LastIndex(path), d)
	parent.mu.Unlock()
	s.dirs.Store(path, d)
	return d
}

// prune removes a directory that is empty, and parents that become empty. A reader that still holds it finds it empty.
// It requires Tree.write.
func (s *state) prune(d *directory) {
	for d.parent != nil && d.list.Len() == 0 && d.childCount() == 0 {
		parent := d.parent
		parent.mu.Lock()
		parent.children.Delete(key.LastIndex(d.path))
		parent.endChild(d, never)
		d.last = 0
		parent.mu.Unlock()
		s.recent = nil
		s.dirs.Delete(d.path)
		parent.settle()
		d = parent
	}
}

// each calls visit with every directory that can contain an object that matches a pattern, and with the pattern of the
// names in it: "*" for the directories of a subtree. No lock is held in visit.
func (s *state) each(pattern string, visit func(d *directory, name string)) {
	if root, isSubtree := key.Root(pattern); isSubtree {
		s.walk(root, func(d *directory) {
			d.all(func(d *directory) { visit(d, "*") })
		})
		return
	}
	name := key.LastIndex(pattern)
	s.walk(key.Parent(pattern), func(d *directory) { visit(d, name) })
}

// walk calls visit with every directory that matches a pattern of directories ("" is the root). No lock is held in
// visit.
func (s *state) walk(pattern string, visit func(*directory)) {
	star := strings.IndexByte(pattern, '*')
	if star < 0 {
		if pattern == "" {
			visit(s.root)
		} else if d, ok := s.dirs.Load(pattern); ok {
			visit(d)
		}
		return
	}
	// Everything before the first segment with a star is one lookup.
	start, rest := s.root, pattern
	if slash := strings.LastIndexByte(pattern[:star], '/'); slash >= 0 {
		d, ok := s.dirs.Load(pattern[:slash])
		if !ok {
			return
		}
		start, rest = d, pattern[slash+1:]
	}
	start.walk(rest, visit)
}

// walk visits the directories below d that match a pattern relative to d.
func (d *directory) walk(pattern string, visit func(*directory)) {
	segment, rest, deeper := strings.Cut(pattern, "/")
	for _, child := range d.matching(segment) {
		if deeper {
			child.walk(rest, visit)
		} else {
			visit(child)
		}
	}
}

// matching returns the subdirectories whose name matches a segment. It holds the lock while it copies pointers, and not
// while it matches.
func (d *directory) matching(segment string) []*directory {
	if !key.HasGlob(segment) {
		d.mu.RLock()
		defer d.mu.RUnlock()
		if d.children == nil {
			return nil
		}
		if child, ok := d.children.Get(segment); ok {
			return []*directory{child}
		}
		return nil
	}
	children := d.copyChildren()
	if segment == "*" {
		return children
	}
	return slices.DeleteFunc(children, func(c *directory) bool { return !key.Match(segment, key.LastIndex(c.path)) })
}

// childCount returns the number of subdirectories. It requires mu.
func (d *directory) childCount() int {
	if d.children == nil {
		return 0
	}
	return d.children.Len()
}

// copyChildren returns the subdirectories, by name.
func (d *directory) copyChildren() []*directory {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.children == nil {
		return nil
	}
	return d.children.Values()
}

// all visits d and every directory below it.
func (d *directory) all(visit func(*directory)) {
	visit(d)
	for _, child := range d.matching("*") {
		child.all(visit)
	}
}
