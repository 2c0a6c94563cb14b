package ko

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/syndtr/goleveldb/leveldb/iterator"

	"github.com/oolith-db/oolith/engine/internal/enginekit"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
)

func scanPaths(t testing.TB, l *Layer, pattern string) []string {
	t.Helper()
	got := []string{}
	for obj, err := range l.Scan(pattern) {
		if err != nil {
			t.Fatalf("scan %q: %v", pattern, err)
		}
		if want := fmt.Sprintf("%q", obj.Path); string(obj.Data) != want || obj.Index != key.LastIndex(obj.Path) {
			t.Fatalf("scan %q yields %+v", pattern, obj)
		}
		got = append(got, obj.Path)
	}
	return got
}

// byPlace is the order that Scanner demands.
func byPlace(a, b string) int {
	if c := strings.Compare(key.Parent(a), key.Parent(b)); c != 0 {
		return c
	}
	return strings.Compare(key.LastIndex(a), key.LastIndex(b))
}

// matching is what a scan must yield, found the plain way.
func matching(paths []string, pattern string) []string {
	want := []string{}
	for _, path := range paths {
		if pattern == "" || key.Match(pattern, path) {
			want = append(want, path)
		}
	}
	slices.SortFunc(want, byPlace)
	return want
}

// names sort around '/', and are beginnings of one another.
var names = []string{"a", "aa", "ab", "a-", "a.", "a-b", "a0", "A", "b", "-", "_", "0", "z"}

func randomPath(rng *rand.Rand, globs bool) string {
	segments := make([]string, 1+rng.IntN(4))
	for i := range segments {
		s := names[rng.IntN(len(names))]
		if globs {
			switch rng.IntN(6) {
			case 0:
				s = "*"
			case 1:
				s += "*"
			case 2:
				s = "*" + s
			case 3:
				s = s[:1] + "*" + s[len(s)-1:]
			}
		}
		segments[i] = s
	}
	return strings.Join(segments, "/")
}

// randomPaths returns different paths. Some trees are large, so that they are passed by a seek.
func randomPaths(rng *rand.Rand) []string {
	stored := map[string]bool{}
	for range 400 {
		stored[randomPath(rng, false)] = true
	}
	for range 4 {
		tree := randomPath(rng, false)
		for range 30 {
			stored[tree+"/"+randomPath(rng, false)] = true
		}
	}
	var paths []string
	for path := range stored {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}

func TestScanAgainstModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 5 {
		l := startInMemory(t)
		paths := randomPaths(rng)
		fill(t, l, paths)
		patterns := []string{"", "*", "*/*", "*/*/*", "*/*/*/*", "a/*", "a*/*", "*/a", "a/*/a*/*", "a"}
		for range 400 {
			patterns = append(patterns, randomPath(rng, true))
		}
		for _, pattern := range patterns {
			if !key.IsValid(pattern) && pattern != "" {
				continue
			}
			if got, want := scanPaths(t, l, pattern), matching(paths, pattern); !slices.Equal(got, want) {
				t.Fatalf("scan %q yields\n%q, expected\n%q", pattern, got, want)
			}
		}
		if got := keys(t, l); !slices.Equal(got, paths) {
			t.Fatalf("the keys are\n%q, expected\n%q", got, paths)
		}
		l.Close()
	}
}

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
		it := &countingIterator{Iterator: l.db.NewIterator(bounds(c.pattern), nil)}
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
	w.it = l.db.NewIterator(nil, nil)
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

func TestScanIsASnapshot(t *testing.T) {
	l := startInMemory(t)
	var paths []string
	for i := range 2000 {
		paths = append(paths, fmt.Sprintf("d%d/%04d", i/500, i))
	}
	fill(t, l, paths)
	seen := 0
	for obj, err := range l.Scan("*/*") {
		if err != nil {
			t.Fatal(err)
		}
		if seen == 0 {
			l.Clear()
			set(t, l, "d2/new")
		}
		if obj.Path != paths[seen] {
			t.Fatalf("object %d is %s", seen, obj.Path)
		}
		seen++
	}
	if seen != len(paths) {
		t.Errorf("the scan saw %d objects, expected %d", seen, len(paths))
	}
}

func TestScanMayBeRepeatedAndLeft(t *testing.T) {
	l := startInMemory(t)
	set(t, l, "a", "b", "c")
	scan := l.Scan("*")
	for range 3 {
		seen := 0
		for range scan {
			if seen++; seen == 2 {
				break
			}
		}
		if seen != 2 {
			t.Errorf("a repeated scan yields %d objects", seen)
		}
	}
	func() {
		defer func() { _ = recover() }()
		for range scan {
			panic("in the loop")
		}
	}()
	if n := l.scans.Len(); n != 0 {
		t.Errorf("%d scans are held after their loops", n)
	}
}

func TestCloseInsideScan(t *testing.T) {
	l := startInMemory(t)
	var paths []string
	for i := range 3000 {
		paths = append(paths, fmt.Sprintf("d/%04d", i))
	}
	fill(t, l, paths)
	seen := 0
	var last error
	for _, err := range l.Scan("") {
		if err != nil {
			last = err
			break
		}
		if seen++; seen == 1 {
			l.Close()
			if err := l.Start(storage.LayerOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !errors.Is(last, storage.ErrNotActive) || seen > enginekit.MaxChunk {
		t.Errorf("the scan saw %d objects and ended with %v, expected ErrNotActive", seen, last)
	}
}
