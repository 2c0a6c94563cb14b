package pathtree

import (
	"cmp"
	"sync/atomic"
	"unsafe"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// Changes of several keys in one instant.

// Mutation is one change of Apply.
type Mutation struct {
	Path string
	// Object is the object to store at Path; nil removes the stored one.
	Object *meta.Object
	// Made is a version made with the object's path and data; nil to make one.
	Made *Version
}

// turn takes the place of a key's version in the index during a change of several keys. Readers see before until done is
// set, and after once it is. The keys share done. Nil is no object.
type turn struct {
	outsider      // with the path, and no data
	done          *atomic.Bool
	before, after *Version
}

// isTurn is the pathSize of the Version of a turn. Its size is outside, and it is not Plain.
const isTurn = 1

// init makes t the turn of a key that has one version before the change and another one after it, nil for none.
func (t *turn) init(before, after *Version, done *atomic.Bool) {
	t.size, t.pathSize, t.expires = outside, isTurn, never
	t.before, t.after, t.done = before, after, done
	t.path = cmp.Or(after, before).Path() // not the caller's memory
}

// turning reports whether n is the Version of a turn.
func (n *Version) turning() bool { return n.size == outside && n.pathSize == isTurn }

// turn returns the turn of which n is the Version.
func (n *Version) turn() *turn { return (*turn)(unsafe.Pointer(n)) }

func (t *turn) now() *Version {
	if t.done.Load() {
		return t.after
	}
	return t.before
}

// Apply makes changes of different keys, all in one instant. It returns the stored versions in the order of changes,
// with nil for removals. A removal of an absent path, or a second removal of a path, does nothing.
func (t *Tree) Apply(changes []Mutation) []*Version {
	t.write.Lock()
	defer t.write.Unlock()
	return t.state.Load().apply(changes)
}

// DeleteAll removes the objects at the given paths, all in one instant.
func (t *Tree) DeleteAll(paths []string) {
	changes := make([]Mutation, len(paths))
	for i, path := range paths {
		changes[i].Path = path
	}
	t.Apply(changes)
}

// apply requires Tree.write.
func (s *state) apply(changes []Mutation) []*Version {
	stored := make([]*Version, len(changes))
	turns := make([]turn, len(changes))
	steps := make(map[*directory][]*turn, 1)
	done := new(atomic.Bool)
	// The changes of a directory are often consecutive.
	var dir *directory
	var of []*turn // of dir; steps holds those of the other directories
	for i, c := range changes {
		hash := hashOf(c.Path)
		old := s.objects.loadAt(hash, c.Path)
		if c.Object == nil && (old == nil || old.turning()) {
			continue
		}
		if c.Object != nil {
			stored[i] = versionOf(c.Made, c.Object)
		}
		t := &turns[i]
		t.init(old, stored[i], done)
		s.objects.storeAt(hash, old, &t.Version)
		if parent := key.Parent(c.Path); dir == nil || dir.path != parent {
			if dir != nil {
				steps[dir] = of
			}
			dir = s.directory(parent)
			of = steps[dir]
		}
		of = append(of, t)
	}
	if dir != nil {
		steps[dir] = of
	}
	for dir, of := range steps {
		dir.mu.Lock()
		dir.make(of)
	}
	done.Store(true)
	for dir := range steps {
		dir.mu.Unlock()
	}
	for dir, of := range steps {
		for _, t := range of {
			s.count(t.before, t.after)
			if t.after != nil {
				s.objects.store(&t.Version, t.after)
			} else {
				s.objects.remove(&t.Version)
			}
		}
		dir.settle()
		s.prune(dir)
	}
	return stored
}

// make makes the changes of one directory. It requires mu.
func (d *directory) make(steps []*turn) {
	removals := 0
	for _, t := range steps {
		if t.after == nil {
			removals++
		}
	}
	if removals == len(steps) && removals == d.list.Len() {
		d.clear()
		return
	}
	for _, t := range steps {
		if t.after == nil {
			d.drop(t.before)
		} else {
			d.place(t.before, t.after)
		}
	}
}
