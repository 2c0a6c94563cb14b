package jsonvalid

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

var cases = []string{
	``, ` `, `null`, `nul`, `nulll`, `true`, `false`, `tru`, ` true `, `truefalse`,
	`0`, `-0`, `-`, `00`, `01`, `1.`, `1.0`, `.1`, `1e`, `1e5`, `1E+5`, `1e-`, `1.5e-9x`, `+1`, `1 2`,
	`""`, `"`, `"a`, `"\"`, `"\""`, `"\u12aF"`, `"\u12g4"`, `"\u12"`, `"\x"`, "\"\x1f\"", "\"\x7f\"", "\"\xff\"", `"é"`,
	`{}`, `{`, `}`, `{"a"}`, `{"a":}`, `{"a":1}`, `{"a":1,}`, `{,}`, `{"a":1 "b":2}`, `{"a" : 1 , "b":[1,2,{"c":null}]}`, `{a:1}`, `{1:1}`,
	`[]`, `[`, `]`, `[1]`, `[1,]`, `[,1]`, `[1 2]`, "[1,\n\t\r 2]", `[[[]]]`, `[}`, `{]`, `[1`, "[1,\v2]",
}

func TestGrammarAgreesWithEncodingJSON(t *testing.T) {
	for _, s := range cases {
		if got, want := Grammar([]byte(s)), json.Valid([]byte(s)); got != want {
			t.Errorf("Grammar(%q) = %v, encoding/json says %v", s, got, want)
		}
	}
}

// TestUTF8 has what RFC 3629 lets in, and what it does not: at its beginning, within and at its end.
func TestUTF8(t *testing.T) {
	for _, c := range []struct {
		name, text string
		at         int // of the first byte that is no UTF-8
	}{
		{"ASCII", "\x7f", -1},
		{"two bytes", "é", -1},
		{"three bytes", "€", -1},
		{"four bytes", "\U0010ffff", -1},
		{"the replacement character", "\ufffd", -1},
		{"half a pair, escaped", `\ud800`, -1},
		{"half a pair", "\xed\xa0\x80", 0},
		{"a byte that begins nothing", "\xff", 0},
		{"a byte that goes on with nothing", "a\x80", 1},
		{"cut off", "a€\xe2\x82", 4},
		{"longer than it need be", "ab\xc0\xaf", 2},
		{"beyond the last", "\xf4\x90\x80\x80", 0},
	} {
		for _, around := range []struct{ before, after string }{
			{`"`, `"`}, {`{"` + strings.Repeat("a", 64) + `":"`, `"}`}, {`{"`, `":[]}`}, {` ["é","`, `","é"] `},
		} {
			data, at := []byte(around.before+c.text+around.after), -1
			if c.at >= 0 {
				at = len(around.before) + c.at
			}
			if Valid(data) != (at < 0) || NotUTF8(data) != at || !Grammar(data) {
				t.Errorf("%s: Valid(%q) = %v, NotUTF8 = %d, Grammar = %v; want %v, %d, true",
					c.name, data, Valid(data), NotUTF8(data), Grammar(data), at < 0, at)
			}
		}
	}
}

func TestValidDepth(t *testing.T) {
	for _, depth := range []int{maxDepth - 1, maxDepth, maxDepth + 1, 1_000_000} {
		for _, nest := range [][2]string{{"[", "]"}, {`{"a":`, "}"}} {
			s := []byte(strings.Repeat(nest[0], depth) + "1" + strings.Repeat(nest[1], depth))
			if got, want := Valid(s), json.Valid(s); got != want || Grammar(s) != want {
				t.Errorf("%d levels of %s: Valid = %v, encoding/json says %v", depth, nest[0], got, want)
			}
		}
	}
}

func FuzzValid(f *testing.F) {
	for _, s := range cases {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, want := Grammar(data), json.Valid(data); got != want {
			t.Errorf("Grammar(%q) = %v, encoding/json says %v", data, got, want)
		}
		if got, want := Valid(data), json.Valid(data) && utf8.Valid(data); got != want || NotUTF8(data) < 0 != utf8.Valid(data) {
			t.Errorf("Valid(%q) = %v, want %v; NotUTF8 = %d", data, got, want, NotUTF8(data))
		}
	})
}

func BenchmarkValid(b *testing.B) {
	data := []byte(`{"name":"Sant Julià de Lòria","lat":"42.46372","lng":"1.49129","country":"AD","admin1":"06","admin2":"","population":8022,"tags":["town","valley"]}`)
	b.Run("grammar", func(b *testing.B) {
		for b.Loop() {
			Grammar(data)
		}
	})
	b.Run("oolith", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Valid(data)
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			json.Valid(data)
		}
	})
}
