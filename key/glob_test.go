package key

import (
	"errors"
	"strings"
	"testing"
)

func TestGlobKinds(t *testing.T) {
	for _, c := range []struct {
		path            string
		hasGlob, isGlob bool
		err             error
	}{
		{"", false, false, nil},
		{"a", false, false, nil},
		{"a/b", false, false, nil},
		{"*", true, true, nil},
		{"a/*", true, true, nil},
		{"a/b/*", true, true, nil},
		{"a*", true, false, ErrGlobNotAtEnd},
		{"*a", true, false, ErrGlobNotAtEnd},
		{"a/b*", true, false, ErrGlobNotAtEnd},
		{"a/*b", true, false, ErrGlobNotAtEnd},
		{"*/a", true, false, ErrGlobNotAtEnd},
		{"a/*/b", true, false, ErrGlobNotAtEnd},
		{"*/*", true, true, ErrInvalidGlobCount},
		{"a/*/b/*", true, true, ErrInvalidGlobCount},
		{"a*/*", true, true, ErrInvalidGlobCount},
		{"a*b*", true, false, ErrInvalidGlobCount},
		{"*/*/a", true, false, ErrInvalidGlobCount},
		{"**", true, false, ErrInvalidGlobCount},
		{"a/**", true, false, ErrInvalidGlobCount},
		{"*/**", true, false, ErrInvalidGlobCount},
	} {
		t.Run(c.path, func(t *testing.T) {
			if got := HasGlob(c.path); got != c.hasGlob {
				t.Errorf("HasGlob(%q) = %v", c.path, got)
			}
			if got := IsGlob(c.path); got != c.isGlob {
				t.Errorf("IsGlob(%q) = %v", c.path, got)
			}
			if err := ValidateGlob(c.path); !errors.Is(err, c.err) {
				t.Errorf("ValidateGlob(%q) = %v, want %v", c.path, err, c.err)
			}
		})
	}
}

var matches = []struct {
	name, pattern, key string
	want               bool
}{
	{"same key", "users/1", "users/1", true},
	{"other key", "users/1", "users/2", false},
	{"prefix of the key", "users/1", "users/12", false},
	{"key is a prefix", "users/12", "users/1", false},
	{"case", "Users", "users", false},
	{"whole segment", "users/*", "users/1", true},
	{"whole segment, other parent", "users/*", "posts/1", false},
	{"not across a slash", "users/*", "users/1/posts", false},
	{"not the parent", "users/*", "users", false},
	{"not an empty segment", "users/*", "users/", false},
	{"not the empty key", "*", "", false},
	{"top level", "*", "a", true},
	{"top level, not deeper", "*", "a/b", false},
	{"itself", "users/*", "users/*", true},
	{"itself with parts", "a*b*/c", "a*b*/c", true},
	{"star in the key is a byte", "users/*", "users/a*", true},
	{"star in the key matches nothing", "users/a", "users/*", false},
	{"star in the key against part", "a*", "*a", false},
	{"star in the key, literal after", "*b", "*ab", true},
	{"middle", "users/*/posts", "users/1/posts", true},
	{"middle, other end", "users/*/posts", "users/1/likes", false},
	{"middle, deeper", "users/*/posts", "users/1/2/posts", false},
	{"all segments", "*/*/*", "a/b/c", true},
	{"too few segments", "*/*/*", "a/b", false},
	{"too many segments", "*/*", "a/b/c", false},
	{"part, zero bytes", "a*", "a", true},
	{"part, more bytes", "a*", "abc", true},
	{"part, not across", "a*", "ab/c", false},
	{"part at the front, zero bytes", "*a", "a", true},
	{"part at the front", "*a", "ba", true},
	{"part at the front, not the end", "*a", "ab", false},
	{"part inside", "a*c", "abbbc", true},
	{"part inside, zero bytes", "a*c", "ac", true},
	{"part inside does not share a byte", "a*a", "a", false},
	{"part inside, last only", "a*c", "acbc", true},
	{"two parts", "a*b*", "ab", true},
	{"two parts, bytes in both", "a*b*", "axxbxx", true},
	{"two parts, none", "a*b*", "axx", false},
	{"contained", "*b*", "abc", true},
	{"contained, alone", "*b*", "b", true},
	{"contained, absent", "*b*", "ac", false},
	{"goes back", "*ab", "aab", true},
	{"goes back over a prefix", "*aab*", "aaab", true},
	{"overlap", "*aba", "ababa", true},
	{"parts in two segments", "a*/b*", "ax/by", true},
	{"parts in two segments, second fails", "a*/b*", "ax/cy", false},
	{"subtree, a child", "users/**", "users/1", true},
	{"subtree, deeper", "users/**", "users/1/posts/2", true},
	{"subtree, not its root", "users/**", "users", false},
	{"subtree, not an empty rest", "users/**", "users/", false},
	{"subtree, not a name that begins alike", "users/**", "users-x/1", false},
	{"subtree, another root", "users/**", "posts/1", false},
	{"everything, top level", "**", "a", true},
	{"everything, deeper", "**", "a/b/c", true},
	{"everything, not the empty key", "**", "", false},
	{"subtree below a star", "*/**", "a/b/c", true},
	{"subtree below a star, not the top level", "*/**", "a", false},
	{"subtree below a part", "a*/x/**", "ab/x/c/d", true},
	{"subtree below a part, other name", "a*/x/**", "ab/y/c/d", false},
	{"subtree matches a glob in it", "users/**", "users/*/posts", true},
	{"subtree matches a subtree in it", "users/**", "users/1/**", true},
	{"subtree matches a narrower one only", "users/1/**", "users/**", false},
	{"glob matches a subtree pattern as a key", "users/*", "users/**", true},
	{"empty both", "", "", true},
	{"empty pattern", "", "a", false},
	{"invalid, slashes", "//*", "//a", true},
	{"invalid, two stars", "a**", "abc", true},
	{"invalid, bytes", "\xff*", "\xff\x00", true},
}

