package badger

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

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
		if obj.Index != key.LastIndex(obj.Path) {
			t.Fatalf("scan %q yields %+v", pattern, obj)
		}
		got = append(got, obj.Path)
	}
	return got
}

// Objects in all places where Badger can have them: in tables of several levels, in memory,
// overwritten, deleted, of older generations.
func TestScanAgainstModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	names := []string{"a", "aa", "a-", "a.", "a0", "A", "b", "-", "z"}
	random := func(globs bool) string {
		segments := make([]string, 1+rng.IntN(4))
		for i := range segments {
			segments[i] = names[rng.IntN(len(names))]
			if globs {
				segments[i] = []string{segments[i], "*", segments[i] + "*", "*" + segments[i]}[rng.IntN(4)]
			}
		}
		return strings.Join(segments, "/")
	}
	l := startSmall(t)
	stored := map[string]bool{}
	for round := range 4 {
		if round == 1 {
			l.Clear()
			clear(stored)
		}
		for range 300 {
			path := random(false)
			stored[path] = true
			set(t, l, path)
		}
		for path := range stored {
			if rng.IntN(4) == 0 {
				delete(stored, path)
				if err := l.Del(path); err != nil {
					t.Fatal(err)
				}
			}
		}
		if round < 3 {
			if err := l.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		patterns := []string{"", "*", "*/*", "*/*/*", "*/*/*/*", "a/*", "a*/*", "*/a", "a/*/a*/*", "a"}
		for range 200 {
			patterns = append(patterns, random(true))
		}
		for _, pattern := range patterns {
			want := []string{}
			for path := range stored {
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
			if got := scanPaths(t, l, pattern); !slices.Equal(got, want) {
				t.Fatalf("scan %q yields\n%q, expected\n%q", pattern, got, want)
			}
		}
	}
}

func TestScanIsASnapshot(t *testing.T) {
	l := startSmall(t)
	paths := numbered("d", 3000)
	set(t, l, paths...)
	seen := 0
	for obj, err := range l.Scan("d/*") {
		if err != nil {
			t.Fatal(err)
		}
		if seen == 0 {
			l.Clear()
			set(t, l, "d/new")
			if err := l.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
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
	l := startSmall(t)
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
	if n := len(l.store.scans); n != 0 {
		t.Errorf("%d scans are held after their loops", n)
	}
}

func TestCloseInsideScan(t *testing.T) {
	l := startSmall(t)
	set(t, l, numbered("d", 3000)...)
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

// put writes a raw entry, as no layer would.
func put(t testing.TB, l *Layer, raw []byte, value string) {
	t.Helper()
	s := l.store
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.annotate("test", func(txn *badger.Txn) error { return txn.Set(raw, []byte(value)) }); err != nil {
		t.Fatal(err)
	}
}

// rawKey returns the key of the object at a path.
func rawKey(l *Layer, path string) []byte { return l.store.view.Load().objects.Append(nil, path) }

func TestDamagedValueNamesTheKey(t *testing.T) {
	l := startSmall(t)
	set(t, l, "d/1", "d/2", "d/3")
	put(t, l, rawKey(l, "d/2"), "garbage")
	_, get := l.Get("d/2")
	_, list := l.GetList("d/*")
	_, load := l.Load()
	for name, err := range map[string]error{"Get": get, "GetList": list, "Load": load} {
		if err == nil || errors.Is(err, storage.ErrNotFound) || !strings.Contains(err.Error(), `key "d/2"`) {
			t.Errorf("%s: %v, expected the key", name, err)
		}
	}
	if got, err := l.Get("d/3"); err != nil || string(got.Data) != `"d/3"` {
		t.Errorf("its neighbour: %s, %v", got.Data, err)
	}
}
