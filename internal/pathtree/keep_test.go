package pathtree

import (
	"fmt"
	"iter"
	"runtime"
	"testing"
	"weak"

	"github.com/oolith-db/oolith/meta"
)

// An object that somebody keeps holds neither the tree that it was in, nor a newer object of its key.
func TestKeptObjectHoldsItselfOnly(t *testing.T) {
	put := func(tree *Tree, path, data string) *Version {
		return tree.Put(meta.Object{Path: path, Created: 1, Data: []byte(data)})
	}
	load := func(tree *Tree, paths ...string) error {
		_, _, err := tree.Load(iter.Seq2[meta.Object, error](func(yield func(meta.Object, error) bool) {
			for _, path := range paths {
				if !yield(meta.Object{Path: path, Index: path[2:]}, nil) {
					return
				}
			}
		}), 0, func(highest uint64) uint64 { return highest })
		return err
	}
	cases := map[string]func(t *testing.T, tree *Tree) (kept *Version, gone func() bool){
		"cleared": func(t *testing.T, tree *Tree) (*Version, func() bool) {
			kept, other := put(tree, "a/kept", "1"), weak.Make(put(tree, "a/other", "2"))
			root := weak.Make(tree.state.Load().root)
			tree.Clear()
			return kept, func() bool { return other.Value() == nil && root.Value() == nil }
		},
		"loaded, then cleared": func(t *testing.T, tree *Tree) (*Version, func() bool) {
			if err := load(tree, "a/kept", "a/other"); err != nil {
				t.Fatal(err)
			}
			kept, _ := tree.Get("a/kept")
			root := weak.Make(tree.state.Load().root)
			tree.Clear()
			return kept, func() bool { return root.Value() == nil }
		},
		"overwritten": func(t *testing.T, tree *Tree) (*Version, func() bool) {
			kept := put(tree, "a/kept", "1")
			newer := weak.Make(put(tree, "a/kept", "2"))
			tree.Delete("a/kept")
			return kept, func() bool { return newer.Value() == nil }
		},
		"moved": func(t *testing.T, tree *Tree) (*Version, func() bool) {
			kept := put(tree, "a/kept", "1")
			newer := weak.Make(tree.Put(meta.Object{Path: "a/kept", Created: 2}))
			tree.Delete("a/kept")
			return kept, func() bool { return newer.Value() == nil }
		},
		"overwritten at once with another": func(t *testing.T, tree *Tree) (*Version, func() bool) {
			kept := put(tree, "a/kept", "1")
			stored := tree.Apply([]Mutation{{"a/kept", &meta.Object{Path: "a/kept", Created: 1}, nil}, {"b/other", &meta.Object{Path: "b/other"}, nil}})
			newer := weak.Make(stored[0])
			tree.DeleteAll([]string{"a/kept", "b/other"})
			return kept, func() bool { return newer.Value() == nil }
		},
		"removed, with its directory": func(t *testing.T, tree *Tree) (*Version, func() bool) {
			kept := put(tree, "a/kept", "1")
			d, _ := tree.state.Load().dirs.Load("a")
			dir := weak.Make(d)
			tree.Delete("a/kept")
			return kept, func() bool { return dir.Value() == nil }
		},
		"removed at once with others": func(t *testing.T, tree *Tree) (*Version, func() bool) {
			kept, other := put(tree, "a/kept", "1"), weak.Make(put(tree, "a/other", "2"))
			tree.DeleteAll([]string{"a/kept", "a/other"})
			return kept, func() bool { return other.Value() == nil }
		},
	}
	for name, keep := range cases {
		t.Run(name, func(t *testing.T) {
			tree := New()
			for i := range 1000 { // more than one of the small tables
				put(tree, fmt.Sprintf("c/%d", i), "3")
			}
			kept, gone := keep(t, tree)
			runtime.GC()
			if !gone() {
				t.Error("a kept object holds what is gone")
			}
			runtime.KeepAlive(kept)
			runtime.KeepAlive(tree)
		})
	}
}
