package patch

import (
	"encoding/json"
	"errors"
	"testing"
)

func TestUnquote(t *testing.T) {
	for quoted, want := range map[string]string{
		`""`:                         "",
		`"a\"\\\/\b\f\n\r\té\u00e9"`: "a\"\\/\b\f\n\r\téé",
		`"\ud83d\ude00"`:             "😀",
		`"\ud83d"`:                   "\xed\xa0\xbd",
		`"\ude00\ud83d"`:             "\xed\xb8\x80\xed\xa0\xbd",
		`"\ud83d\u0041"`:             "\xed\xa0\xbdA",
		`"\ud83dx\ude00"`:            "\xed\xa0\xbdx\xed\xb8\x80",
		`"\ud83d\ud83d\ude00"`:       "\xed\xa0\xbd😀",
		`"\ufffd"`:                   "\ufffd",
		`"\u0000"`:                   "\x00",
	} {
		got := unquote([]byte(quoted))
		if got != want {
			t.Errorf("unquote(%s) = %q, want %q", quoted, got, want)
		}
		again := quote(got)
		if !json.Valid(again) || unquote(again) != want {
			t.Errorf("quote(%q) = %s, which stands for %q", got, again, unquote(again))
		}
	}
}

// Halves of surrogate pairs are no characters, but they are different from each other.
func TestHalvesOfPairs(t *testing.T) {
	got, err := MergeJSON([]byte(`{"\ud800":1,"\ud801":2,"k":3}`), []byte(`{"k":4}`))
	if want := `{"\ud800":1,"\ud801":2,"k":4}`; err != nil || string(got) != want {
		t.Errorf("a merge makes %s, %v, want %s", got, err, want)
	}
	if _, err := ApplyJSON([]byte(`"\ud800"`), []byte(`[{"op":"test","path":"","value":"\udfff"}]`)); !errors.Is(err, ErrTestFailed) {
		t.Errorf("a test for another half: %v, want ErrTestFailed", err)
	}
}
