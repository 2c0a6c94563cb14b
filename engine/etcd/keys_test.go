package etcd

import (
	"errors"
	"slices"
	"testing"

	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
)

// Each path has one key, from which it comes back; no other key is one of an object.
func TestKeysOfPaths(t *testing.T) {
	k := keys{"p/"}
	for _, path := range []string{"a", "a/b", "a-b/c", "a_b.c/d", "a/b/c/d/e", ".a/-"} {
		if got, ok, err := k.path(k.object(path)); got != path || !ok || err != nil {
			t.Errorf("the key of %q is one of %q, %v, %v", path, got, ok, err)
		}
	}
	for _, stored := range []string{"p/o/", "p/o/a", "p/o/\x00", "p/o/a\x00b/c", "p/o/\x00a/b", "p/o/a\x00b\x00c", "p/o/a/\x00b", "p/o/a\x00*", "p/o//\x00b"} {
		if path, _, err := k.path(stored); !errors.Is(err, storage.ErrUndecodable) {
			t.Errorf("%q is taken for the key of %q, %v", stored, path, err)
		}
	}
}

// The ranges of a pattern hold all of its matches and nothing else. The range around any other pattern holds its matches.
func TestRangesOfPatterns(t *testing.T) {
	k := keys{"p/"}
	rng := testrand.New(t)
	paths := testrand.Paths(rng, 400)
	for _, pattern := range testrand.Patterns(rng, 200) {
		spans := k.spans(pattern)
		exact := spans != nil
		if !exact {
			spans = []span{k.around(pattern)}
		}
		for _, path := range paths {
			at := k.object(path)
			held := slices.ContainsFunc(spans, func(s span) bool { return s.from <= at && at < s.end })
			if matches := pattern == "" || key.Match(pattern, path); held != matches && (exact || matches) {
				t.Fatalf("the ranges of %q hold %q: %v, it matches: %v", pattern, path, held, matches)
			}
		}
	}
}
