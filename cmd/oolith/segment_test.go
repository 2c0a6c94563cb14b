package main

import (
	"errors"
	"testing"

	"github.com/oolith-db/oolith/key"
)

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
