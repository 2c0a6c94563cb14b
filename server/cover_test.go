package server

import (
	"strings"
	"testing"

	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/key"
)

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		scope, pattern string
		want           bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a/*", "a/b", true}, {"a/*", "a/*", true}, {"a/*", "a/b*", true}, {"a/b*", "a/*", false},
		{"a/*", "a/**", false}, {"a/*", "a/b/c", false}, {"*", "**", false}, {"**", "**", true}, {"**", "a", true}, {"**", "*/b*", true},
		{"a/**", "a/b", true}, {"a/**", "a/b/c", true}, {"a/**", "a", false}, {"a/**", "a/**", true}, {"a/**", "a/*/c", true},
		{"a/**", "b/c", false}, {"a/**", "*/c", false}, {"a/**", "**", false}, {"a/b/**", "a/**", false}, {"a/**", "a/b/**", true},
		{"a*/**", "ab/c", true}, {"a*/**", "a*/c", true}, {"*/b/**", "a/b/c", true}, {"*/b/**", "a/c/c", false}, {"a/**", "ab/c", false},
	} {
		if got := covers(c.scope, c.pattern); got != c.want {
			t.Errorf("covers(%q, %q) = %v", c.scope, c.pattern, got)
		}
	}
}

// What a scope covers it matches, whatever the pattern stands for.
func TestCoversIsSound(t *testing.T) {
	random := testrand.New(t)
	names := []string{"a", "b", "ab", "ba", "aab"}
	globs := append([]string{"*", "a*", "*b", "a*b", "*a*"}, names...)
	covered := 0
	for range 300_000 {
		scope, pattern, object := testrand.Pattern(random, 4, globs...), testrand.Pattern(random, 4, globs...), testrand.Joined(random, 4, names...)
		if covers(scope, pattern) && key.Match(pattern, object) {
			covered++
			if !key.Match(scope, object) {
				t.Fatalf("%q covers %q, and does not match %q", scope, pattern, object)
			}
		}
	}
	if covered < 1000 {
		t.Errorf("only %d cases were of use", covered)
	}
}

// No pattern matches what belongs to the server, unless reaches says so.
func TestReaches(t *testing.T) {
	record := outcomesDir + "/0123456789abcdef"
	parts := strings.Split(record, "/")
	for mask := range 1 << len(parts) {
		pattern := ""
		for i, part := range parts {
			if mask>>i&1 == 1 {
				part = "*"
			}
			pattern += "/" + part
			prefix := strings.TrimPrefix(pattern, "/")
			if deep := prefix + "/**"; i < len(parts)-1 && key.Match(deep, record) && !reaches(deep) {
				t.Errorf("%q reaches %q", deep, record)
			}
		}
		if pattern = strings.TrimPrefix(pattern, "/"); key.Match(pattern, record) && !reaches(pattern) {
			t.Errorf("%q reaches %q", pattern, record)
		}
	}
	for _, pattern := range []string{"**", "_*/**", "*/**"} {
		if !reaches(pattern) {
			t.Errorf("%q reaches the server's directory", pattern)
		}
	}
	for _, pattern := range []string{"a/**", "*/*", "*/*/*", "a/*/*/*/*/*", "b*/**"} {
		if reaches(pattern) {
			t.Errorf("%q does not reach the server's directory", pattern)
		}
	}
}
