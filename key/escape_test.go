package key

import (
	"errors"
	"strings"
	"testing"
)

func TestEscape(t *testing.T) {
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
		{"all that stands for itself", "AZaz09-.", "AZaz09-."},
		{"no UTF-8", "\xff\x00", "_FF_00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := Escape(test.text)
			if got != test.want {
				t.Errorf("Escape(%q) = %q, want %q", test.text, got, test.want)
			}
			if back, err := Unescape(got); err != nil || back != test.text {
				t.Errorf("Unescape(%q) = %q, %v, want %q", got, back, err, test.text)
			}
		})
	}
}

func TestUnescapeRefuses(t *testing.T) {
	for _, segment := range []string{"", ".", "..", "a_", "_2", "_2e", "_41", "_5F", "a_2E", "_G0", "é", "a b", "a/b", "*", "_\n", strings.Repeat("_41", 500)} {
		if text, err := Unescape(segment); !errors.Is(err, ErrNotEscaped) {
			t.Errorf("Unescape(%q) = %q, %v, want an error: Escape never returns it", segment, text, err)
		} else if msg := err.Error(); len(msg) > 300 || strings.ContainsFunc(msg, func(r rune) bool { return r < ' ' }) {
			t.Errorf("Unescape(%q): the error %q is not one short line", segment, msg)
		}
	}
}

// FuzzEscape shows that the rule makes valid segments, that it is reversible, and so
// that no two texts share one; and that what can be read back is what it writes.
func FuzzEscape(f *testing.F) {
	for _, text := range []string{"", ".", "..", "_", "__", "_2E", "São Paulo", "a/b", "*", "\x00\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		segment := Escape(text)
		if len(segment) <= MaxLength && (!IsValid(segment) || HasGlob(segment) || Parent(segment) != "" || LastIndex(segment) != segment) {
			t.Errorf("Escape(%q) = %q is no valid segment", text, segment)
		}
		if back, err := Unescape(segment); err != nil || back != text {
			t.Errorf("Unescape(%q) = %q, %v, want %q", segment, back, err, text)
		}
		if plain, err := Unescape(text); err == nil && Escape(plain) != text {
			t.Errorf("%q reads as %q, which is written %q", text, plain, Escape(plain))
		}
	})
}
