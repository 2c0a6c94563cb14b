package pathtree

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"
)

func versionAt(path string, revision uint64) *Version {
	n := newVersion(path, nil)
	n.revision = revision
	return n
}

// Growing and shrinking again and again, the index holds what a map holds.
func TestIndexAgainstMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var x index
	x.init(0)
	model := map[string]*Version{}
	resized, between := 0, 0
	last := x.table.Load()
	for step := range 200_000 {
		// The number of keys goes up to some thousands and down to some.
		bias := 3
		if step/20_000%2 == 1 {
			bias = 10
		}
		path := fmt.Sprint("k/", r.IntN(6000))
		old := model[path]
		if got := x.load(path); got != old {
			t.Fatalf("step %d: %q is %v, want %v", step, path, got, old)
		}
		if r.IntN(10) >= bias {
			model[path] = versionAt(path, uint64(step))
			x.store(old, model[path])
		} else if old != nil {
			delete(model, path)
			x.remove(old)
		}
		if x.size() != len(model) {
			t.Fatalf("step %d: size %d, want %d", step, x.size(), len(model))
		}
		table := x.table.Load()
		if table != last {
			last = table
			resized++
		}
		if table.from.Load() != nil {
			between++
		}
		if step%5000 == 0 {
			for path, want := range model {
				if got := x.load(path); got != want {
					t.Fatalf("step %d: %q is %v, want %v", step, path, got, want)
				}
			}
		}
	}
	if resized < 10 || between < 100 {
		t.Errorf("%d tables, %d steps between two: expected more", resized, between)
	}
	for _, v := range model {
		x.remove(v)
	}
	if n := len(x.table.Load().buckets); x.size() != 0 || n > 4*fewest {
		t.Errorf("empty: size %d, %d buckets, want 0 and a few", x.size(), n)
	}
}

// Readers find what is there all the time, and never an older version after a newer one, while
// the table grows and shrinks under them.
func TestIndexReadersBesideWriter(t *testing.T) {
	const steady, passing, rounds = 50, 3000, 4
	var x index
	x.init(0)
	kept := make([]*Version, steady)
	for i := range kept {
		kept[i] = versionAt(fmt.Sprint("steady/", i), 1)
		x.store(nil, kept[i])
	}
	var done atomic.Bool
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			seen := make([]uint64, steady)
			for !done.Load() {
				for i := range seen {
					v := x.load(fmt.Sprint("steady/", i))
					if v == nil {
						t.Errorf("steady/%d is not there after version %d", i, seen[i])
						return
					}
					if v.revision < seen[i] {
						t.Errorf("steady/%d: version %d after version %d", i, v.revision, seen[i])
						return
					}
					seen[i] = v.revision
				}
			}
		})
	}
	revision := uint64(1)
	overwrite := func() {
		revision++
		i := int(revision) % steady
		v := versionAt(kept[i].Path(), revision)
		x.store(kept[i], v)
		kept[i] = v
	}
	for range rounds {
		come := make([]*Version, passing)
		for i := range come {
			come[i] = versionAt(fmt.Sprint("passing/", i), 1)
			x.store(nil, come[i])
			overwrite()
		}
		for _, v := range come {
			x.remove(v)
			overwrite()
		}
	}
	done.Store(true)
	readers.Wait()
}

// A key is found at every moment of its way from one table to the next, by a move or by an overwrite.
func TestIndexReadersBesideMoves(t *testing.T) {
	var x index
	x.init(0)
	path := "k"
	for hashOf(path)%fewest < movesPerChange { // its bucket is not the first that is moved
		path += "k"
	}
	v := versionAt(path, 1)
	x.store(nil, v)
	var done atomic.Bool
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for !done.Load() {
				if x.load(path) == nil {
					t.Error("the key is not found while it moves")
					return
				}
			}
		})
	}
	for i := range uint64(300_000) {
		x.resize(fewest)
		if i%2 == 0 {
			x.move(fewest)
			continue
		}
		next := versionAt(path, i)
		x.store(v, next)
		v = next
	}
	done.Store(true)
	readers.Wait()
}

// Keys that share a bucket, and a tag, are told apart.
func TestIndexCollisions(t *testing.T) {
	var x index
	x.init(0)
	var same []*Version
	for i := range 20 {
		v := versionAt(fmt.Sprint("c/", i), 1)
		same = append(same, v)
		x.table.Load().add(v, 0)
	}
	find := func(v *Version) *Version { return x.table.Load().find(v.Path(), 0) }
	for _, v := range same {
		if find(v) != v {
			t.Errorf("%q is not found", v.Path())
		}
	}
	for i, v := range same {
		if !x.table.Load().drop(v, 0) || find(v) != nil {
			t.Errorf("%q is not dropped", v.Path())
		}
		for _, other := range same[i+1:] {
			if find(other) != other {
				t.Errorf("%q is gone with %q", other.Path(), v.Path())
			}
		}
	}
}

func TestBucketIsCacheLine(t *testing.T) {
	if size := unsafe.Sizeof(bucket{}); unsafe.Sizeof(uintptr(0)) == 8 && size != 64 {
		t.Errorf("a bucket has %d bytes, want 64", size)
	}
}
