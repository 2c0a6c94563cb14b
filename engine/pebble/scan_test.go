package pebble

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

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

// names sort around '/' and the separator, and are beginnings of one another.
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

func TestScanAgainstModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 5 {
		l := startInMemory(t)
		stored := map[string]bool{}
		for range 400 {
			stored[randomPath(rng, false)] = true
		}
		var paths []string
		for path := range stored {
			paths = append(paths, path)
		}
		set(t, l, paths...)
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
		slices.Sort(paths)
		if got := keys(t, l); !slices.Equal(got, paths) {
			t.Fatalf("the keys are\n%q, expected\n%q", got, paths)
		}
		l.Close()
	}
}

func TestScanIsASnapshot(t *testing.T) {
	l := startInMemory(t)
	var paths []string
	for i := range 2000 {
		paths = append(paths, fmt.Sprintf("d/%04d", i))
	}
	set(t, l, paths...)
	seen := 0
	for obj, err := range l.Scan("d/*") {
		if err != nil {
			t.Fatal(err)
		}
		if seen == 0 {
			l.Clear()
			set(t, l, "d/new")
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
		for range scan {
			break
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
	set(t, l, paths...)
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

func TestFlippedByteNamesTheKey(t *testing.T) {
	l := startInMemory(t)
	set(t, l, "d/1", "d/2", "d/3")
	raw := objectKeys.Append(nil, "d/2")
	value, closer, err := l.db.Get(raw)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(value)
	flipped[len(flipped)-2] ^= 0x20
	if err := errors.Join(closer.Close(), l.db.Set(raw, flipped, pebble.Sync)); err != nil {
		t.Fatal(err)
	}
	_, get := l.Get("d/2")
	_, list := l.GetList("d/*")
	_, load := l.Load()
	for name, err := range map[string]error{"Get": get, "GetList": list, "Load": load} {
		if err == nil || !strings.Contains(err.Error(), `key "d/2"`) || !strings.Contains(err.Error(), "checksum") {
			t.Errorf("%s: %v, expected the key and the checksum", name, err)
		}
	}
	if got, err := l.Get("d/3"); err != nil || string(got.Data) != `"d/3"` {
		t.Errorf("its neighbour: %s, %v", got.Data, err)
	}
}

func TestForeignKeyIsAnError(t *testing.T) {
	l := startInMemory(t)
	if err := l.db.Set([]byte("odd"), []byte("value"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	_, load := l.Load()
	_, list := l.GetList("*/*")
	_, all := l.Keys()
	for name, err := range map[string]error{"Load": load, "GetList": list, "Keys": all} {
		if err == nil || !strings.Contains(err.Error(), `"odd"`) {
			t.Errorf("%s: %v, expected the key", name, err)
		}
	}
}
