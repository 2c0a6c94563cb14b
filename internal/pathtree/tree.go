// Package pathtree is the memory of the store: objects by path, in directories that are ordered by time.
//
// A point read is one lookup in a hash table that points directly to an immutable object (index.go). It takes no lock
// and allocates nothing. Every directory ("users" for "users/1") has a B-tree of its objects ordered by (Created,
// Path), and knows its subdirectories, so a glob visits only what it can match.
//
// An entry of the B-tree is a time and the number of a cell, which holds the object (cells.go). An overwrite replaces the
// object in the cell and leaves the tree alone. Only a new Created moves the entry.
//
// # Concurrency
//
// One mutex serializes all changes. A reader of lists holds the read lock of one directory at a time, while it copies
// pointers. A change of several keys becomes visible at once. Lists see it at once because all its directories stay
// locked until it is complete. Point reads see it at once because the index refers to both versions of each key, and to
// one flag that is set in between (apply.go).
//
// # Expiry
//
// An expired object stays in the tree until it is removed. No read except Stored returns it.
//
// LOCK ORDER: Tree.write, then directory.mu. A parent is never locked after its child, except by the holder of
// Tree.write, which has no competitor.
package pathtree

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/puzpuzpuz/xsync/v4"

	"github.com/oolith-db/oolith/meta"
)

// Tree holds objects by path. The zero value is not usable; use New.
type Tree struct {
	// Clear and Load replace state as a whole.
	state atomic.Pointer[state]

	// write serializes all changes, and replacements of state.
	write sync.Mutex
}

// state is the content of a tree.
type state struct {
	objects index
	dirs    *xsync.Map[string, *directory]
	root    *directory
	bytes   atomic.Int64 // of the data of all objects
	recent  *directory   // the directory of the last write, nil if there is none; only the writer uses it
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

// Get returns the version at a path, unless it is expired.
func (t *Tree) Get(path string) (*Version, bool) {
	n := t.Latest(path)
	if n.Plain() {
		return n, true
	}
	if n != nil {
		n = n.now()
	}
	if n == nil {
		return nil, false
	}
	if n.expires != 0 && n.expires <= now() {
		return nil, false
	}
	return n, true
}

// Latest returns the version in the index at a path, nil if there is none. If the version is Plain, it is the result of
// Get. Otherwise Get has more to check. Latest and Plain are small enough to be inlined, which point reads benefit
// from.
func (t *Tree) Latest(path string) *Version {
	return t.state.Load().objects.load(path)
}

// Stored returns the version at a path, expired or not.
func (t *Tree) Stored(path string) (*Version, bool) {
	n := t.state.Load().load(path)
	return n, n != nil
}

// load returns the version that readers now see at a path, nil if there is none.
func (s *state) load(path string) *Version {
	n := s.objects.load(path)
	if n == nil {
		return nil
	}
	return n.now()
}

// now returns the time for expiry, in Unix nanoseconds.
func now() int64 { return time.Now().UnixNano() }

// Bytes returns the bytes of data of all objects.
func (t *Tree) Bytes() int64 { return t.state.Load().bytes.Load() }

// count updates the counts for a version that replaces another; nil is none. It requires Tree.write.
func (s *state) count(before, after *Version) {
	grown := 0
	if before != nil {
		grown -= before.bytes()
	}
	if after != nil {
		grown += after.bytes()
	}
	if grown != 0 {
		s.bytes.Add(int64(grown))
	}
}

// Len returns the number of objects.
func (t *Tree) Len() int { return t.state.Load().objects.size() }

// Put stores an object at its Path and returns its version. The tree keeps the object's Data if it is large.
func (t *Tree) Put(obj meta.Object) *Version {
	t.write.Lock()
	defer t.write.Unlock()
	s := t.state.Load()
	hash := hashOf(obj.Path)
	return s.put(hash, s.objects.loadAt(hash, obj.Path), nil, &obj)
}

// Spot is the result of Find at a path, for a Put there. The zero value has no information.
type Spot struct {
	// Version is the stored version, expired or not; nil if there is none.
	Version *Version
	hash    uint64
	state   *state
}

// Find looks up what is stored at a path.
func (t *Tree) Find(path string) Spot {
	spot := Spot{hash: hashOf(path), state: t.state.Load()}
	if n := spot.state.objects.loadAt(spot.hash, path); n != nil {
		spot.Version = n.now()
	}
	return spot
}

// PutAt is Put at the path of a spot, for a version made with the object's path and data; nil to make one. It saves the
// lookup, unless the path has changed in the meantime.
func (t *Tree) PutAt(spot Spot, made *Version, obj *meta.Object) *Version {
	t.write.Lock()
	defer t.write.Unlock()
	s, old := t.state.Load(), spot.Version
	if spot.state == nil {
		spot.hash = hashOf(obj.Path)
	}
	if old == nil || old.cell == 0 || s != spot.state {
		old = s.objects.loadAt(spot.hash, obj.Path)
	}
	return s.put(spot.hash, old, made, obj)
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
	dir := s.home(n)
	dir.mu.Lock()
	dir.drop(n)
	s.objects.remove(n)
	dir.mu.Unlock()
	s.count(n, nil)
	dir.settle()
	s.prune(dir)
	return true
}

// Clear removes everything in one instant.
func (t *Tree) Clear() {
	t.write.Lock()
	defer t.write.Unlock()
	t.state.Store(newState(0))
}

// put stores an object and replaces old, which is the stored version, nil if there is none. It requires Tree.write.
func (s *state) put(hash uint64, old, made *Version, obj *meta.Object) *Version {
	n := versionOf(made, obj)
	dir := s.home(n)
	// The index also changes under the directory's lock. So a reader that has found the new object by its path also
	// finds it in the list.
	dir.mu.Lock()
	dir.place(old, n)
	s.objects.storeAt(hash, old, n)
	dir.mu.Unlock()
	dir.settle()
	s.count(old, n)
	return n
}
