// Package pathtree is the memory of the store: objects by path, in directories that are
// ordered by time.
//
// A point read is one lookup in a hash table that points directly at an
// immutable object (index.go): no lock, no allocation. Every directory ("users" for "users/1") keeps a
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
// reads, because its objects share one flag that is flipped in between (apply.go).
//
// # Expiry
//
// An object past its Expires is there until it is removed, but no read shows it, Stored
// apart.
//
// LOCK ORDER: Tree.write, then directory.mu (a parent is never locked after its child,
// but by the holder of Tree.write, who has no rival).
package pathtree

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

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
	objects index
	dirs    *xsync.Map[string, *directory]
	root    *directory
	bytes   atomic.Int64 // of the data of all objects
}

// Version is one version of an object. All but turn and entry is immutable.
//
// Whoever keeps its object keeps the version, and all that it leads to. So nothing here leads to a
// directory, which is found by its path, nor from an old version to a newer one.
type Version struct {
	// turn is set while a change of several keys, this one among them, is being made. It
	// stands beside the object, which Get reads too.
	turn atomic.Pointer[turn]
	meta.Object
	entry *entry // nil once the version is replaced or removed; only the writer uses it
	hash  uint64 // hashOf(Path)
}

// entry is the stable place of a key in its directory. It stays the same while the
// key is overwritten, so that no overwrite costs a change of the tree.
type entry struct {
	created int64
	// node is the current version, guarded by the directory's mu.
	node *Version
}

// New returns an empty tree.
func New() *Tree {
	t := &Tree{}
	t.state.Store(newState(0))
	return t
}

func newState(size int) *state {
	s := &state{dirs: xsync.NewMap[string, *directory](), root: newDirectory("", nil)}
	s.objects.init(size)
	return s
}

// Get returns the object at a path, unless it is expired. It is shared: read-only.
func (t *Tree) Get(path string) (*meta.Object, bool) {
	n := t.Latest(path)
	if n.Plain() {
		return &n.Object, true
	}
	if n != nil {
		n = n.now()
	}
	if n == nil || n.Expires != 0 && n.Expired(now()) {
		return nil, false
	}
	return &n.Object, true
}

// Latest returns the version that the map has of a path, nil for none. If it is Plain it is what Get
// returns; else Get has more to look at. Both are small enough for the compiler to put them
// where they are called, which a point read feels.
func (t *Tree) Latest(path string) *Version {
	return t.state.Load().objects.load(path)
}

// Plain reports whether there is a version that has no time to live and no change of several keys under way.
func (n *Version) Plain() bool { return n != nil && n.Expires == 0 && n.turn.Load() == nil }

// Stored returns the object at a path, expired or not. It is shared: read-only.
func (t *Tree) Stored(path string) (*meta.Object, bool) {
	n := t.state.Load().load(path)
	if n == nil {
		return nil, false
	}
	return &n.Object, true
}

// load returns what readers see at a path now, nil for nothing.
func (s *state) load(path string) *Version {
	n := s.objects.load(path)
	if n == nil {
		return nil
	}
	return n.now()
}

// now returns what readers see of a node that is in the map, nil for nothing.
func (n *Version) now() *Version {
	if t := n.turn.Load(); t != nil {
		return t.now()
	}
	return n
}

// now is the time that expiry is held against, in Unix nanoseconds.
func now() int64 { return time.Now().UnixNano() }

// Bytes returns the bytes of data of all objects.
func (t *Tree) Bytes() int64 { return t.state.Load().bytes.Load() }

// count takes in that a version takes the place of another; nil is none. It needs Tree.write.
func (s *state) count(before, after *Version) {
	grown := 0
	if before != nil {
		grown -= len(before.Data)
	}
	if after != nil {
		grown += len(after.Data)
	}
	if grown != 0 {
		s.bytes.Add(int64(grown))
	}
}

// Len returns the number of objects.
func (t *Tree) Len() int { return t.state.Load().objects.size() }

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
	if s.objects.load(obj.Path) == nil {
		s.put(obj)
	}
}

// Delete removes the object at a path and reports whether there was one.
func (t *Tree) Delete(path string) bool {
	t.write.Lock()
	defer t.write.Unlock()
	s := t.state.Load()
	n := s.objects.load(path)
	if n == nil {
		return false
	}
	dir := s.home(path)
	dir.mu.Lock()
	dir.drop(n)
	s.objects.remove(n)
	dir.mu.Unlock()
	n.entry = nil
	s.count(n, nil)
	dir.settle()
	s.prune(dir)
	return true
}

// Clear removes everything, in one instant.
func (t *Tree) Clear() {
	t.write.Lock()
	defer t.write.Unlock()
	t.state.Store(newState(0))
}

// put needs Tree.write.
func (s *state) put(obj meta.Object) *meta.Object {
	old := s.objects.load(obj.Path)
	n := s.version(old, obj)
	dir := s.home(n.Path)
	// The index changes under the directory's lock too: a reader that has seen the new
	// object by its path finds it in the list as well.
	dir.mu.Lock()
	dir.place(old, n)
	s.objects.store(old, n)
	dir.mu.Unlock()
	dir.settle()
	s.count(old, n)
	if old != nil {
		old.entry = nil
	}
	return &n.Object
}

// version makes the version of an object that is to take the place of old, or that is new
// where old is nil. It needs Tree.write.
func (s *state) version(old *Version, obj meta.Object) *Version {
	if old == nil {
		// The caller's path may be a piece of something larger: keep a copy.
		obj.Path = strings.Clone(obj.Path)
		obj.Index = key.LastIndex(obj.Path)
		return newVersion(obj, hashOf(obj.Path))
	}
	obj.Path, obj.Index = old.Path, old.Index
	if obj.Created == old.Created {
		return &Version{Object: obj, entry: old.entry, hash: old.hash}
	}
	return newVersion(obj, old.hash)
}

// newVersion makes a version with a place of its own.
func newVersion(obj meta.Object, hash uint64) *Version {
	n := &Version{Object: obj, hash: hash}
	n.entry = &entry{created: obj.Created, node: n}
	return n
}
