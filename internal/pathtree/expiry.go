package pathtree

import (
	"cmp"
	"math"
	"sort"
	"strings"

	"github.com/tidwall/btree"
)

// The number of objects in a directory, and the set of directories, change as objects expire, before anything removes
// them. To know both without a look at each object, a directory orders its expiring objects by their end, and the
// subdirectories in which all objects expire. A search then finds how many have ended.

// never is the end of an object without a time to live.
const never = math.MaxInt64

// size returns the length of a tree, 0 for nil.
func size[T any](tree *btree.BTreeG[T]) int {
	if tree == nil {
		return 0
	}
	return tree.Len()
}

// set adds an item to a tree, and creates the tree if it is nil.
func set[T any](tree **btree.BTreeG[T], item T, less func(a, b T) bool) {
	if *tree == nil {
		*tree = btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
	}
	(*tree).Set(item)
}

// ended returns how many items of a tree, ordered by their ends, have ended at a time.
func ended[T any](tree *btree.BTreeG[T], at int64, end func(T) int64) int {
	return sort.Search(size(tree), func(i int) bool {
		item, _ := tree.GetAt(i)
		return end(item) > at
	})
}

func endOf(n *Version) int64 { return n.Expires() }

func lastOf(d *directory) int64 { return d.last }

func endsBefore(a, b *Version) bool {
	return cmp.Or(cmp.Compare(a.Expires(), b.Expires()), strings.Compare(a.Path(), b.Path())) < 0
}

func lastBefore(a, b *directory) bool {
	return cmp.Or(cmp.Compare(a.last, b.last), strings.Compare(a.path, b.path)) < 0
}

// noteEnd records that a node was added to the list. It requires mu.
func (d *directory) noteEnd(n *Version) {
	if n.Expires() != 0 {
		set(&d.ends, n, endsBefore)
	}
}

// forgetEnd records that a node was removed from the list. It requires mu.
func (d *directory) forgetEnd(n *Version) {
	if n.Expires() == 0 {
		return
	}
	if d.ends.Delete(n); d.ends.Len() == 0 {
		d.ends = nil
	}
}

// endChild records when the last object of a subdirectory ends. It ignores a subdirectory that has already been
// removed. It requires mu.
func (d *directory) endChild(child *directory, last int64) {
	if child.last != never && d.ending != nil {
		if d.ending.Delete(child); d.ending.Len() == 0 {
			d.ending = nil
		}
	}
	if child.last = last; last != never {
		set(&d.ending, child, lastBefore)
	}
}

// lastEnd returns when the last object at any depth ends. It requires Tree.write.
func (d *directory) lastEnd() int64 {
	if d.list.Len() > size(d.ends) || d.childCount() > size(d.ending) {
		return never
	}
	var last int64
	if d.ends != nil {
		n, _ := d.ends.Max()
		last = n.Expires()
	}
	if d.ending != nil {
		child, _ := d.ending.Max()
		last = max(last, child.last)
	}
	return last
}

// settle updates when the last object ends in the parents, up to the first one in which nothing changes. It requires
// Tree.write. The caller holds no directory's lock.
func (d *directory) settle() {
	for ; d.parent != nil; d = d.parent {
		last := d.lastEnd()
		if last == d.last {
			return
		}
		d.parent.mu.Lock()
		d.parent.endChild(d, last)
		d.parent.mu.Unlock()
	}
}

// count returns how many objects in the directory have not ended at a time (Query.At), and how many direct
// subdirectories hold such an object at any depth.
func (d *directory) count(at int64) (objects, directories int) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if at == 0 && (d.ends != nil || d.ending != nil) {
		at = now()
	}
	return d.list.Len() - ended(d.ends, at, endOf), d.childCount() - ended(d.ending, at, lastOf)
}
