package etcd

import (
	"errors"
	"slices"
	"testing"

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

// The ranges of a pattern hold what matches it, and nothing else where they claim so.
func TestRangesOfPatterns(t *testing.T) {
	k := keys{"p/"}
	paths := []string{"a", "b", "a/b", "a-/b", "a./b", "a/b/c", "a/b-/c", "a/b/c/d", "a0/b", "a_/b", "ab/c", "b/a/b", "a/-", "a/b.c/d"}
	within := func(spans []span, path string) bool {
		at := k.object(path)
		return slices.ContainsFunc(spans, func(s span) bool { return s.from <= at && at < s.end })
	}
	for _, pattern := range []string{"*", "**", "a/*", "a/**", "a/b/**", "a/b/*", "a/*/c", "*a*", "a/b*", "a*/b", "*/*", "a/*/*", "a", "a/b"} {
		exact := k.spans(pattern)
		around := []span{k.around(pattern)}
		for _, path := range paths {
			matches := key.Match(pattern, path)
			if exact != nil && within(exact, path) != matches {
				t.Errorf("the ranges of %q hold %q: %v, it matches: %v", pattern, path, !matches, matches)
			}
			if matches && !within(around, path) {
				t.Errorf("the range around %q does not hold %q", pattern, path)
			}
		}
	}
}
