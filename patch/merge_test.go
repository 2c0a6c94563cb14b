package patch

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestMergeJSON has the cases of RFC 7396: the example of section 3 and the table of appendix A, and
// what they leave open.
func TestMergeJSON(t *testing.T) {
	for _, test := range []struct{ name, document, patch, want string }{
		{"A: a member is replaced", `{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{"A: a member is added", `{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{"A: the only member is removed", `{"a":"b"}`, `{"a":null}`, `{}`},
		{"A: one of two members is removed", `{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{"A: an array by a string", `{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{"A: a string by an array", `{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{"A: inside of a member", `{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{"A: an array of objects is replaced as a whole", `{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{"A: an array by an array", `["a","b"]`, `["c","d"]`, `["c","d"]`},
		{"A: an object by an array", `{"a":"b"}`, `["c"]`, `["c"]`},
		{"A: an object by null", `{"a":"foo"}`, `null`, `null`},
		{"A: an object by a string", `{"a":"foo"}`, `"bar"`, `"bar"`},
		{"A: a null that was there stays", `{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{"A: an array by an object", `[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{"A: nulls deep inside of what is added", `{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{"section 3", `{"title":"Goodbye!","author":{"givenName":"John","familyName":"Doe"},"tags":["example","sample"],"content":"This will be unchanged"}`,
			`{"title":"Hello!","phoneNumber":"+01-123-456-7890","author":{"familyName":null},"tags":["example"]}`,
			`{"title":"Hello!","author":{"givenName":"John"},"tags":["example"],"content":"This will be unchanged","phoneNumber":"+01-123-456-7890"}`},

		{"nothing by an object", ``, `{"b":{"c":null,"d":1},"a":null}`, `{"b":{"d":1}}`},
		{"nothing by null", ``, `null`, `null`},
		{"null by an object", `null`, `{"a":1}`, `{"a":1}`},
		{"nulls inside of an array are values", `{}`, `{"a":[null,{"b":null}]}`, `{"a":[null,{"b":null}]}`},
		{"a number by an object", `{"a":5}`, `{"a":{"b":1}}`, `{"a":{"b":1}}`},
		{"numbers and strings keep their spelling", `{"n":1.50e+3,"s":"\u00e9<","big":12345678901234567890}`, `{"m":0.10}`,
			`{"n":1.50e+3,"s":"\u00e9<","big":12345678901234567890,"m":0.10}`},
		{"white space between tokens goes", " { \"a\" : [ 1 ,\n2 ] } ", "\t{ \"b\" : { } }\r\n", `{"a":[1,2],"b":{}}`},
		{"one name in two spellings", `{"a":1}`, `{"\u0061":2}`, `{"a":2}`},
		{"the last of two members counts", `{"a":1,"b":2,"a":3}`, `{"b":4,"b":5}`, `{"a":3,"b":5}`},
		{"the empty name", `{"":1,"a":2}`, `{"":null}`, `{"a":2}`},
		{"a member that was removed comes last", `{"a":1,"b":2}`, `{"a":null,"c":3,"a":4}`, `{"a":4,"b":2,"c":3}`},
		{"many members", `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1}`, `{"a":null,"j":2,"c":null,"k":3,"b":4}`,
			`{"b":4,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":2,"k":3}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := MergeJSON([]byte(test.document), []byte(test.patch))
			if err != nil || string(got) != test.want {
				t.Errorf("%s on %s: %s, %v, want %s", test.patch, test.document, got, err, test.want)
			}
		})
	}
}

func TestMergeJSONRefuses(t *testing.T) {
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	for _, test := range []struct {
		name, document, patch string
		want                  error
	}{
		{"a patch that is no JSON", `{}`, `{"a":}`, ErrInvalidPatch},
		{"an empty patch", `{}`, ``, ErrInvalidPatch},
		{"a patch that is too deep", `{}`, deep(MaxDepth + 1), ErrLimit},
		{"one whose last level is empty", `{}`, strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1), ErrLimit},
		{"a document that is too deep", deep(MaxDepth + 1), `{}`, ErrLimit},
		{"a document that is no JSON", `{`, `{}`, errNotJSON},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, err := MergeJSON([]byte(test.document), []byte(test.patch)); !errors.Is(err, test.want) {
				t.Errorf("%.80q, %v, want %v", got, err, test.want)
			}
		})
	}
	if got, err := MergeJSON([]byte(deep(MaxDepth)), []byte(deep(MaxDepth))); err != nil || string(got) != deep(MaxDepth) {
		t.Errorf("as deep as allowed: %d bytes, %v", len(got), err)
	}
}

// TestMergeOfManyMembers shows that a large object costs no more for each member than a small one: the
// search does not go through all of them.
func TestMergeOfManyMembers(t *testing.T) {
	var document, patch strings.Builder
	const members = 100_000
	for i := range members {
		fmt.Fprintf(&document, `,"a%d":1`, i)
		fmt.Fprintf(&patch, `,"a%d":null`, i)
	}
	got, err := MergeJSON([]byte("{"+document.String()[1:]+"}"), []byte("{"+patch.String()[1:]+"}"))
	if err != nil || string(got) != "{}" {
		t.Errorf("%.80q, %v, want {}", got, err)
	}
}
