package pathtree

import (
	"bytes"
	"math"
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

// No address is outside its block, also if the path fills the block and there is no data. The race detector checks it.
func TestFullBlocks(t *testing.T) {
	for size := range maxInside {
		path := strings.Repeat("n", size+1)
		if n := NewVersion(path, nil); n.Path() != path || n.Data() != nil {
			t.Fatalf("a path of %d bytes: a path of %d bytes, data %q", len(path), len(n.Path()), n.Data())
		}
		if n := NewPush(path[1:]+"*", nil); n.Data() != nil {
			t.Fatalf("a push of %d bytes: data %q", len(path), n.Data())
		}
	}
}

// The version of a push has the path of its time, and its data, copied, whatever their sizes.
func TestNamedAt(t *testing.T) {
	for _, pattern := range []string{"*", "list/*", strings.Repeat("deep/", 50) + "*"} {
		for _, at := range []int64{math.MaxInt64, 1_700_000_000_000_000_000, 946_684_800_000_000_000, 1, 0, -1, math.MinInt64} {
			for size := range 1200 {
				data := bytes.Repeat([]byte{'7'}, size)
				want := bytes.Clone(data)
				n := NewPush(pattern, data)
				clear(data)
				if size > 0 && !bytes.Equal(n.Data(), want) {
					t.Fatalf("%d bytes at %q, without a path: other data", size, pattern)
				}
				n = n.NamedAt(pattern, at)
				path := key.At(pattern, at)
				if n.Path() != path || n.Index() != key.LastIndex(path) || n.parent() != key.Parent(path) || !bytes.Equal(n.Data(), want) {
					t.Fatalf("%d bytes at %q: %q, index %q, parent %q, %d bytes", size, path, n.Path(), n.Index(), n.parent(), len(n.Data()))
				}
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
