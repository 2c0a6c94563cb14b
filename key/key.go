// Package key defines the grammar of paths: which paths are valid, what a glob matches, and the time-ordered indexes
// that a push generates.
//
// A path consists of segments of A-Z a-z 0-9 - _ . joined by single slashes. It has at most MaxLength bytes and no
// segment "." or "..". Case matters. A glob also contains '*', for a whole segment or part of one. A '*' matches
// within one segment only, and two stars are never adjacent. A subtree pattern ends with the segment "**", which
// matches everything below: one segment or more.
//
// Every function accepts any string, valid or not, and never panics. All functions are safe for concurrent use. Only
// Build, At, Escape, Unescape and a failing Check allocate.
package key

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxLength is the maximum length of a path or a glob in bytes.
const MaxLength = 1024

// class is the role of a byte in a path. The zero class is a byte that is not allowed.
type class uint8

const (
	plain class = iota + 1
	slash
	star
)

var classes = func() (table [256]class) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") {
		table[c] = plain
	}
	table['/'], table['*'] = slash, star
	return table
}()

// IsValid reports whether path is a valid path or glob. It returns false for a subtree pattern, such as "users/**".
// Check accepts both.
func IsValid(path string) bool {
	if path == "" || len(path) > MaxLength {
		return false
	}
	start := 0 // of the segment at i
	for i := range len(path) {
		switch classes[path[i]] {
		case plain:
		case slash:
			if !isSegment(path[start:i]) {
				return false
			}
			start = i + 1
		case star:
			if i > 0 && path[i-1] == '*' {
				return false
			}
		default:
			return false
		}
	}
	return isSegment(path[start:])
}

// isSegment reports whether allowed bytes form a segment.
func isSegment(s string) bool { return s != "" && s != "." && s != ".." }

// Check returns nil for a path or glob that IsValid accepts and for a valid subtree pattern (IsSubtree). Otherwise
// the error says what is wrong and at which byte, counted from 0. The error is one short line: it quotes a character
// or a segment "..", never more of the path.
func Check(path string) error {
	switch {
	case IsValid(path) || isValidSubtree(path):
		return nil
	case path == "":
		return errors.New("empty path")
	case len(path) > MaxLength:
		return fmt.Errorf("%d bytes, at most %d", len(path), MaxLength)
	}
	return explain(path)
}

// isValidSubtree reports whether path is a valid subtree pattern.
func isValidSubtree(path string) bool {
	root, isSubtree := Root(path)
	return isSubtree && len(path) <= MaxLength && (path == "**" || IsValid(root))
}

// explain returns the first error in an invalid path of valid length.
func explain(path string) error {
	start := 0
	for i := range len(path) + 1 {
		if i == len(path) || path[i] == '/' {
			switch segment := path[start:i]; segment {
			case "":
				return fmt.Errorf("empty segment at byte %d", start)
			case ".", "..":
				return fmt.Errorf("segment %q at byte %d", segment, start)
			}
			start = i + 1
			continue
		}
		switch classes[path[i]] {
		case plain:
		case star:
			if i > 0 && path[i-1] == '*' {
				return fmt.Errorf(`"**" at byte %d, expected only as the whole last segment`, i-1)
			}
		default:
			return fmt.Errorf("byte %d, %s is not one of A-Z a-z 0-9 - _ . / *", i, quote(path[i:]))
		}
	}
	return nil
}

// quote returns the first character of s as a Go character literal. Invalid UTF-8 and non-printing characters are
// escaped.
func quote(s string) string {
	r, size := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && size <= 1 {
		return fmt.Sprintf(`'\x%02x'`, s[0])
	}
	return strconv.QuoteRune(r)
}

// LastIndex returns the last segment of a path.
func LastIndex(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// Parent returns a path without its last segment; "" for a path with one segment.
func Parent(path string) string { return path[:max(0, strings.LastIndexByte(path, '/'))] }
