package enginetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// ScanPaths returns the paths that a scan yields. Set stored the objects.
func ScanPaths(t testing.TB, l storage.Scanner, pattern string) []string {
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

// Matching returns what a scan must yield, computed in the simple way.
func Matching(paths []string, pattern string) []string {
	want := []string{}
	for _, path := range paths {
		if pattern == "" || key.Match(pattern, path) {
			want = append(want, path)
		}
	}
	slices.SortFunc(want, func(a, b string) int {
		if c := strings.Compare(key.Parent(a), key.Parent(b)); c != 0 {
			return c
		}
		return strings.Compare(key.LastIndex(a), key.LastIndex(b))
	})
	return want
}

// names sort around and below '/', and are prefixes of one another.
var names = []string{"a", "aa", "ab", "a-", "a.", "a-b", "a0", "A", "b", "-", "_", "0", "z"}

// RandomPath returns a path of up to four segments.
func RandomPath(rng *rand.Rand) string { return random(rng, false) }

func random(rng *rand.Rand, globs bool) string {
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
	if globs && rng.IntN(4) == 0 {
		segments[len(segments)-1] = "**"
	}
	return strings.Join(segments, "/")
}

// RandomPatterns returns valid patterns, n of which are random.
func RandomPatterns(rng *rand.Rand, n int) []string {
	patterns := []string{"", "*", "*/*", "*/*/*", "*/*/*/*", "a/*", "a*/*", "*/a", "a/*/a*/*", "a", "**", "a/**", "aa/**", "a/a/**", "*/**", "a*/**", "*/a/**"}
	for range n {
		if pattern := random(rng, true); key.Check(pattern) == nil {
			patterns = append(patterns, pattern)
		}
	}
	return patterns
}

// randomPaths returns different paths. Some trees are large enough that skipping them with a seek pays off.
func randomPaths(rng *rand.Rand) []string {
	stored := map[string]bool{}
	for range 400 {
		stored[RandomPath(rng)] = true
	}
	for range 4 {
		tree := RandomPath(rng)
		for range 30 {
			stored[tree+"/"+RandomPath(rng)] = true
		}
	}
	var paths []string
	for path := range stored {
		paths = append(paths, path)
	}
	return paths
}

func testScanAgainstModel(t *testing.T, e Engine) {
	rng := Seeded(t)
	for range 5 {
		l := Start(t, e.New(t))
		paths := randomPaths(rng)
		SetAll(t, l, paths...)
		for _, pattern := range RandomPatterns(rng, 400) {
			if got, want := ScanPaths(t, l, pattern), Matching(paths, pattern); !slices.Equal(got, want) {
				t.Fatalf("scan %q yields\n%q, expected\n%q", pattern, got, want)
			}
		}
		slices.Sort(paths)
		if got := Keys(t, l); !slices.Equal(got, paths) {
			t.Fatalf("the keys are\n%q, expected\n%q", got, paths)
		}
		l.Close()
	}
}

func testScanInvalid(t *testing.T, e Engine) {
	l := Start(t, e.New(t))
	for _, err := range l.Scan("a**") {
		if !errors.Is(err, storage.ErrInvalidPath) || !strings.Contains(err.Error(), "a**") {
			t.Errorf("scan of an invalid pattern: %v", err)
		}
	}
}

// A scan of many chunks, over several directories, yields the content at its beginning, although all of it is removed
// and compacted away meanwhile.
func testScanIsASnapshot(t *testing.T, e Engine) {
	l := Start(t, e.New(t))
	var paths []string
	for i := range 3000 {
		paths = append(paths, fmt.Sprintf("d%d/%04d", i/500, i))
	}
	SetAll(t, l, paths...)
	seen := 0
	for obj, err := range l.Scan("*/*") {
		if err != nil {
			t.Fatal(err)
		}
		if seen == 0 {
			l.Clear()
			Set(t, l, "d2/new")
			if err := l.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if seen == len(paths) || obj.Path != paths[seen] {
			t.Fatalf("object %d is %s", seen, obj.Path)
		}
		seen++
	}
	if seen != len(paths) {
		t.Errorf("the scan saw %d objects, expected %d", seen, len(paths))
	}
}

// A scan can be repeated and left at any object, also by a panic, and then holds nothing.
func testScanRepeatedAndLeft(t *testing.T, e Engine) {
	l := Start(t, e.New(t))
	Set(t, l, "a", "b", "c")
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
	if n := e.Scans(l); n != 0 {
		t.Errorf("%d scans are held after their loops", n)
	}
}

// If the layer is closed inside the loop of a scan, the scan ends after the chunk that was read, even if the layer
// was started again.
func testCloseInsideScan(t *testing.T, e Engine) {
	l := Start(t, e.New(t))
	SetAll(t, l, Numbered("d", 3000)...)
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
