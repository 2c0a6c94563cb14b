package key

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNotEscaped is returned by Unescape for a segment that Escape never produces.
var ErrNotEscaped = errors.New("key: not an escaped segment")

const upperHex = "0123456789ABCDEF"

// Escape returns a path segment for any string, including invalid UTF-8 and the empty string. Different strings have
// different segments, and Unescape is the inverse. The segment is never empty, "." or "..", and never contains '*'.
//
//	A-Z a-z 0-9 - .   are kept
//	_                 becomes __
//	any other byte    becomes _ and two upper-case hexadecimal digits
//	"." and ".."      have their dots written as _2E
//	""                becomes _
//
// "São Paulo" becomes S_C3_A3o_20Paulo. The segment has up to three times the bytes of the string, so it may exceed
// MaxLength: use Check on the resulting path. Segments sort by their own bytes, not in the order of the strings.
func Escape(s string) string {
	if s == "" {
		return "_"
	}
	plainDots := s != "." && s != ".."
	escaped := 0 // number of escaped bytes
	for i := range len(s) {
		if !standsForItself(s[i], plainDots) {
			escaped++
		}
	}
	if escaped == 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 2*escaped)
	for i := range len(s) {
		switch c := s[i]; {
		case standsForItself(c, plainDots):
			b.WriteByte(c)
		case c == '_':
			b.WriteString("__")
		default:
			b.Write([]byte{'_', upperHex[c>>4], upperHex[c&15]})
		}
	}
	return b.String()
}

// standsForItself reports whether a byte is unchanged in an escaped segment.
func standsForItself(c byte, plainDots bool) bool {
	return classes[c] == plain && c != '_' && (c != '.' || plainDots)
}

// Unescape is the inverse of Escape. It returns ErrNotEscaped, with the segment and the offset in bytes, for a
// segment that Escape never produces, including one with an unnecessary escape.
func Unescape(segment string) (string, error) {
	if segment == "_" {
		return "", nil
	}
	var b strings.Builder
	b.Grow(len(segment))
	for i := 0; i < len(segment); i++ {
		switch rest := segment[i:]; {
		case standsForItself(rest[0], true):
			b.WriteByte(rest[0])
		case strings.HasPrefix(rest, "__"):
			b.WriteByte('_')
			i++
		case rest[0] == '_' && len(rest) >= 3:
			high, low := strings.IndexByte(upperHex, rest[1]), strings.IndexByte(upperHex, rest[2])
			if high < 0 || low < 0 {
				return "", notEscaped(segment, "%q at byte %d, expected '_' and two of 0-9 A-F, or another '_'", rest[:3], i)
			}
			b.WriteByte(byte(high<<4 | low))
			i += 2
		default:
			return "", notEscaped(segment, "%s at byte %d, expected one of A-Z a-z 0-9 - . or an escape", quote(rest), i)
		}
	}
	s := b.String()
	// Each string has one segment, so an unnecessary escape is rejected.
	if want := Escape(s); want != segment {
		return "", notEscaped(segment, "expected %q", clip(want))
	}
	return s, nil
}

func notEscaped(segment, format string, values ...any) error {
	return fmt.Errorf("%w, %q: %s", ErrNotEscaped, clip(segment), fmt.Sprintf(format, values...))
}

// clip returns the part of a string that an error repeats.
func clip(s string) string {
	const most = 80 // bytes
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
