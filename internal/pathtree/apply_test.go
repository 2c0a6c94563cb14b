package pathtree

import (
	"fmt"
	"sync"
	"testing"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// A change of several keys, in three directories: in even rounds some of them are there and some not,
// in odd ones the others, and what stays moves in time.
var applied = []struct {
	path      string
	even, odd bool
}{
	{"x/stays", true, true}, {"x/even", true, false}, {"x/odd", false, true},
	{"y/stays", true, true}, {"y/odd", false, true}, {"z/deep/even", true, false},
}

func roundOf(n uint64) (changes []Mutation) {
	for _, a := range applied {
		c := Mutation{Path: a.path}
		if n%2 == 0 && a.even || n%2 == 1 && a.odd {
			c.Object = &meta.Object{Path: a.path, Index: key.LastIndex(a.path), Revision: n, Created: int64(n % 7)}
		}
		changes = append(changes, c)
	}
	return changes
}

// Whoever sees one key of a change in its new state, by a point read, finds all the others there, by
// point reads and lists; and a list shows all of a change or nothing in each directory.
func TestApplyIsOneInstant(t *testing.T) {
	tree := New()
	tree.Apply(roundOf(0))
	check := func() string {
		var seen uint64 // the newest round that a read has shown
		for range 3 {
			for _, a := range applied {
				obj, ok := tree.Get(a.path)
				round := seen
				switch {
				case ok:
					round = obj.Revision()
				case a.even && a.odd:
					return fmt.Sprintf("%s is gone", a.path)
				case seen%2 == 0 && a.even || seen%2 == 1 && a.odd:
					round = seen + 1 // it was removed in a later round
				}
				if round < seen {
					return fmt.Sprintf("%s is of round %d, another key was seen in round %d", a.path, round, seen)
				}
				seen = round
			}
			for _, dir := range []string{"x/*", "y/*", "z/deep/*"} {
				list := tree.Select(Everything(dir))
				if len(list) == 0 {
					continue
				}
				round := list[0].Revision()
				want := 0
				for _, a := range applied {
					if key.Match(dir, a.path) && (round%2 == 0 && a.even || round%2 == 1 && a.odd) {
						want++
					}
				}
				if round < seen || len(list) != want {
					return fmt.Sprintf("%s lists %d objects of round %d, want %d, after round %d was seen", dir, len(list), round, want, seen)
				}
				for _, obj := range list {
					if obj.Revision() != round {
						return fmt.Sprintf("%s lists rounds %d and %d", dir, round, obj.Revision())
					}
				}
				seen = round
			}
		}
		return ""
	}
	readers(t, check, func() {
		for n := uint64(1); n <= 10_000; n++ {
			tree.Apply(roundOf(n))
		}
	})
	checkStructure(t, tree)
	tree.DeleteAll(tree.Paths(0))
	checkEmpty(t, tree)
}

// What a change makes and removes in one directory leaves the directory as it ought to be.
func TestApplyAndDirectories(t *testing.T) {
	obj := func(path string) *meta.Object {
		return &meta.Object{Path: path, Index: key.LastIndex(path), Expires: toCome}
	}
	tree := New()
	tree.Apply([]Mutation{{"d/1", obj("d/1"), nil}, {"d/2", obj("d/2"), nil}, {"d/e/f/3", obj("d/e/f/3"), nil}})
	checkStructure(t, tree)
	tree.Apply([]Mutation{{"d/1", nil, nil}, {"d/2", nil, nil}, {"d/4", obj("d/4"), nil}, {"d/e/f/3", nil, nil}})
	checkStructure(t, tree)
	if got := fmt.Sprint(tree.Paths(0)); got != "[d/4]" || tree.Directories() != 1 {
		t.Errorf("left are %s in %d directories, want d/4 in one", got, tree.Directories())
	}
	tree.Apply([]Mutation{{"d/4", nil, nil}, {"d/absent", nil, nil}, {"none/absent", nil, nil}, {"d/4", nil, nil}})
	checkStructure(t, tree)
	checkEmpty(t, tree)
	if got := tree.Apply(nil); len(got) != 0 {
		t.Errorf("an empty change returned %v", got)
	}
}

// Puts, deletes and changes of several keys from many goroutines keep the tree in order.
func TestApplyUnderLoad(t *testing.T) {
	tree := New()
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			for i := range 2000 {
				a, b := fmt.Sprintf("d/%d", i%5), fmt.Sprintf("e/%d/%d", g, i%3)
				obj := meta.Object{Created: int64(i % 11), Expires: int64(i % 2)}
				switch i % 4 {
				case 0:
					tree.Apply([]Mutation{{a, &meta.Object{Path: a, Created: obj.Created}, nil}, {b, nil, nil}})
				case 1:
					tree.Apply([]Mutation{{a, nil, nil}, {b, &meta.Object{Path: b, Expires: obj.Expires}, nil}})
				case 2:
					tree.Put(meta.Object{Path: a, Created: obj.Created, Expires: obj.Expires})
				default:
					tree.Delete(b)
				}
			}
		})
	}
	group.Wait()
	checkStructure(t, tree)
}
