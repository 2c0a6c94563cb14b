// Package testrand has randomness for tests: sources whose seed is logged, and paths and patterns that reach the edges
// of the order of keys. Only tests import it.
package testrand

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/key"
)

// New returns a source whose seed is logged.
func New(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// Pick returns one of the values.
func Pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

// Joined returns a path of one to most segments, each of them one of the names.
func Joined(rng *rand.Rand, most int, names ...string) string {
	segments := make([]string, 1+rng.IntN(most))
	for i := range segments {
		segments[i] = Pick(rng, names...)
	}
	return strings.Join(segments, "/")
}

// Pattern is Joined with "**" as the last segment in one of four cases.
func Pattern(rng *rand.Rand, most int, names ...string) string {
	pattern := Joined(rng, most, names...)
	if rng.IntN(4) == 0 {
		pattern = pattern[:strings.LastIndexByte(pattern, '/')+1] + "**"
	}
	return pattern
}

// names sort around and below '/', and are prefixes of one another. globs also has partial globs of them.
var (
	names = []string{"a", "aa", "ab", "a-", "a.", "a-b", "a0", "A", "b", "-", "_", "0", "z"}
	globs = func() (globs []string) {
		for _, s := range names {
			globs = append(globs, s, s, "*", s+"*", "*"+s, s[:1]+"*"+s[len(s)-1:])
		}
		return globs
	}()
)

// Path returns a path of up to four segments.
func Path(rng *rand.Rand) string { return Joined(rng, 4, names...) }

// Paths returns different paths in any order: up to some of Path, and four trees that are large enough that skipping
// them with a seek pays off.
func Paths(rng *rand.Rand, some int) []string {
	paths := map[string]bool{}
	for range some {
		paths[Path(rng)] = true
	}
	for range 4 {
		tree := Path(rng)
		for range 30 {
			paths[tree+"/"+Path(rng)] = true
		}
	}
	return slices.Collect(maps.Keys(paths))
}

// Patterns returns valid patterns. The given number of them is random.
func Patterns(rng *rand.Rand, random int) []string {
	patterns := []string{"", "*", "*/*", "*/*/*", "*/*/*/*", "a/*", "a*/*", "*/a", "a/*/a*/*", "a", "**", "a/**", "aa/**", "a/a/**", "*/**", "a*/**", "*/a/**"}
	for range random {
		patterns = append(patterns, Pattern(rng, 4, globs...))
	}
	return patterns
}

// ByPlace compares paths in the order of storage.Scanner: by parent, then by the last segment.
func ByPlace(a, b string) int {
	if c := strings.Compare(key.Parent(a), key.Parent(b)); c != 0 {
		return c
	}
	return strings.Compare(key.LastIndex(a), key.LastIndex(b))
}

// Matching returns the paths that match a pattern, or all for "", in the order of keys.
func Matching(paths []string, pattern string) []string {
	matching := []string{}
	for _, path := range paths {
		if pattern == "" || key.Match(pattern, path) {
			matching = append(matching, path)
		}
	}
	slices.SortFunc(matching, ByPlace)
	return matching
}
