package main

import "strings"

// A path segment may hold A-Z a-z 0-9 - _ . only, and be neither empty nor "." nor "..".
// Field values are any text. The escape below maps every text to a segment of its own:
//
//	A-Z a-z 0-9 - .   stay as they are
//	_                 becomes __
//	any other byte    becomes _ and two upper-case hexadecimal digits
//	"." and ".."      have their dots written as _2E
//	""                becomes _
//
// "São Paulo" is S_C3_A3o_20Paulo. Two texts never share a segment: the rule can be reversed, as
// the tests do.

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
