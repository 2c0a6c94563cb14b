package pathtree

import (
	"sync/atomic"

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

// turn is the state of one key in a change of several. Readers see before until done is set, and after once it is. The
// keys share done. Nil is no object.
type turn struct {
	done          *atomic.Bool
	before, after *Version
}

func (t *turn) now() *Version {
	if t.done.Load() {
		return t.after
	}
	return t.before
}

// step is one mutation in progress.
type step struct {
	old, new *Version // nil: none
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
	steps := make(map[*directory][]step, 1)
	done := new(atomic.Bool)
	// The changes of a directory are often consecutive.
	var dir *directory
	var of []step // of dir; steps holds those of the other directories
	for i, c := range changes {
		st := s.prepare(c, done)
		switch {
		case st.new != nil:
			stored[i] = st.new
		case st.old == nil:
			continue
		}
		if parent := key.Parent(c.Path); dir == nil || dir.path != parent {
			if dir != nil {
				steps[dir] = of
			}
			dir = s.directory(parent)
			of = steps[dir]
		}
		of = append(of, st)
	}
	if dir != nil {
		steps[dir] = of
	}
	for dir, of := range steps {
		dir.mu.Lock()
		dir.make(s, of)
	}
	done.Store(true)
	for dir := range steps {
		dir.mu.Unlock()
	}
	for dir, of := range steps {
		for _, st := range of {
			s.count(st.old, st.new)
			if st.new != nil {
				st.new.setTurn(nil)
			} else {
				s.objects.remove(st.old)
			}
			if st.old != nil {
				st.old.entry = nil
			}
		}
		dir.settle()
		s.prune(dir)
	}
	return stored
}

// prepare marks the key of a mutation as being changed.
func (s *state) prepare(c Mutation, done *atomic.Bool) (st step) {
	old := s.objects.load(c.Path)
	switch {
	case c.Object != nil:
		st = step{old, versionOf(c.Made, c.Object)}
		st.new.succeed(old, c.Object)
		st.new.setTurn(&turn{done, old, st.new})
	case old != nil && !old.turning():
		st.old = old
		old.setTurn(&turn{done, old, nil})
	}
	return st
}

// make makes the steps of one directory. It requires mu.
func (d *directory) make(s *state, steps []step) {
	removals := 0
	for _, st := range steps {
		if st.new == nil {
			removals++
		}
	}
	if removals == len(steps) && removals == d.list.Len() {
		d.clear()
		return
	}
	for _, st := range steps {
		if st.new == nil {
			d.drop(st.old)
			continue
		}
		d.place(st.old, st.new)
		s.objects.store(st.old, st.new)
	}
}
