// Package pathtree is the memory of the store: objects by path, in directories that are
// ordered by time.
//
// A point read is one lookup in a concurrent hash map that points directly at an
// immutable object: no lock, no allocation. Every directory ("users" for "users/1") keeps a
// B-tree of its children ordered by (Created, Path), and knows its child directories,
// so that a glob visits only what it can match.
//
// The ordered item of a key is a stable entry. An overwrite swaps the entry's object and
// leaves the tree alone; only a new Created moves the entry.
//
// # Concurrency
//
// Changes are serialised by one mutex; the store's commit pipeline is their only source
// but for the fills of the cache mode. Readers of lists hold the read lock of one directory at a time,
// for as long as it takes to copy pointers. A change of several keys becomes visible at
// once: to lists, because all its directories stay locked until it is done, and to point
// reads, because its objects share one flag that is flipped in between.
//
// LOCK ORDER: Tree.write, then directory.mu (a parent is never locked after its child,
// but by the holder of Tree.write, who has no rival).
package pathtree

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/puzpuzpuz/xsync/v4"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// Tree holds objects by path. The zero value is not usable: call New.
type Tree struct {
	// state is swapped as a whole by Clear and Load.
	state atomic.Pointer[state]

	// write serialises all changes, and swaps of state.
	write sync.Mutex
}

// state is the content of a tree.
type state struct {
	objects *xsync.Map[string, *node]
	dirs    *xsync.Map[string, *directory]
	root    *directory
}

// node is one version of an object. All but removal is immutable.
type node struct {
	meta.Object
	entry *entry
	// removal is set when the key is removed, before the map lets go of it.
	removal atomic.Pointer[removal]
}

// removal is the fate shared by all the objects that one change removes: they vanish for
// point reads in the instant in which done is set.
type removal struct{ done atomic.Bool }

func (n *node) removed() bool {
	r := n.removal.Load()
	return r != nil && r.done.Load()
}

// entry is the stable place of a key in its directory. It stays the same while the
// key is overwritten, so that no overwrite costs a change of the tree.
type entry struct {
	created int64
	dir     *directory
	// node is the current version, guarded by dir.mu.
	node *node
}

// New returns an empty tree.
func New() *Tree {
	t := &Tree{}
	t.state.Store(newState(0))
	return t
}

func newState(size int) *state {
	return &state{
		objects: xsync.NewMap[string, *node](xsync.WithPresize(size)),
		dirs:    xsync.NewMap[string, *directory](),
		root:    newDirectory("", nil),
	}
}

// Get returns the object at a path. It is shared: read-only.
func (t *Tree) Get(path string) (*meta.Object, bool) {
	n, ok := t.state.Load().objects.Load(path)
	if !ok || n.removed() {
		return nil, false
	}
	return &n.Object, true
}

// Len returns the number of objects.
func (t *Tree) Len() int { return t.state.Load().objects.Size() }

// Put stores an object at obj.Path, whose Index must be its last segment, and returns it
// as it is stored, shared and read-only. The tree keeps obj.Data.
func (t *Tree) Put(obj meta.Object) *meta.Object {
	t.write.Lock()
	defer t.write.Unlock()
	return t.state.Load().put(obj)
}

// PutIfAbsent is Put where there is no object yet.
func (t *Tree) PutIfAbsent(obj meta.Object) {
	t.write.Lock()
	defer t.write.Unlock()
	s := t.state.Load()
	if _, ok := s.objects.Load(obj.Path); !ok {
		s.put(obj)
	}
}

// Delete removes the object at a path and reports whether there was one.
func (t *Tree) Delete(path string) bool {
	t.write.Lock()
	defer t.write.Unlock()
	s := t.state.Load()
	n, ok := s.objects.Load(path)
	if !ok {
		return false
	}
	dir := n.entry.dir
	dir.mu.Lock()
	dir.list.Delete(n.entry)
	s.objects.Delete(path)
	dir.mu.Unlock()
	s.prune(dir)
	return true
}

// DeleteAll removes the objects at the given paths, all in one instant.
func (t *Tree) DeleteAll(paths []string) {
	t.write.Lock()
	defer t.write.Unlock()
	t.state.Load().remove(paths)
}

// Clear removes everything, in one instant.
func (t *Tree) Clear() {
	t.write.Lock()
	defer t.write.Unlock()
	t.state.Store(newState(0))
}

// put needs Tree.write.
func (s *state) put(obj meta.Object) *meta.Object {
	old, exists := s.objects.Load(obj.Path)
	if !exists {
		// The caller's path may be a piece of something larger: keep a copy.
		obj.Path = strings.Clone(obj.Path)
		obj.Index = key.LastIndex(obj.Path)
		n := newNode(obj, s.directory(key.Parent(obj.Path)))
		n.entry.dir.mu.Lock()
		defer n.entry.dir.mu.Unlock()
		n.entry.dir.list.Set(n.entry)
		s.objects.Store(n.Path, n)
		return &n.Object
	}

	obj.Path, obj.Index = old.Path, old.Index
	dir := old.entry.dir
	var n *node
	if obj.Created == old.Created {
		n = &node{Object: obj, entry: old.entry}
	} else {
		n = newNode(obj, dir)
	}
	// The map changes under the directory's lock too: a reader that has seen the new
	// object by its path finds it in the list as well.
	dir.mu.Lock()
	defer dir.mu.Unlock()
	if n.entry == old.entry {
		n.entry.node = n
	} else {
		dir.list.Delete(old.entry)
		dir.list.Set(n.entry)
	}
	s.objects.Store(n.Path, n)
	return &n.Object
}

func newNode(obj meta.Object, dir *directory) *node {
	n := &node{Object: obj}
	n.entry = &entry{created: obj.Created, dir: dir, node: n}
	return n
}

// remove needs Tree.write.
func (s *state) remove(paths []string) {
	fate := &removal{}
	doomed := make(map[*directory][]*node, 1)
	for _, path := range paths {
		n, ok := s.objects.Load(path)
		if !ok || n.removal.Load() != nil {
			continue // absent, or named twice
		}
		n.removal.Store(fate)
		doomed[n.entry.dir] = append(doomed[n.entry.dir], n)
	}
	for dir, nodes := range doomed {
		dir.mu.Lock()
		if len(nodes) == dir.list.Len() {
			dir.list.Clear()
			continue
		}
		for _, n := range nodes {
			dir.list.Delete(n.entry)
		}
	}
	fate.done.Store(true)
	for dir := range doomed {
		dir.mu.Unlock()
	}
	for dir, nodes := range doomed {
		for _, n := range nodes {
			s.objects.Delete(n.Path)
		}
		s.prune(dir)
	}
}
