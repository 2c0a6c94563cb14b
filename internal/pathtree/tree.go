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
	"sync"
	"sync/atomic"
	"time"

	"github.com/puzpuzpuz/xsync/v4"

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
	recent  *directory   // the last one that was written to, nil for none; only the writer uses it
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
	if end := n.Expires(); end != 0 && end <= now() {
		return nil, false
	}
	return n, true
}

// Latest returns the version that the index has of a path, nil for none. If it is Plain it is what Get
// returns; else Get has more to look at. Both are small enough for the compiler to put them
// where they are called, which a point read feels.
func (t *Tree) Latest(path string) *Version {
	return t.state.Load().objects.load(path)
}

// Stored returns the version at a path, expired or not.
func (t *Tree) Stored(path string) (*Version, bool) {
	n := t.state.Load().load(path)
	return n, n != nil
}

// load returns what readers see at a path now, nil for nothing.
func (s *state) load(path string) *Version {
	n := s.objects.load(path)
	if n == nil {
		return nil
	}
	return n.now()
}

// now is the time that expiry is held against, in Unix nanoseconds.
func now() int64 { return time.Now().UnixNano() }

// Bytes returns the bytes of data of all objects.
func (t *Tree) Bytes() int64 { return t.state.Load().bytes.Load() }

// count takes in that a version takes the place of another; nil is none. It needs Tree.write.
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

// Put stores an object at its Path and returns the version of it. The tree keeps the object's Data where it is large.
func (t *Tree) Put(obj meta.Object) *Version {
	t.write.Lock()
	defer t.write.Unlock()
	s := t.state.Load()
	hash := hashOf(obj.Path)
	return s.put(hash, s.objects.loadAt(hash, obj.Path), nil, &obj)
}

// Spot is what Find found at a path, for a Put there. The zero value knows nothing of any path.
type Spot struct {
	// Version is what is stored, expired or not; nil for nothing.
	Version *Version
	hash    uint64
	state   *state
}

// Find looks for what is stored at a path.
func (t *Tree) Find(path string) Spot {
	spot := Spot{hash: hashOf(path), state: t.state.Load()}
	if n := spot.state.objects.loadAt(spot.hash, path); n != nil {
		spot.Version = n.now()
	}
	return spot
}

// PutAt is Put at the path that a spot was found for, of a version that was made with the object's path and data; nil to
// make one. It saves the search, unless somebody else was there meanwhile.
func (t *Tree) PutAt(spot Spot, made *Version, obj *meta.Object) *Version {
	t.write.Lock()
	defer t.write.Unlock()
	s, old := t.state.Load(), spot.Version
	if spot.state == nil {
		spot.hash = hashOf(obj.Path)
	}
	if old == nil || old.entry == nil || s != spot.state {
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

// put stores an object in place of old, which is what is there, nil for nothing. It needs Tree.write.
func (s *state) put(hash uint64, old, made *Version, obj *meta.Object) *Version {
	n := versionOf(made, obj)
	n.succeed(old, obj)
	dir := s.home(n)
	// The index changes under the directory's lock too: a reader that has seen the new
	// object by its path finds it in the list as well.
	dir.mu.Lock()
	dir.place(old, n)
	s.objects.storeAt(hash, old, n)
	dir.mu.Unlock()
	dir.settle()
	s.count(old, n)
	if old != nil {
		old.entry = nil
	}
	return n
}
