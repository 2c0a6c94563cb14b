package ko

import (
	"fmt"
	"testing"

	"github.com/syndtr/goleveldb/leveldb/iterator"
)

// countingIterator counts the keys that a walk visits.
type countingIterator struct {
	iterator.Iterator
	visited, seeks int
}

func (c *countingIterator) Next() bool {
	c.visited++
	return c.Iterator.Next()
}

func (c *countingIterator) Seek(key []byte) bool {
	c.seeks++
	return c.Iterator.Seek(key)
}

// A walk visits what it yields, and for each tree that it passes a few keys and a seek.
func TestScanVisitsOnlyWhatCanMatch(t *testing.T) {
	l := startInMemory(t)
	var paths []string
	for u := range 50 {
		paths = append(paths, fmt.Sprintf("users/%02d", u))
		for p := range 50 {
			paths = append(paths, fmt.Sprintf("users/%02d/posts/%02d", u, p))
			paths = append(paths, fmt.Sprintf("users/%02d/posts/%02d/tags/x", u, p))
		}
		paths = append(paths, fmt.Sprintf("users/%02d/name", u))
	}
	for i := range 1000 {
		paths = append(paths, fmt.Sprintf("other/%04d/name", i), fmt.Sprintf("zoo/%04d", i))
	}
	fill(t, l, paths)
	for _, c := range []struct {
		pattern               string
		yields, visits, seeks int
	}{
		// 50 trees lie between the objects.
		{"users/*", 50, 50 + 50*nearby + 1, 51},
		{"users/0*", 10, 10 + 10*nearby + 1, 11},
		{"zoo/*", 1000, 1001, 1},
		{"zoo/0001", 1, 0, 1},
		{"zoo/00*", 100, 101, 1},
		// The directory users is passed through to find those below it.
		{"users/*/name", 50, 50 + 50*nearby + 1, 51 + 50},
		{"users/07/posts/*", 50, 50 * 2, 1},
		// A walk of 7 through posts, whose tags are next to each post.
		{"users/07/posts/*/tags/*", 50, 50*3 + 1, 1 + 50},
		{"none/*/x", 0, 0, 1},
		{"zoo*/*", 1000, 1000 + nearby + 2, 3},
	} {
		w := newWalk(c.pattern, false)
		it := &countingIterator{Iterator: databaseOf(l).db.NewIterator(bounds(c.pattern), nil)}
		w.it = it
		yielded := 0
		for {
			found, err := w.next()
			if err != nil {
				t.Fatal(err)
			}
			if !found {
				break
			}
			yielded++
		}
		it.Release()
		if yielded != c.yields || it.visited > c.visits || it.seeks > c.seeks {
			t.Errorf("%q yields %d with %d steps and %d seeks, expected %d with at most %d and %d",
				c.pattern, yielded, it.visited, it.seeks, c.yields, c.visits, c.seeks)
		}
	}
}

// A walk notes the directories that wait, and no others.
func TestWalkNotesWhatWaits(t *testing.T) {
	l := startInMemory(t)
	var paths []string
	for i := range 100 {
		for k := range 20 {
			paths = append(paths, fmt.Sprintf("a/%02d/x/%02d", i, k))
		}
	}
	fill(t, l, paths)
	w := newWalk("", false)
	w.it = databaseOf(l).db.NewIterator(nil, nil)
	defer w.it.Release()
	most := 0
	for found := true; found; {
		var err error
		if found, err = w.next(); err != nil {
			t.Fatal(err)
		}
		most = max(most, len(w.noted))
	}
	if most > 100 {
		t.Errorf("the walk notes up to %d directories at a time, expected at most the 100 of one level", most)
	}
}
