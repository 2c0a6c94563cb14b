package pathtree

import (
	"fmt"
	"math"
	"testing"

	"github.com/puzpuzpuz/xsync/v4"

	"github.com/oolith-db/oolith/meta"
)

// filled returns a tree with n objects in one directory, one nanosecond apart.
func filled(b *testing.B, n int) *Tree {
	b.Helper()
	tree := New()
	_, _, err := tree.Load(func(yield func(meta.Object, error) bool) {
		for i := range n {
			index := fmt.Sprintf("%08x", i)
			if !yield(meta.Object{Path: "users/" + index, Index: index, Created: int64(i)}, nil) {
				return
			}
		}
	}, n, nil)
	if err != nil {
		b.Fatal(err)
	}
	return tree
}

func BenchmarkGet(b *testing.B) {
	const path = "users/00000100"
	b.Run("tree", func(b *testing.B) {
		tree := filled(b, 100_000)
		b.ReportAllocs()
		for b.Loop() {
			tree.Get(path)
		}
	})
	b.Run("bare map", func(b *testing.B) {
		bare := xsync.NewMap[string, *Version](xsync.WithPresize(100_000))
		for _, obj := range filled(b, 100_000).Select(Everything("users/*")) {
			bare.Store(obj.Path(), obj)
		}
		b.ReportAllocs()
		for b.Loop() {
			bare.Load(path)
		}
	})
}

func BenchmarkPut(b *testing.B) {
	for _, size := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprintf("overwrite/%d", size), func(b *testing.B) {
			tree := filled(b, size)
			b.ReportAllocs()
			for b.Loop() {
				tree.Put(meta.Object{Path: "users/00000100", Created: 0x100})
			}
		})
		b.Run(fmt.Sprintf("move/%d", size), func(b *testing.B) {
			tree := filled(b, size)
			created := int64(size)
			b.ReportAllocs()
			for b.Loop() {
				created++
				tree.Put(meta.Object{Path: "users/00000100", Created: created})
			}
		})
	}
}

func BenchmarkSelect(b *testing.B) {
	for _, size := range []int{1000, 1_000_000} {
		tree := filled(b, size)
		middle := int64(size / 2)
		queries := []struct {
			name string
			Query
		}{
			{"newest 100", Query{Pattern: "users/*", From: math.MinInt64, To: math.MaxInt64, Limit: 100, Descending: true}},
			{"range of 100", Query{Pattern: "users/*", From: middle, To: middle + 99}},
		}
		for _, q := range queries {
			b.Run(fmt.Sprintf("%s of %d", q.name, size), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if got := len(tree.Select(q.Query)); got != 100 {
						b.Fatalf("%d objects, want 100", got)
					}
				}
			})
		}
	}
	b.Run("newest 100 of 1000 directories", func(b *testing.B) {
		tree := New()
		for i := range 100_000 {
			tree.Put(meta.Object{Path: fmt.Sprintf("logs/%d/%d", i%1000, i), Created: int64(i)})
		}
		q := Query{Pattern: "logs/*/*", From: math.MinInt64, To: math.MaxInt64, Limit: 100, Descending: true}
		b.ReportAllocs()
		for b.Loop() {
			tree.Select(q)
		}
	})
}
