package pathtree

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/oolith-db/oolith/meta"
)

// readers runs goroutines that repeat a check until the writer returns.
func readers(t *testing.T, check func() string, write func()) {
	t.Helper()
	var done atomic.Bool
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			for !done.Load() {
				if fault := check(); fault != "" {
					t.Error(fault)
					return
				}
			}
		})
	}
	write()
	done.Store(true)
	group.Wait()
}

// A list is one instant: of a, then b, overwritten in turns, b is never ahead.
func TestListIsNeverTorn(t *testing.T) {
	for _, moves := range []bool{false, true} {
		t.Run(fmt.Sprintf("moves=%v", moves), func(t *testing.T) {
			tree := New()
			put := func(path string, n int) {
				obj := meta.Object{Path: path, Index: path[2:], Revision: uint64(n)}
				if moves {
					obj.Created = int64(n * 7919 % 13)
				}
				tree.Put(obj)
			}
			put("d/a", 0)
			put("d/b", 0)
			check := func() string {
				var a, b uint64
				list := tree.Select(Everything("d/*"))
				if len(list) != 2 {
					return fmt.Sprintf("a list of %d objects, want 2", len(list))
				}
				for i, obj := range list {
					if i > 0 && CompareVersions(list[i-1], obj) >= 0 {
						return fmt.Sprintf("%s is listed before %s", describeVersion(list[i-1]), describeVersion(obj))
					}
					if obj.Index() == "a" {
						a = obj.Revision()
					} else {
						b = obj.Revision()
					}
				}
				if b > a || a > b+1 {
					return fmt.Sprintf("one list has a at %d and b at %d", a, b)
				}
				return ""
			}
			readers(t, check, func() {
				for n := 1; n <= 20_000; n++ {
					put("d/a", n)
					put("d/b", n)
				}
			})
		})
	}
}

// What one kind of read has seen, another kind sees too.
func TestReadsAgree(t *testing.T) {
	tree := New()
	var newest atomic.Uint64
	put := func(n uint64) {
		tree.Put(meta.Object{Path: "d/a", Index: "a", Revision: n, Created: int64(n % 5)})
		newest.Store(n)
	}
	put(1)
	check := func() string {
		floor := newest.Load()
		got, _ := tree.Get("d/a")
		list := tree.Select(Everything("*/*"))
		again, _ := tree.Get("d/a")
		if got.Revision() < floor || len(list) != 1 || list[0].Revision() < got.Revision() || again.Revision() < list[0].Revision() {
			return fmt.Sprintf("written %d, then got %d, then listed %v, then got %d", floor, got.Revision(), list, again.Revision())
		}
		return ""
	}
	readers(t, check, func() {
		for n := uint64(2); n < 30_000; n++ {
			put(n)
		}
	})
}

// Whoever sees one of the removed objects gone, by a point read or in a list, finds the others gone.
func TestDeleteAllIsOneInstant(t *testing.T) {
	const rounds = 3000
	paths := []string{"x/a", "x/b", "y/a"}
	absent := func(tree *Tree, path string) bool {
		_, ok := tree.Get(path)
		return !ok
	}
	empty := func(tree *Tree, pattern string) bool { return len(tree.Select(Everything(pattern))) == 0 }
	reads := []func(*Tree) bool{
		func(tree *Tree) bool { return absent(tree, "x/a") },
		func(tree *Tree) bool { return absent(tree, "y/a") },
		func(tree *Tree) bool { return empty(tree, "x/*") },
		func(tree *Tree) bool { return empty(tree, "y/*") },
		func(tree *Tree) bool { return empty(tree, "*/a") },
		func(tree *Tree) bool { return len(tree.Select(Everything("x/*"))) < 2 },
	}
	for round := range rounds {
		tree := New()
		for _, path := range paths {
			tree.Put(meta.Object{Path: path})
		}
		var group sync.WaitGroup
		for i := range 3 {
			first := reads[(round+i)%len(reads)]
			group.Go(func() {
				for !first(tree) {
				}
				for n, read := range reads {
					// One list of several directories may be half old; not one that began now.
					if !read(tree) {
						t.Errorf("read %d saw what was seen to be gone", n)
					}
				}
			})
		}
		tree.DeleteAll(append(paths, paths...))
		group.Wait()
		if t.Failed() {
			return
		}
		checkEmpty(t, tree)
	}
}

// Directories come and go under the readers' feet.
func TestDirectoriesUnderLoad(t *testing.T) {
	tree := New()
	tree.Put(meta.Object{Path: "base/deep/stays", Index: "stays"})
	check := func() string {
		for _, pattern := range []string{"base/*/stays", "base/deep/*", "*/deep/s*", "*/*/*"} {
			n := 0
			for _, obj := range tree.Select(Everything(pattern)) {
				if obj.Path() == "base/deep/stays" {
					n++
				}
			}
			if n != 1 {
				return fmt.Sprintf("%s lists base/deep/stays %d times", pattern, n)
			}
		}
		return ""
	}
	readers(t, check, func() {
		var group sync.WaitGroup
		for g := range 2 {
			group.Go(func() {
				for i := range 5000 {
					path := fmt.Sprintf("base/g%d/k%d", g, i%3)
					tree.Put(meta.Object{Path: path, Created: int64(i)})
					tree.Put(meta.Object{Path: path + "/below"})
					tree.DeleteAll([]string{path, path + "/below"})
				}
			})
		}
		group.Wait()
	})
	checkStructure(t, tree)
	tree.Delete("base/deep/stays")
	checkEmpty(t, tree)
}
