package patch_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/patch"
)

func TestAssign(t *testing.T) {
	for _, c := range []struct{ name, document, patch, want string }{
		{"a member changes, the others stay in their places", `{"b":1,"a":2}`, `{"b":3}`, `{"b":3,"a":2}`},
		{"a new member comes last", `{"a":1}`, `{"b":{"c":null}}`, `{"a":1,"b":{"c":null}}`},
		{"null is a value", `{"name":"x","age":3}`, `{"name":null}`, `{"name":null,"age":3}`},
		{"null takes the place of an object", `{"o":{"x":1}}`, `{"o":null}`, `{"o":null}`},
		{"deep", `{"o":{"p":{"x":1,"y":2}}}`, `{"o":{"p":{"y":3}}}`, `{"o":{"p":{"x":1,"y":3}}}`},
		{"an array is replaced whole", `{"l":[1,2,3]}`, `{"l":[4]}`, `{"l":[4]}`},
		{"an object patches an array by position", `{"l":[1,2]}`, `{"l":{"0":9}}`, `{"l":[9,2]}`},
		{"an object within an array", `{"l":[{"a":1,"b":2}]}`, `{"l":{"0":{"a":3}}}`, `{"l":[{"a":3,"b":2}]}`},
		{"an object takes the place of a number", `{"a":1}`, `{"a":{"b":2}}`, `{"a":{"b":2}}`},
		{"a document that is no object", `5`, `{"a":1}`, `{"a":1}`},
		{"numbers keep their digits", `{"a":1.10}`, `{"b":12345678901234567890123}`, `{"a":1.10,"b":12345678901234567890123}`},
		{"nothing", `{"a":1}`, `{}`, `{"a":1}`},
		{"of two members of a name the last", `{"a":1}`, `{"a":2,"a":3}`, `{"a":3}`},
	} {
		got, err := patch.AssignJSON([]byte(c.document), []byte(c.patch))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s with %s is %s, %v, want %s", c.name, c.document, c.patch, got, err, c.want)
		}
	}
}

func TestAssignRefuses(t *testing.T) {
	for _, c := range []struct{ document, patch, says string }{
		{`{"o":{"x":1}}`, `{"o":5}`, `patch value must be object for key "o"`},
		{`{"o":{"x":1}}`, `{"o":[1]}`, `patch value must be object for key "o"`},
		{`{"a":1}`, `5`, "it is not an object"},
		{`{"a":1}`, `[]`, "it is not an object"},
		{`{"a":1}`, `null`, "it is not an object"},
		{`{"l":[1]}`, `{"l":{"1":2}}`, `no item "1"`},
		{`{"l":[1]}`, `{"l":{"-":2}}`, `no item "-"`},
		{`{"l":[1]}`, `{"l":{"00":2}}`, `no item "00"`},
		{`{"a":1}`, `{"a":`, "invalid JSON"},
		{`{"a":1}`, "{\"a\":\"\xff\"}", "not UTF-8"},
	} {
		got, err := patch.AssignJSON([]byte(c.document), []byte(c.patch))
		if !errors.Is(err, patch.ErrInvalidPatch) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s with %s is %s, %v, want ErrInvalidPatch with %q", c.document, c.patch, got, err, c.says)
		}
	}
	deep := strings.Repeat(`{"a":`, patch.MaxDepth+1) + "1" + strings.Repeat("}", patch.MaxDepth+1)
	if _, err := patch.AssignJSON([]byte("{}"), []byte(deep)); !errors.Is(err, patch.ErrLimit) {
		t.Errorf("a patch that is too deep: %v", err)
	}
}

// FuzzAssign: what comes out is JSON, and a patch that is applied twice changes nothing the second time.
func FuzzAssign(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":2}]}`), []byte(`{"a":{"1":{"b":null}}}`))
	f.Add([]byte(`[1,2]`), []byte(`{"0":{"a":1}}`))
	f.Fuzz(func(t *testing.T, document, change []byte) {
		once, err := patch.AssignJSON(document, change)
		if err != nil {
			return
		}
		if !json.Valid(once) {
			t.Fatalf("%q with %q is %q, which is no JSON", document, change, once)
		}
		twice, err := patch.AssignJSON(once, change)
		if err != nil || string(twice) != string(once) {
			t.Fatalf("%q with %q is %q, and once more %q, %v", document, change, once, twice, err)
		}
	})
}
