package pathtree

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// sequence yields objects, and then an error if there is one.
func sequence(objects []meta.Object, err error) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		for _, obj := range objects {
			if !yield(obj, nil) {
				return
			}
		}
		if err != nil {
			yield(meta.Object{}, err)
		}
	}
}

// many returns objects in several directories, in no order of time.
func many(n int) []meta.Object {
	objects := make([]meta.Object, n)
	for i := range objects {
		path := fmt.Sprintf("d%d/k%d", i%7, i)
		objects[i] = meta.Object{Path: path, Index: key.LastIndex(path), Created: int64(i * 7919 % n), Revision: uint64(i + 1)}
	}
	return objects
}

func TestLoad(t *testing.T) {
	for _, n := range []int{0, 1, loadBatch - 1, loadBatch, loadBatch + 1, 20 * loadBatch} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			tree, truth := New(), model{}
			tree.Put(meta.Object{Path: "before"})
			objects := many(n)
			for _, obj := range objects {
				truth[obj.Path] = obj
			}
			revision, _, err := tree.Load(sequence(objects, nil), 0, nil)
			if err != nil || revision != uint64(n) {
				t.Fatalf("Load = %d, %v, want %d", revision, err, n)
			}
			q := Everything("*/*")
			compareLists(t, q, tree.Select(q), truth.sorted(q))
			checkStructure(t, tree)
			if _, ok := tree.Get("before"); ok {
				t.Fatal("what was there before the load is still there")
			}
		})
	}
}

// What comes without a revision gets one, in the order of lists, behind all that are there.
func TestLoadNumbers(t *testing.T) {
	objects := many(3 * loadBatch)
	missing := 0
	for i := range objects {
		if i%3 != 0 {
			objects[i].Revision = 0
			missing++
		}
	}
	highest := objects[len(objects)-3].Revision
	tree := New()
	revision, numbered, err := tree.Load(sequence(objects, nil), 0, func(loaded uint64) uint64 {
		if loaded != highest {
			t.Errorf("the highest revision is %d, want %d", loaded, highest)
		}
		return 5000
	})
	if err != nil || len(numbered) != missing || revision != 5000+uint64(missing) {
		t.Fatalf("Load = %d, %d objects, %v, want %d and %d", revision, len(numbered), err, 5000+missing, missing)
	}
	next := uint64(5001)
	for _, obj := range tree.Select(Everything("*/*")) {
		if obj.Revision() > 5000 {
			if obj.Revision() != next || numbered[next-5001] != obj {
				t.Fatalf("%s has revision %d, want %d", obj.Path(), obj.Revision(), next)
			}
			next++
		}
	}
	if next != revision+1 {
		t.Errorf("%d objects are listed with a new revision, want %d", next-5001, missing)
	}
	checkStructure(t, tree)
}

func TestFailedLoadChangesNothing(t *testing.T) {
	broken := errors.New("broken entry")
	long := many(20 * loadBatch)
	twice := func(objects []meta.Object) []meta.Object {
		return append(objects[:len(objects):len(objects)], objects[0])
	}
	tests := []struct {
		name    string
		objects iter.Seq2[meta.Object, error]
		want    string
	}{
		{"error at once", sequence(nil, broken), "broken entry"},
		{"error in the middle", sequence(long, broken), "broken entry"},
		{"twice in one batch", sequence(twice(many(3)), nil), `"d0/k0" comes twice`},
		{"twice, far apart", sequence(twice(long), nil), `"d0/k0" comes twice`},
		{"twice, with much to come", sequence(append(twice(many(3)), long...), nil), `comes twice`},
		{"panic", func(yield func(meta.Object, error) bool) {
			yield(meta.Object{Path: "a"}, nil)
			panic("broken decoder")
		}, "broken decoder"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tree := New()
			tree.Put(meta.Object{Path: "kept/one", Index: "one", Created: 1})
			_, _, err := tree.Load(test.objects, 10, nil)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("Load = %v, want %s", err, test.want)
			}
			if strings.Contains(test.want, "broken entry") && !errors.Is(err, broken) {
				t.Errorf("Load = %v does not wrap the sequence's error", err)
			}
			if got := tree.Paths(0); len(got) != 1 || got[0] != "kept/one" {
				t.Errorf("after the failed load: %v, want kept/one alone", got)
			}
			tree.Put(meta.Object{Path: "kept/two"}) // not locked
			checkStructure(t, tree)
		})
	}
}

// The sequence has ended when Load returns: its layer may be closed then.
func TestLoadOutlivesItsSequence(t *testing.T) {
	for _, objects := range [][]meta.Object{many(10 * loadBatch), append(many(1), many(10*loadBatch)...)} {
		ended := false
		_, _, _ = New().Load(func(yield func(meta.Object, error) bool) {
			defer func() { ended = true }()
			sequence(objects, nil)(yield)
		}, 0, nil)
		if !ended {
			t.Fatal("Load returned while its sequence was running")
		}
	}
}
