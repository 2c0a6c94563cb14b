package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/key"
)

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

func TestEscapeSegment(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"plain", "AD", "AD"},
		{"empty", "", "_"},
		{"space and accents", "São Paulo", "S_C3_A3o_20Paulo"},
		{"underscore", "user_1", "user__1"},
		{"underscore alone", "_", "__"},
		{"slash", "a/b", "a_2Fb"},
		{"star", "a*", "a_2A"},
		{"dot", ".", "_2E"},
		{"dots", "..", "_2E_2E"},
		{"three dots", "...", "..."},
		{"dots inside", "v1.2", "v1.2"},
		{"looks escaped", "_20", "__20"},
		{"no UTF-8", "\xff\x00", "_FF_00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := escapeSegment(test.text)
			if got != test.want {
				t.Errorf("escapeSegment(%q) = %q, want %q", test.text, got, test.want)
			}
			if back, err := unescapeSegment(got); err != nil || back != test.text {
				t.Errorf("unescapeSegment(%q) = %q, %v, want %q", got, back, err, test.text)
			}
		})
	}
}

func TestUnescapeSegmentRefuses(t *testing.T) {
	for _, segment := range []string{"", ".", "..", "a_", "_2", "_2e", "_41", "_5F", "a_2E", "_G0", "é", "a b", "a/b", "*"} {
		if text, err := unescapeSegment(segment); !errors.Is(err, errNotEscaped) {
			t.Errorf("unescapeSegment(%q) = %q, %v, want an error: escapeSegment never returns it", segment, text, err)
		}
	}
}

// FuzzEscapeSegment shows that the rule makes valid segments, that it is reversible, and so
// that no two texts share one; and that what can be read back is what it writes.
func FuzzEscapeSegment(f *testing.F) {
	for _, text := range []string{"", ".", "..", "_", "__", "_2E", "São Paulo", "a/b", "*", "\x00\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		segment := escapeSegment(text)
		if len(segment) <= key.MaxLength && (!key.IsValid(segment) || key.HasGlob(segment) || key.Parent(segment) != "") {
			t.Errorf("escapeSegment(%q) = %q is no valid segment", text, segment)
		}
		if back, err := unescapeSegment(segment); err != nil || back != text {
			t.Errorf("unescapeSegment(%q) = %q, %v, want %q", segment, back, err, text)
		}
		if plain, err := unescapeSegment(text); err == nil && escapeSegment(plain) != text {
			t.Errorf("%q reads as %q, which is written %q", text, plain, escapeSegment(plain))
		}
	})
}
