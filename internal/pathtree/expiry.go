package pathtree

import (
	"cmp"
	"math"
	"sort"
	"strings"

	"github.com/tidwall/btree"
)

// What is counted in a directory, and which directories there are, changes as objects come to their end, before
// anybody removes them. So that neither costs a look at each object, a directory orders by their end
// the objects that have one, and its children in which nothing stays: how many are past is a search.

// never is the end of what has none.
const never = math.MaxInt64

// size is the length of a tree, 0 for nil.
func size[T any](tree *btree.BTreeG[T]) int {
	if tree == nil {
		return 0
	}
	return tree.Len()
}

// set puts an item into a tree, which is made where there is none.
func set[T any](tree **btree.BTreeG[T], item T, less func(a, b T) bool) {
	if *tree == nil {
		*tree = btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
	}
	(*tree).Set(item)
}

// ended is how many items of a tree, which is in the order of their ends, have ended at a time.
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

// noteEnd takes in that a node is in the list. It needs mu.
func (d *directory) noteEnd(n *Version) {
	if n.Expires() != 0 {
		set(&d.ends, n, endsBefore)
	}
}

// forgetEnd takes in that a node is in the list no more. It needs mu.
func (d *directory) forgetEnd(n *Version) {
	if n.Expires() == 0 {
		return
	}
	if d.ends.Delete(n); d.ends.Len() == 0 {
		d.ends = nil
	}
}

// endChild takes in when the last object of a child ends; a child that went already is in no tree. It needs mu.
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

// lastEnd is when the last object at any depth ends. It needs Tree.write.
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

// settle tells the parents when the last object ends now, as far up as that changes anything. It
// needs Tree.write, and no directory's lock is held.
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

// count returns how many objects are in the directory that have not ended, and how many directories are
// directly below it that hold, at any depth, one that has not, at a time (Query.At).
func (d *directory) count(at int64) (objects, directories int) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if at == 0 && (d.ends != nil || d.ending != nil) {
		at = now()
	}
	return d.list.Len() - ended(d.ends, at, endOf), d.childCount() - ended(d.ending, at, lastOf)
}
