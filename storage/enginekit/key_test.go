package enginekit

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/internal/testrand"
)

// spaces are prefixes as engines have them, and those whose bytes look like a key's own.
var spaces = map[string]Space{
	"a letter":          NewSpace([]byte("o")),
	"zeros":             NewSpace([]byte("o\x00\x00\x00")),
	"a number":          NewSpace([]byte("o\x00\x01\x02/")),
	"at the end of all": NewSpace([]byte("o\xff\xff")),
}

// keysOf returns the keys of paths, sorted.
func keysOf(s Space, paths []string) [][]byte {
	raws := make([][]byte, len(paths))
	for i, path := range paths {
		raws[i] = s.Append(nil, path)
	}
	slices.SortFunc(raws, bytes.Compare)
	return raws
}

// walkAlong returns the paths that a walk takes and how many keys it visits.
func walkAlong(s Space, pattern string, raws [][]byte) (taken []string, visited int, err error) {
	w := s.Walk(pattern)
	lower, upper := w.Bounds()
	at, _ := slices.BinarySearchFunc(raws, lower, bytes.Compare)
	for at < len(raws) && bytes.Compare(raws[at], upper) < 0 {
		visited++
		if !bytes.HasPrefix(raws[at], lower) {
			return nil, 0, fmt.Errorf("the key %q is within the bounds and does not begin with the lower one, %q", raws[at], lower)
		}
		step, target := w.At(raws[at])
		switch step {
		case Take:
			path, _, err := s.Path(raws[at], nil)
			if err != nil {
				return nil, 0, err
			}
			taken = append(taken, path)
			at++
		case Next:
			at++
		case Seek:
			if bytes.Compare(target, raws[at]) <= 0 {
				return nil, 0, fmt.Errorf("from %q the walk seeks back to %q", raws[at], target)
			}
			at, _ = slices.BinarySearchFunc(raws, target, bytes.Compare)
		}
	}
	return taken, visited, nil
}

func TestKeysAreInOrder(t *testing.T) {
	want := testrand.Paths(testrand.New(t), 500)
	slices.SortFunc(want, testrand.ByPlace)
	for name, s := range spaces {
		first, end := s.Bounds()
		for i, raw := range keysOf(s, want) {
			path, _, err := s.Path(raw, nil)
			if err != nil || path != want[i] {
				t.Fatalf("%s: key %d is of %q, %v, expected %q", name, i, path, err, want[i])
			}
			if len(raw) != s.Size(path) {
				t.Errorf("%s: the key of %q has %d bytes, Size says %d", name, path, len(raw), s.Size(path))
			}
			if bytes.Compare(raw, first) < 0 || bytes.Compare(raw, end) >= 0 {
				t.Errorf("%s: the key of %q is not within the bounds of the space", name, path)
			}
		}
	}
}

func TestPathRefuses(t *testing.T) {
	s := spaces["a number"]
	for _, raw := range []string{"", "o", "x\x00a", "o\x00\x01\x02/", "o\x00\x01\x02/a", "o\x00\x01\x03/a\x00b"} {
		if path, _, err := s.Path([]byte(raw), nil); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", raw)) {
			t.Errorf("the path of the key %q is %q, %v, expected an error that names it", raw, path, err)
		}
	}
}

func TestWalkAgainstModel(t *testing.T) {
	rng := testrand.New(t)
	for name, s := range spaces {
		paths := testrand.Paths(rng, 400)
		raws := keysOf(s, paths)
		for _, pattern := range testrand.Patterns(rng, 400) {
			got, _, err := walkAlong(s, pattern, raws)
			if want := testrand.Matching(paths, pattern); err != nil || !slices.Equal(got, want) {
				t.Fatalf("%s: %q takes\n%q, %v, expected\n%q", name, pattern, got, err, want)
			}
		}
	}
}

// A walk visits what it takes, and a seek or two for each directory that it passes.
func TestWalkVisitsOnlyWhatCanMatch(t *testing.T) {
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
	// Names that begin like that of a subtree stand between its directory and what is below it, and behind.
	paths = append(paths, "alike/a/1", "alike/a/b/1", "alike/b/a/1")
	for i := range 1000 {
		paths = append(paths, fmt.Sprintf("alike/a-%d/x", i), fmt.Sprintf("alike/a-%d/y/z", i), fmt.Sprintf("alike/a_%d/x", i),
			fmt.Sprintf("alike/b/a-%d/x", i))
	}
	s := spaces["a letter"]
	raws := keysOf(s, paths)
	for _, c := range []struct {
		pattern      string
		takes, limit int
	}{
		{"users/*", 50, 50},
		{"users/0*", 10, 10},
		{"zoo/0001", 1, 1},
		{"users/*/name", 50, 300},
		{"users/*/posts/*", 2500, 2750},
		{"users/07/posts/*", 50, 50},
		{"users/0*/posts/1*", 100, 200},
		{"*/*", 1050, 2300},
		{"*/07/name", 1, 10},
		{"none/*/x", 0, 0},
		{"users/**", 5100, 5100},
		{"users/07/**", 101, 101},
		{"users/0*/**", 1010, 1050},
		{"users/*/posts/**", 5000, 5200},
		{"*/07/**", 101, 120},
		{"zoo/**", 1000, 1000},
		{"**", 11103, 11103},
		{"alike/a/**", 2, 5},
		{"alike/b/a/**", 1, 3},
		{"alike/*/a/**", 1, 3010},
		{"none/**", 0, 0},
		{"zoo*/*", 1000, 1002},
	} {
		taken, visited, err := walkAlong(s, c.pattern, raws)
		if err != nil || len(taken) != c.takes || visited > c.limit {
			t.Errorf("%q takes %d and visits %d keys, %v, expected %d and at most %d",
				c.pattern, len(taken), visited, err, c.takes, c.limit)
		}
	}
}

// A key that is none of an object is taken, and whoever makes a path of it gets an error.
func TestWalkTakesStrangeKeys(t *testing.T) {
	s := spaces["a letter"]
	for _, pattern := range []string{"", "*/x", "a*/x*"} {
		_, _, err := walkAlong(s, pattern, [][]byte{[]byte("oa")})
		if err == nil || !strings.Contains(err.Error(), `"oa"`) {
			t.Errorf("%q over a strange key: %v", pattern, err)
		}
	}
}
