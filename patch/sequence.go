package patch

import (
	"iter"
	"slices"
)

// sequence holds the items of an array. A long array with insertions or deletions becomes a counted B-tree, because
// each operation of a patch may insert or delete anywhere.
type sequence struct {
	flat []*value // while there is no tree
	tree *branch
}

// branch is a node of the tree. It has branches or, as a leaf, items.
type branch struct {
	size  int // how many items, at any depth
	below []*branch
	items []*value
}

const (
	// width is the maximum number of items or branches in a branch.
	width = 64
	// fewItems is the length up to which moving all later items is faster than a tree.
	fewItems = 1024
)

func (s *sequence) len() int {
	if s.tree != nil {
		return s.tree.size
	}
	return len(s.flat)
}

func (s *sequence) at(i int) *value {
	if s.tree == nil {
		return s.flat[i]
	}
	b := s.tree
	for b.below != nil {
		child, within := b.find(i)
		b, i = b.below[child], within
	}
	return b.items[i]
}

// all returns the items in their order.
func (s *sequence) all() iter.Seq[*value] {
	return func(yield func(*value) bool) {
		if s.tree != nil {
			s.tree.each(yield)
			return
		}
		for _, item := range s.flat {
			if !yield(item) {
				return
			}
		}
	}
}

func (s *sequence) append(item *value) { s.insert(s.len(), item) }

// insert inserts an item before an index, or appends it.
func (s *sequence) insert(at int, item *value) {
	if s.tree == nil && (at == len(s.flat) || len(s.flat) < fewItems) {
		s.flat = slices.Insert(s.flat, at, item)
		return
	}
	s.grow()
	if right := s.tree.insert(at, item); right != nil {
		s.tree = &branch{size: s.tree.size + right.size, below: []*branch{s.tree, right}}
	}
}

// remove removes the item at an index.
func (s *sequence) remove(at int) *value {
	if s.tree == nil && len(s.flat) < fewItems {
		item := s.flat[at]
		s.flat = slices.Delete(s.flat, at, at+1)
		return item
	}
	s.grow()
	item := s.tree.remove(at)
	if s.tree.size == 0 {
		s.tree = nil
	}
	return item
}

// grow builds a tree.
func (s *sequence) grow() {
	if s.tree != nil {
		return
	}
	var level []*branch
	for items := range slices.Chunk(s.flat, width/2) {
		level = append(level, &branch{size: len(items), items: slices.Clone(items)})
	}
	for len(level) > 1 {
		var above []*branch
		for below := range slices.Chunk(level, width/2) {
			b := &branch{below: slices.Clone(below)}
			b.count()
			above = append(above, b)
		}
		level = above
	}
	s.tree, s.flat = level[0], nil
}

func (b *branch) count() {
	b.size = len(b.items)
	for _, below := range b.below {
		b.size += below.size
	}
}

// find returns the branch that contains an item, and the item's index in it.
func (b *branch) find(at int) (child, within int) {
	for at >= b.below[child].size {
		at -= b.below[child].size
		child++
	}
	return child, at
}

func (b *branch) each(yield func(*value) bool) (more bool) {
	for _, below := range b.below {
		if !below.each(yield) {
			return false
		}
	}
	for _, item := range b.items {
		if !yield(item) {
			return false
		}
	}
	return true
}

// insert inserts an item. If the branch overflows, it returns a new branch to its right.
func (b *branch) insert(at int, item *value) (right *branch) {
	b.size++
	if b.below == nil {
		if b.items = slices.Insert(b.items, at, item); len(b.items) > width {
			right = &branch{items: slices.Clone(b.items[width/2:])}
			b.items = slices.Delete(b.items, width/2, len(b.items))
		}
	} else {
		i := 0
		for ; at > b.below[i].size; i++ {
			at -= b.below[i].size
		}
		if beside := b.below[i].insert(at, item); beside != nil {
			b.below = slices.Insert(b.below, i+1, beside)
		}
		if len(b.below) > width {
			right = &branch{below: slices.Clone(b.below[width/2:])}
			b.below = slices.Delete(b.below, width/2, len(b.below))
		}
	}
	if right != nil {
		right.count()
		b.size -= right.size
	}
	return right
}

// remove leaves no empty branch except the root.
func (b *branch) remove(at int) *value {
	b.size--
	if b.below == nil {
		item := b.items[at]
		b.items = slices.Delete(b.items, at, at+1)
		return item
	}
	i, within := b.find(at)
	item := b.below[i].remove(within)
	if b.below[i].size == 0 {
		b.below = slices.Delete(b.below, i, i+1)
	}
	return item
}
