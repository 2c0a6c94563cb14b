package main

import (
	"errors"
	"fmt"
	"strings"
)

// A path segment may hold A-Z a-z 0-9 - _ . only, and be neither empty nor "." nor "..".
// Field values are any text. The escape below maps every text to a segment of its own:
//
//	A-Z a-z 0-9 - .   stay as they are
//	_                 becomes __
//	any other byte    becomes _ and two upper-case hexadecimal digits
//	"." and ".."      have their dots written as _2E
//	""                becomes _
//
// "São Paulo" is S_C3_A3o_20Paulo. Two texts never share a segment, and unescapeSegment
// gives the text back.

const upperHex = "0123456789ABCDEF"

// escapeSegment returns the path segment that stands for a text.
func escapeSegment(text string) string {
	if text == "" {
		return "_"
	}
	plainDots := text != "." && text != ".."
	var b strings.Builder
	b.Grow(len(text))
	for i := range len(text) {
		switch c := text[i]; {
		case isPlain(c) && (c != '.' || plainDots):
			b.WriteByte(c)
		case c == '_':
			b.WriteString("__")
		default:
			b.Write([]byte{'_', upperHex[c>>4], upperHex[c&15]})
		}
	}
	return b.String()
}

// isPlain reports whether a byte stands for itself in an escaped segment.
func isPlain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.'
}

var errNotEscaped = errors.New("not made by the escape rule")

// unescapeSegment is the inverse of escapeSegment. A segment that escapeSegment never
// returns is an error.
func unescapeSegment(segment string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(segment); i++ {
		switch rest := segment[i:]; {
		case isPlain(rest[0]):
			b.WriteByte(rest[0])
		case rest == "_" && i == 0:
			return "", nil
		case strings.HasPrefix(rest, "__"):
			b.WriteByte('_')
			i++
		case rest[0] == '_' && len(rest) >= 3:
			high, low := strings.IndexByte(upperHex, rest[1]), strings.IndexByte(upperHex, rest[2])
			if high < 0 || low < 0 {
				return "", fmt.Errorf("segment %q: %w: %q at byte %d", segment, errNotEscaped, rest[:3], i)
			}
			b.WriteByte(byte(high<<4 | low))
			i += 2
		default:
			return "", fmt.Errorf("segment %q: %w: %q at byte %d", segment, errNotEscaped, rest[:1], i)
		}
	}
	text := b.String()
	// One segment for each text: an escape where none is due is refused.
	if escapeSegment(text) != segment {
		return "", fmt.Errorf("segment %q: %w: %q is written %q", segment, errNotEscaped, text, escapeSegment(text))
	}
	return text, nil
}
