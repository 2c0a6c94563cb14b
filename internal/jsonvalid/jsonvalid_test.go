package jsonvalid

import (
	"encoding/json"
	"strings"
	"testing"
)

var cases = []string{
	``, ` `, `null`, `nul`, `nulll`, `true`, `false`, `tru`, ` true `, `truefalse`,
	`0`, `-0`, `-`, `00`, `01`, `1.`, `1.0`, `.1`, `1e`, `1e5`, `1E+5`, `1e-`, `1.5e-9x`, `+1`, `1 2`,
	`""`, `"`, `"a`, `"\"`, `"\""`, `"\u12aF"`, `"\u12g4"`, `"\u12"`, `"\x"`, "\"\x1f\"", "\"\x7f\"", "\"\xff\"", `"é"`,
	`{}`, `{`, `}`, `{"a"}`, `{"a":}`, `{"a":1}`, `{"a":1,}`, `{,}`, `{"a":1 "b":2}`, `{"a" : 1 , "b":[1,2,{"c":null}]}`, `{a:1}`, `{1:1}`,
	`[]`, `[`, `]`, `[1]`, `[1,]`, `[,1]`, `[1 2]`, "[1,\n\t\r 2]", `[[[]]]`, `[}`, `{]`, `[1`, "[1,\v2]",
}

func TestValidAgreesWithEncodingJSON(t *testing.T) {
	for _, s := range cases {
		if got, want := Valid([]byte(s)), json.Valid([]byte(s)); got != want {
			t.Errorf("Valid(%q) = %v, encoding/json says %v", s, got, want)
		}
	}
}

func TestValidDepth(t *testing.T) {
	for _, depth := range []int{maxDepth - 1, maxDepth, maxDepth + 1, 1_000_000} {
		for _, nest := range [][2]string{{"[", "]"}, {`{"a":`, "}"}} {
			s := []byte(strings.Repeat(nest[0], depth) + "1" + strings.Repeat(nest[1], depth))
			if got, want := Valid(s), json.Valid(s); got != want {
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
		if got, want := Valid(data), json.Valid(data); got != want {
			t.Errorf("Valid(%q) = %v, encoding/json says %v", data, got, want)
		}
	})
}

func BenchmarkValid(b *testing.B) {
	data := []byte(`{"name":"Sant Julià de Lòria","lat":"42.46372","lng":"1.49129","country":"AD","admin1":"06","admin2":"","population":8022,"tags":["town","valley"]}`)
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
