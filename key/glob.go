package key

import (
	"errors"
	"strings"
)

// The errors of ValidateGlob.
var (
	ErrInvalidGlobCount = errors.New("key: invalid glob count, expected at most one '*'")
	ErrGlobNotAtEnd     = errors.New("key: glob not at the end, expected '*' as the whole last segment")
)

// HasGlob reports whether a path contains '*', as every glob and every subtree pattern does.
func HasGlob(path string) bool { return strings.IndexByte(path, '*') >= 0 }

// IsGlob reports whether the last segment of a path is exactly "*". It returns false for a subtree pattern, whose
// last segment is "**"; see IsSubtree.
func IsGlob(path string) bool { return LastIndex(path) == "*" }

// IsSubtree reports whether the last segment of a path is exactly "**", which matches everything below.
func IsSubtree(path string) bool { return LastIndex(path) == "**" }

// Root returns the path above a subtree pattern: "users" for "users/**", and "" for "**", which matches every path.
// For other paths it returns the path and false.
func Root(path string) (root string, isSubtree bool) {
	if !IsSubtree(path) {
		return path, false
	}
	return Parent(path), true
}

// ValidateGlob returns ErrInvalidGlobCount for a path with more than one '*', ErrGlobNotAtEnd if the '*' is not the
// whole last segment, and nil otherwise, also for a path without '*'. A subtree pattern, such as "users/**", has more
// than one.
func ValidateGlob(key string) error {
	switch {
	case strings.Count(key, "*") > 1:
		return ErrInvalidGlobCount
	case HasGlob(key) && !IsGlob(key):
		return ErrGlobNotAtEnd
	}
	return nil
}

// Match reports whether a pattern matches a key. Each '*' matches zero or more bytes of one segment, never a slash. A
// segment that is only '*' matches at least one byte. A last segment "**" matches the whole rest of the key,
// including slashes, and at least one byte: "users/**" matches "users/1" and "users/1/posts", but not "users". A
// pattern matches itself, and a '*' in the key is an ordinary byte. Match takes time linear in both lengths for any
// number of stars.
func Match(pattern, key string) bool {
	if pattern == key {
		return true
	}
	if !HasGlob(pattern) {
		return false
	}
	for {
		if pattern == "**" {
			return key != ""
		}
		p, patternRest, patternMore := strings.Cut(pattern, "/")
		k, keyRest, keyMore := strings.Cut(key, "/")
		if patternMore != keyMore || !matchSegment(p, k) {
			return false
		}
		if !patternMore {
			return true
		}
		pattern, key = patternRest, keyRest
	}
}

// matchSegment matches the pieces between the stars: the first at the start, the last at the end, and each other
// piece at its first occurrence after the previous one, which leaves the most to the rest.
func matchSegment(pattern, s string) bool {
	if pattern == "*" {
		return s != ""
	}
	first, rest, glob := strings.Cut(pattern, "*")
	if !glob {
		return pattern == s
	}
	star := strings.LastIndexByte(rest, '*')
	last := rest[star+1:]
	s, fits := strings.CutPrefix(s, first)
	if !fits || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[:len(s)-len(last)]
	for between := rest[:max(star, 0)]; between != ""; {
		var piece string
		piece, between, _ = strings.Cut(between, "*")
		at, _ := search(s, piece)
		if at < 0 {
			return false
		}
		s = s[at+len(piece):]
	}
	return true
}

// Peer reports whether either of two paths or globs matches the other.
func Peer(a, b string) bool { return Match(a, b) || Match(b, a) }

// Contains reports whether any of the patterns matches a key.
func Contains(patterns []string, key string) bool {
	for _, pattern := range patterns {
		if Match(pattern, key) {
			return true
		}
	}
	return false
}