func TestMatch(t *testing.T) {
	for _, c := range matches {
		t.Run(c.name, func(t *testing.T) {
			if got := Match(c.pattern, c.key); got != c.want {
				t.Errorf("Match(%q, %q) = %v, want %v", c.pattern, c.key, got, c.want)
			}
			if !Match(c.pattern, c.pattern) {
				t.Errorf("Match(%q, itself) = false", c.pattern)
			}
			if c.want && !(Peer(c.pattern, c.key) && Peer(c.key, c.pattern)) {
				t.Errorf("Peer of %q and %q = false in an order", c.pattern, c.key)
			}
		})
	}
}

func TestPeer(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"a", "a", true},
		{"a", "b", false},
		{"a/*", "a/b", true},
		{"a/b", "a/*", true},
		{"a/b*", "a/*", true},
		{"a/*", "b/*", false},
		{"a/**", "a/b/*", true},
		{"a/**", "a/b/**", true},
		{"**", "a/*", true},
		{"a/**", "a", false},
		{"a/**", "b/**", false},
		{"a*", "*b", false}, // each matches "ab", neither matches the other
	} {
		if got := Peer(c.a, c.b); got != c.want {
			t.Errorf("Peer(%q, %q) = %v, want %v", c.a, c.b, got, c.want)
		}
		if got := Peer(c.b, c.a); got != c.want {
			t.Errorf("Peer(%q, %q) = %v, want %v", c.b, c.a, got, c.want)
		}
	}
}

func TestContains(t *testing.T) {
	patterns := []string{"config", "users/*", "logs/*/line", "trees/**"}
	for key, want := range map[string]bool{
		"config":      true,
		"users/1":     true,
		"logs/a/line": true,
		"users/*":     true,
		"users":       false,
		"trees":       false,
		"trees/a/b":   true,
		"config/a":    false,
		"logs/a":      false,
		"":            false,
	} {
		if got := Contains(patterns, key); got != want {
			t.Errorf("Contains(%q, %q) = %v, want %v", patterns, key, got, want)
		}
	}
	if Contains(nil, "a") {
		t.Error("no patterns contain a key")
	}
}

// matchModel is the definition of a match, in as few words as it can be said.
func matchModel(pattern, key string) bool {
	if pattern == key {
		return true
	}
	ps, ks := strings.Split(pattern, "/"), strings.Split(key, "/")
	if last := len(ps) - 1; ps[last] == "**" {
		if len(ks) <= last || strings.Join(ks[last:], "/") == "" {
			return false
		}
		ps, ks = ps[:last], ks[:last]
	}
	if len(ps) != len(ks) {
		return false
	}
	for i, p := range ps {
		if p == "*" && ks[i] == "" || !matchSegmentModel(p, ks[i]) {
			return false
		}
	}
	return true
}

func matchSegmentModel(p, s string) bool {
	switch {
	case p == "":
		return s == ""
	case p[0] == '*':
		return matchSegmentModel(p[1:], s) || s != "" && matchSegmentModel(p, s[1:])
	}
	return s != "" && p[0] == s[0] && matchSegmentModel(p[1:], s[1:])
}

// TestMatchAgainstModel compares all patterns and keys of up to five bytes of a small
// alphabet, valid or not.
func TestMatchAgainstModel(t *testing.T) {
	var all []string
	var grow func(s string, n int)
	grow = func(s string, n int) {
		all = append(all, s)
		if n == 0 {
			return
		}
		for _, c := range []string{"a", "b", "/", "*"} {
			grow(s+c, n-1)
		}
	}
	grow("", 5)
	for _, pattern := range all {
		for _, key := range all {
			if got, want := Match(pattern, key), matchModel(pattern, key); got != want {
				t.Fatalf("Match(%q, %q) = %v, want %v", pattern, key, got, want)
			}
		}
	}
}

func FuzzMatch(f *testing.F) {
	for _, c := range matches {
		f.Add(c.pattern, c.key)
	}
	f.Fuzz(func(t *testing.T, pattern, key string) {
		got := Match(pattern, key)
		if strings.Count(pattern, "*") > 6 || len(key) > 64 {
			return // the model is exponential
		}
		if want := matchModel(pattern, key); got != want {
			t.Errorf("Match(%q, %q) = %v, want %v", pattern, key, got, want)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	for _, c := range []struct{ name, pattern, key string }{
		{"equal", "users/17f0c2d5a9b3e8c1", "users/17f0c2d5a9b3e8c1"},
		{"last", "users/*", "users/17f0c2d5a9b3e8c1"},
		{"middle", "users/*/posts/*", "users/17f0c2d5a9b3e8c1/posts/1"},
		{"part", "users/17*c1", "users/17f0c2d5a9b3e8c1"},
		{"subtree", "users/**", "users/17f0c2d5a9b3e8c1/posts/1"},
		{"many stars", strings.Repeat("*a", 300) + "*b", strings.Repeat("a", MaxLength)},
		{"long literal", "*" + strings.Repeat("a", MaxLength/2) + "b", strings.Repeat("a", MaxLength)},
		{"long piece", "*" + strings.Repeat("a", MaxLength/2) + "b*", strings.Repeat("a", MaxLength)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Match(c.pattern, c.key)
			}
		})
	}
}
