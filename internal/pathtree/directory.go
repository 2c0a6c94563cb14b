package pathtree

import (
	"slices"
	"strings"
	"sync"

	"github.com/tidwall/btree"

	"github.com/oolith-db/oolith/key"
)

// directory is what has one parent path: objects ordered by (Created, Path), and child
// directories. It lives while it holds either.
type directory struct {
	path   string
	parent *directory // nil for the root

	// mu guards the fields below. Writers also hold Tree.write.
	mu       sync.RWMutex
	list     *btree.BTreeG[*entry]
	children *btree.Map[string, *directory] // by name; nil before the first
	// ends are the objects in list that have a time to live, the first to end in front; nil for none.
	ends *btree.BTreeG[*Version]
	// ending are the children of which every object has one, the first to end as a whole in front;
	// nil for none (expiry.go).
	ending *btree.BTreeG[*directory]

	// last is when the last object at any depth ends, never if one does not; 0 before the first call of
	// settle, and of what is empty. The parent's mu guards it.
	last int64
}

// place puts a node into the list, in place of old where that is not nil. It needs mu, and a call
// of settle behind it.
func (d *directory) place(old, n *Version) {
	if old != nil {
		d.forgetEnd(old)
	}
	d.noteEnd(n)
	if old != nil && old.entry == n.entry {
		n.entry.node = n
		return
	}
	if old != nil {
		d.list.Delete(old.entry)
	}
	d.list.Set(n.entry)
}

// drop takes a node out of the list. It needs mu, and a call of settle behind it.
func (d *directory) drop(n *Version) {
	d.forgetEnd(n)
	d.list.Delete(n.entry)
}

// clear takes out all nodes. It needs mu, and a call of settle behind it.
func (d *directory) clear() {
	d.list.Clear()
	d.ends = nil
}

func newDirectory(path string, parent *directory) *directory {
	return &directory{
		path:   path,
		parent: parent,
		list:   btree.NewBTreeGOptions(entryLess, btree.Options{NoLocks: true}),
	}
}

func entryLess(a, b *entry) bool {
	if a.created != b.created {
		return a.created < b.created
	}
	return a.node.Path() < b.node.Path()
}

// pivot returns an entry that sorts by a time and a path, to start an iteration at.
func pivot(created int64, path string) *entry {
	return &entry{created: created, node: newVersion(path, nil)}
}

// directory returns the directory at a path, made with its parents where it is missing.
// It needs Tree.write.
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
	path = strings.Clone(path) // it may be a piece of an object, which the directory outlives
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

// prune lets go of a directory that is empty, and of its parents that become so. A reader
// that still holds it sees it empty, as it was when it went. It needs Tree.write.
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

// each calls visit with every directory that an object matching a pattern can be in, and with what the names of
// those objects match: "*" for the directories of a subtree. No lock is held in visit.
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

// walk calls visit with every directory that matches a pattern of directories ("" is the root).
// No lock is held in visit.
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

// matching returns the child directories whose name matches a segment. The lock is held while
// pointers are copied, and not while a pattern is matched.
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

// childCount returns how many child directories there are. It needs mu.
func (d *directory) childCount() int {
	if d.children == nil {
		return 0
	}
	return d.children.Len()
}

// copyChildren returns the child directories, by name.
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
