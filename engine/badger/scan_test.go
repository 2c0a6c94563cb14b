package badger

import (
	"maps"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/internal/testrand"
)

// Objects in all places where Badger can have them: in tables of several levels, in memory,
// overwritten, deleted, of older generations.
func TestScanAgainstModel(t *testing.T) {
	rng := testrand.New(t)
	l := startSmall(t)
	stored := map[string]bool{}
	for round := range 4 {
		if round == 1 {
			l.Clear()
			clear(stored)
		}
		for range 300 {
			path := testrand.Path(rng)
			stored[path] = true
			enginetest.SetAll(t, l, path)
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
		paths := slices.Collect(maps.Keys(stored))
		for _, pattern := range testrand.Patterns(rng, 200) {
			if got, want := enginetest.ScanPaths(t, l, pattern), testrand.Matching(paths, pattern); !slices.Equal(got, want) {
				t.Fatalf("scan %q yields\n%q, expected\n%q", pattern, got, want)
			}
		}
	}
}

// put writes a raw entry, as no layer would.
func put(t testing.TB, l *Layer, raw []byte, value string) {
	t.Helper()
	s := storeOf(l)
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.annotate(func(txn *badger.Txn) error { return txn.Set(raw, []byte(value)) }); err != nil {
		t.Fatal(err)
	}
}

// rawKey returns the key of the object at a path.
func rawKey(l *Layer, path string) []byte { return storeOf(l).space.Append(nil, path) }
