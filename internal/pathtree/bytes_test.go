package pathtree

import (
	"fmt"
	"iter"
	"testing"

	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/meta"
)

// TestBytes holds the counter against the sum of what is there, through all that changes a tree.
func TestBytes(t *testing.T) {
	random := testrand.New(t)
	object := func() meta.Object {
		return meta.Object{
			Path: fmt.Sprintf("d%d/%d", random.IntN(3), random.IntN(20)), Created: random.Int64N(5),
			Data: make([]byte, random.IntN(1000)),
		}
	}
	tree := New()
	check := func(step string) {
		t.Helper()
		var want int64
		for _, obj := range tree.All(0) {
			want += int64(len(obj.Data()))
		}
		if got := tree.Bytes(); got != want {
			t.Fatalf("after %s: %d bytes, want %d", step, got, want)
		}
	}
	steps := map[string]func(){
		"put":    func() { tree.Put(object()) },
		"delete": func() { tree.Delete(object().Path) },
		"several": func() {
			changes := map[string]Mutation{}
			for range random.IntN(6) {
				obj := object()
				changes[obj.Path] = Mutation{Path: obj.Path, Object: &obj}
				if random.IntN(2) == 0 {
					changes[obj.Path] = Mutation{Path: obj.Path}
				}
			}
			var list []Mutation
			for _, change := range changes {
				list = append(list, change)
			}
			tree.Apply(list)
		},
		"delete all": func() {
			if random.IntN(10) == 0 {
				var paths []string
				for _, obj := range tree.Select(Everything("d1/*")) {
					paths = append(paths, obj.Path(), obj.Path()) // one named twice
				}
				tree.DeleteAll(paths)
			}
		},
		"clear": func() {
			if random.IntN(50) == 0 {
				tree.Clear()
			}
		},
		"load": func() {
			if random.IntN(50) == 0 {
				if _, _, err := tree.Load(some(tree.All(0)), 0, nil); err != nil {
					t.Fatal(err)
				}
			}
		},
	}
	for range 2000 {
		for name, step := range steps {
			step()
			check(name)
		}
	}
}

// some yields half of some objects.
func some(objects []*Version) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		for i := 0; i < len(objects); i += 2 {
			if !yield(objects[i].Object(), nil) {
				return
			}
		}
	}
}
