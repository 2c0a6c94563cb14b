package pathtree

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"unsafe"
	"weak"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// A version gives back the path and data that it was made with, copied, whatever their sizes.
func TestBlocks(t *testing.T) {
	paths := []string{"a", "cities/lisbon", "deep/" + strings.Repeat("p/", 100) + "end", strings.Repeat("n", 1024)}
	for _, path := range paths {
		for size := range 1200 {
			data := bytes.Repeat([]byte{'7'}, size)
			want := bytes.Clone(data)
			name := []byte(path)
			n := NewVersion(unsafe.String(&name[0], len(name)), data)
			clear(data)
			clear(name)
			if n.Path() != path || n.Index() != key.LastIndex(path) || n.parent() != key.Parent(path) {
				t.Fatalf("%d bytes at %.20q: path %.20q, index %.20q, parent %.20q", size, path, n.Path(), n.Index(), n.parent())
			}
			got := n.Data()
			if !bytes.Equal(got, want) || n.bytes() != size || cap(got) != len(got) || (size == 0) != (got == nil) {
				t.Fatalf("%d bytes at %.20q: %d bytes of room for %d, counted %d", size, path, len(got), cap(got), n.bytes())
			}
		}
	}
}

// A version that is named anew has the new path, and its data.
func TestNamed(t *testing.T) {
	for _, size := range []int{0, 1, 150, 5000} {
		for _, name := range []string{"list/1111", "list/2", "list/33333333"} {
			data := bytes.Repeat([]byte{'7'}, size)
			n := NewVersion("list/0000", data).Named(name)
			if n.Path() != name || n.Index() != key.LastIndex(name) || !bytes.Equal(n.Data(), data) {
				t.Errorf("%d bytes: %q, %q, %d bytes", size, n.Path(), n.Index(), len(n.Data()))
			}
		}
	}
}

// Neither a directory nor who keeps the path of a large object holds what was stored there.
func TestKeptPathHoldsNoData(t *testing.T) {
	cases := map[string]func(tree *Tree) (kept any, gone func() bool){
		"the path of a large object": func(*Tree) (any, func() bool) {
			n := NewVersion("a/b", make([]byte, 1<<20))
			data := weak.Make(unsafe.SliceData([]byte(n.Data())))
			return n.Path(), func() bool { return data.Value() == nil }
		},
		"a directory, of its first object": func(tree *Tree) (any, func() bool) {
			n := weak.Make(tree.Put(meta.Object{Path: "a/first"}))
			tree.Put(meta.Object{Path: "a/second"})
			tree.Delete("a/first")
			return nil, func() bool { return n.Value() == nil }
		},
		"a list of paths": func(tree *Tree) (any, func() bool) {
			n := weak.Make(tree.Put(meta.Object{Path: "a/first"}))
			paths := tree.Paths(0)
			tree.Delete("a/first")
			return paths, func() bool { return n.Value() == nil }
		},
	}
	for name, keep := range cases {
		t.Run(name, func(t *testing.T) {
			tree := New()
			kept, gone := keep(tree)
			runtime.GC()
			if !gone() {
				t.Error("it is still held")
			}
			runtime.KeepAlive(kept)
			runtime.KeepAlive(tree)
		})
	}
}
