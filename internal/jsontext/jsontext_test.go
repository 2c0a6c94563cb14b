package jsontext_test

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/internal/jsontext"
)

func TestExplain(t *testing.T) {
	for _, c := range []struct{ data, want string }{
		{``, "the JSON is incomplete"},
		{`{`, "the JSON is incomplete"},
		{`twelve`, "unexpected 'w', expected true"},
		{`nil`, "unexpected 'i', expected null"},
		{`x`, "unexpected 'x', expected a value"},
		{`1 2`, "unexpected '2' after the value"},
		{`{"a":1,}`, "unexpected '}', expected a member name in quotes"},
		{`{"a" 1}`, "unexpected '1', expected a colon after the member name"},
		{`{"a":1 "b"}`, "unexpected '\"', expected a comma or '}'"},
		{`[1 2]`, "unexpected '2', expected a comma or ']'"},
		{"\"a\nb\"", "unexpected '\\n' in a string, expected it escaped"},
		{`"\x"`, `unexpected 'x' in an escape sequence, expected one such as \n or \u00e9`},
		{`"\u12g4"`, `unexpected 'g' in an escape sequence, expected one such as \n or \u00e9`},
		{`-x`, "unexpected 'x' in a number, expected a digit"},
		{`1.x`, "unexpected 'x' in a number, expected a digit"},
		{`1ex`, "unexpected 'x' in a number, expected a digit"},
		{`'`, `unexpected '\'', expected a value`},
		{`[ ' ]`, `unexpected '\'', expected a value`},
		{`tr ue`, "unexpected ' ', expected true"},
		{strings.Repeat("[", 10_001), "the JSON has more than 10,000 levels"},
	} {
		err := json.Unmarshal([]byte(c.data), new(any))
		got := jsontext.Explain(err)
		if got == nil || got.Error() != c.want {
			t.Errorf("%.20q: %v is explained as %v, want %s", c.data, err, got, c.want)
		}
		if !errors.As(got, new(*json.SyntaxError)) {
			t.Errorf("%.20q: the *json.SyntaxError is lost", c.data)
		}
	}
}

func TestExplainKinds(t *testing.T) {
	for _, c := range []struct {
		data string
		into any
		want string
	}{
		{`{"A":"x"}`, new(struct{ A int64 }), `member "A" is a string, expected a whole number`},
		{`{"A":{"B":1}}`, new(struct{ A struct{ B string } }), `member "A.B" is a number, expected a string`},
		{`[]`, new(struct{ A string }), `it is an array, expected an object`},
		{`1`, new([]int), `it is a number, expected an array`},
		{`"x"`, new(*bool), `it is a string, expected true or false`},
		{`"x"`, new(float64), `it is a string, expected a number`},
	} {
		got := jsontext.Explain(json.Unmarshal([]byte(c.data), c.into))
		if got == nil || got.Error() != c.want {
			t.Errorf("%s is explained as %v, want %s", c.data, got, c.want)
		}
	}
	decoder := json.NewDecoder(strings.NewReader(`{"nope":1}`))
	decoder.DisallowUnknownFields()
	if got := jsontext.Explain(decoder.Decode(new(struct{ A int }))); got == nil || got.Error() != `unknown member "nope"` {
		t.Errorf("an unknown member is explained as %v", got)
	}
	if got := jsontext.Explain(io.ErrUnexpectedEOF); got.Error() != "the JSON is incomplete" || !errors.Is(got, io.ErrUnexpectedEOF) {
		t.Errorf("an unexpected end is explained as %v", got)
	}
	other := errors.New("the disk is on fire")
	if jsontext.Explain(nil) != nil || jsontext.Explain(other) != other {
		t.Error("nil, or an error of something else, is changed")
	}
}

// No text of encoding/json comes through, whatever the data.
func FuzzExplain(f *testing.F) {
	f.Add([]byte(`{"a":`))
	f.Add([]byte(`{"a":1,}`))
	f.Add([]byte("\"\x00\""))
	f.Fuzz(func(t *testing.T, data []byte) {
		err := json.Unmarshal(data, new(json.RawMessage))
		if err == nil {
			return
		}
		got := jsontext.Explain(err).Error()
		for _, raw := range []string{"invalid character", "looking for", "literal", "JSON input", "top-level", "json:"} {
			if strings.Contains(got, raw) {
				t.Errorf("%q: %q is explained as %q, with %q in it", data, err, got, raw)
			}
		}
		if strings.Contains(got, "\n") || got == "a syntax error" {
			t.Errorf("%q: %q is explained as %q", data, err, got)
		}
	})
}
