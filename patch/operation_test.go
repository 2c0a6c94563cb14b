package patch

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestApplyJSON has the cases of RFC 6902, appendix A, that apply, and what they leave open.
func TestApplyJSON(t *testing.T) {
	for _, test := range []struct{ name, document, patch, want string }{
		{"A.1: add a member", `{"foo":"bar"}`, `[{"op":"add","path":"/baz","value":"qux"}]`, `{"foo":"bar","baz":"qux"}`},
		{"A.2: add an item", `{"foo":["bar","baz"]}`, `[{"op":"add","path":"/foo/1","value":"qux"}]`, `{"foo":["bar","qux","baz"]}`},
		{"A.3: remove a member", `{"baz":"qux","foo":"bar"}`, `[{"op":"remove","path":"/baz"}]`, `{"foo":"bar"}`},
		{"A.4: remove an item", `{"foo":["bar","qux","baz"]}`, `[{"op":"remove","path":"/foo/1"}]`, `{"foo":["bar","baz"]}`},
		{"A.5: replace a value", `{"baz":"qux","foo":"bar"}`, `[{"op":"replace","path":"/baz","value":"boo"}]`, `{"baz":"boo","foo":"bar"}`},
		{"A.6: move a value", `{"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}`,
			`[{"op":"move","from":"/foo/waldo","path":"/qux/thud"}]`,
			`{"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}`},
		{"A.7: move an item", `{"foo":["all","grass","cows","eat"]}`, `[{"op":"move","from":"/foo/1","path":"/foo/3"}]`, `{"foo":["all","cows","eat","grass"]}`},
		{"A.8: tests that succeed", `{"baz":"qux","foo":["a",2,"c"]}`,
			`[{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2}]`, `{"baz":"qux","foo":["a",2,"c"]}`},
		{"A.10: add an object", `{"foo":"bar"}`, `[{"op":"add","path":"/child","value":{"grandchild":{}}}]`, `{"foo":"bar","child":{"grandchild":{}}}`},
		{"A.11: members that are not known are ignored", `{"foo":"bar"}`, `[{"op":"add","path":"/baz","value":"qux","xyz":123}]`, `{"foo":"bar","baz":"qux"}`},
		{"A.14: escapes of pointers", `{"/":9,"~1":10}`, `[{"op":"test","path":"/~01","value":10}]`, `{"/":9,"~1":10}`},
		{"A.16: add an array as an item", `{"foo":["bar"]}`, `[{"op":"add","path":"/foo/-","value":["abc","def"]}]`, `{"foo":["bar",["abc","def"]]}`},

		{"no operations", ` {"a" : 1}`, `[]`, `{"a":1}`},
		{"add over a member keeps its place", `{"a":1,"b":2}`, `[{"op":"add","path":"/a","value":null}]`, `{"a":null,"b":2}`},
		{"add at the end by index", `[1]`, `[{"op":"add","path":"/1","value":2}]`, `[1,2]`},
		{"add as the whole document", `{"a":1}`, `[{"op":"add","path":"","value":5}]`, `5`},
		{"replace the whole document", `5`, `[{"op":"replace","path":"","value":{"a":1}},{"op":"add","path":"/b","value":2}]`, `{"a":1,"b":2}`},
		{"replace an item", `[1,2]`, `[{"op":"replace","path":"/1","value":{"a":[]}},{"op":"add","path":"/1/a/0","value":3}]`, `[1,{"a":[3]}]`},
		{"replace keeps the spelling of the name", `{"\u0061":1}`, `[{"op":"replace","path":"/a","value":2}]`, `{"\u0061":2}`},
		{"the empty name", `{"":1,"a":{"":2}}`, `[{"op":"remove","path":"/"},{"op":"replace","path":"/a/","value":3}]`, `{"a":{"":3}}`},
		{"a name that looks like an index", `{"0":"a"}`, `[{"op":"add","path":"/-","value":1},{"op":"remove","path":"/0"}]`, `{"-":1}`},
		{"a name with quotes", `{}`, `[{"op":"add","path":"/a\"<\u0001","value":1}]`, `{"a\"<\u0001":1}`},
		{"move to itself", `{"a":1}`, `[{"op":"move","from":"/a","path":"/a"}]`, `{"a":1}`},
		{"move to the root", `{"a":[1]}`, `[{"op":"move","from":"/a","path":""}]`, `[1]`},
		{"copy", `{"a":{"b":[1]}}`, `[{"op":"copy","from":"/a/b","path":"/c"},{"op":"add","path":"/c/-","value":2}]`, `{"a":{"b":[1]},"c":[1,2]}`},
		{"copy the whole document into itself", `{"a":1}`, `[{"op":"copy","from":"","path":"/b"}]`, `{"a":1,"b":{"a":1}}`},
		{"copy the whole document as it is by then", `{"a":[0,0]}`, `[{"op":"remove","path":"/a/0"},{"op":"copy","from":"","path":"/0"}]`, `{"a":[0],"0":{"a":[0]}}`},
		{"add a name that is half of a pair", `{}`, `[{"op":"add","path":"/a\ud800","value":1},{"op":"add","path":"/\udc00\ud83d\ude00","value":2}]`, `{"a\ud800":1,"\udc00😀":2}`},
		{"copy a null", `{"a":null}`, `[{"op":"copy","from":"/a","path":"/b"},{"op":"test","path":"/b","value":null}]`, `{"a":null,"b":null}`},
		{"a value used twice is two values", `{}`, `[{"op":"add","path":"/a","value":[]},{"op":"copy","from":"/a","path":"/b"},{"op":"add","path":"/a/0","value":1}]`, `{"a":[1],"b":[]}`},
		{"tests of what is meant, not of its spelling", `{"n":100,"z":-0.0,"s":"A","o":{"a":1,"b":[2]}}`,
			`[{"op":"test","path":"/n","value":1.00e+2},{"op":"test","path":"/z","value":0},{"op":"test","path":"/s","value":"\u0041"},
			 {"op":"test","path":"/o","value":{"b":[2.0],"a":1}},{"op":"test","path":"","value":{"o":{"b":[2],"a":1},"s":"A","z":0,"n":1e2}}]`,
			`{"n":100,"z":-0.0,"s":"A","o":{"a":1,"b":[2]}}`},
		{"tests of numbers that no float64 can tell", `[9007199254740993,1e400]`,
			`[{"op":"test","path":"/0","value":9007199254740993.0},{"op":"test","path":"/1","value":10e399}]`, `[9007199254740993,1e400]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ApplyJSON([]byte(test.document), []byte(test.patch))
			if err != nil || string(got) != test.want {
				t.Errorf("%s on %s: %s, %v, want %s", test.patch, test.document, got, err, test.want)
			}
		})
	}
}

// TestApplyJSONDoesNotApply has the patches that are fine in themselves, those of RFC 6902, appendix A, among them.
func TestApplyJSONDoesNotApply(t *testing.T) {
	const good = `{"op":"test","path":"","value":%s},`
	for _, test := range []struct {
		name, document, operation string
		want                      error  // beside ErrDoesNotApply
		text                      string // of the error
	}{
		{"A.9: a test that fails", `{"baz":"qux"}`, `{"op":"test","path":"/baz","value":"bar"}`, ErrTestFailed, `operation 1, test "/baz"`},
		{"A.12: add below what is not there", `{"foo":"bar"}`, `{"op":"add","path":"/baz/bat","value":"qux"}`, errNothingThere, `at "/baz": there is no value`},
		{"A.15: a string is no number", `{"/":9,"~1":10}`, `{"op":"test","path":"/~01","value":"10"}`, ErrTestFailed, `"/~01"`},

		{"a test of what is not there", `{"a":1}`, `{"op":"test","path":"/b","value":null}`, ErrTestFailed, "there is no value"},
		{"a test of other members", `{"a":{"b":1}}`, `{"op":"test","path":"/a","value":{"c":1}}`, ErrTestFailed, ""},
		{"a test of more members", `{"a":{"b":1}}`, `{"op":"test","path":"/a","value":{"b":1,"c":2}}`, ErrTestFailed, ""},
		{"a test of other items", `[1,2]`, `{"op":"test","path":"","value":[1,3]}`, ErrTestFailed, ""},
		{"a test of numbers close to each other", `[9007199254740993]`, `{"op":"test","path":"/0","value":9007199254740992}`, ErrTestFailed, ""},
		{"a test of signs", `[1]`, `{"op":"test","path":"/0","value":-1}`, ErrTestFailed, ""},
		{"a test of powers", `[10]`, `{"op":"test","path":"/0","value":1}`, ErrTestFailed, ""},
		{"remove what is not there", `{"a":1}`, `{"op":"remove","path":"/b"}`, errNothingThere, ""},
		{"replace what is not there", `{"a":1}`, `{"op":"replace","path":"/b","value":1}`, errNothingThere, ""},
		{"move what is not there", `{"a":1}`, `{"op":"move","from":"/b","path":"/c"}`, errNothingThere, `from "/b"`},
		{"move to what is gone with it", `{"a":{"b":1}}`, `{"op":"move","from":"/a","path":"/c/a"}`, errNothingThere, ""},
		{"copy what is not there", `{"a":1}`, `{"op":"copy","from":"/b","path":"/c"}`, errNothingThere, `from "/b"`},
		{"add below a number", `{"a":1}`, `{"op":"add","path":"/a/b","value":1}`, nil, "expected an object or an array as its parent, found"},
		{"test below a number", `{"a":1}`, `{"op":"test","path":"/a/b/c","value":1}`, ErrTestFailed, "expected an object or an array"},
		{"past the end", `[1]`, `{"op":"add","path":"/2","value":1}`, nil, "past the end"},
		{"remove at the end", `[1]`, `{"op":"remove","path":"/1"}`, nil, "past the end"},
		{"remove of -", `[1]`, `{"op":"remove","path":"/-"}`, nil, `"-" is not an index`},
		{"a negative index", `[1]`, `{"op":"remove","path":"/-1"}`, nil, `"-1" is not an index`},
		{"an index with a sign", `[1,2]`, `{"op":"remove","path":"/+1"}`, nil, `"+1" is not an index`},
		{"an index with a leading zero", `[1,2]`, `{"op":"remove","path":"/01"}`, nil, `"01" is not an index`},
		{"an empty index", `[1]`, `{"op":"remove","path":"/"}`, nil, `"" is not an index`},
		{"an index beyond all numbers", `[1]`, `{"op":"replace","path":"/99999999999999999999999999","value":1}`, nil, "past the end"},
	} {
		t.Run(test.name, func(t *testing.T) {
			patch := "[" + fmt.Sprintf(good, test.document) + test.operation + "]"
			got, err := ApplyJSON([]byte(test.document), []byte(patch))
			var at *OperationError
			if !errors.As(err, &at) || at.Index != 1 || !errors.Is(err, ErrDoesNotApply) {
				t.Fatalf("%s, %v, want an OperationError of operation 1", got, err)
			}
			if test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%v, want %v with %q", err, test.want, test.text)
			}
		})
	}
}

func TestParseOperationsRefuses(t *testing.T) {
	for _, test := range []struct {
		name, patch string
		want        error
		text        string
	}{
		{"no JSON", `[{]`, ErrInvalidPatch, "invalid JSON"},
		{"nothing", ``, ErrInvalidPatch, ""},
		{"an object", `{"op":"remove","path":"/a"}`, ErrInvalidPatch, "expected an array of operations"},
		{"an operation that is none", `[{"op":"remove","path":"/a"},5]`, ErrInvalidPatch, "operation 1"},
		{"A.13: two members op", `[{"op":"add","path":"/baz","value":"qux","op":"remove"}]`, ErrInvalidPatch, `the member "op" twice`},
		{"no op", `[{"path":"/a"}]`, ErrInvalidPatch, `no member "op"`},
		{"an op that is no string", `[{"op":5,"path":"/a"}]`, ErrInvalidPatch, "op is not a string"},
		{"an op that is unknown", `[{"op":"Add","path":"/a","value":1}]`, ErrInvalidPatch, `op is "Add", expected add, remove`},
		{"no path", `[{"op":"remove"}]`, ErrInvalidPatch, `no member "path"`},
		{"a path that is null", `[{"op":"remove","path":null}]`, ErrInvalidPatch, "path is not a string"},
		{"a path without slash", `[{"op":"remove","path":"a"}]`, ErrInvalidPatch, "does not begin with a slash"},
		{"no UTF-8", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":\"\xff\"}]", ErrInvalidPatch, "0xff at offset 34"},
		{"a wrong escape", `[{"op":"remove","path":"/a~2"}]`, ErrInvalidPatch, "'~'"},
		{"an escape at the end", `[{"op":"remove","path":"/a~0/~"}]`, ErrInvalidPatch, "'~'"},
		{"no value", `[{"op":"add","path":"/a"}]`, ErrInvalidPatch, `no member "value"`},
		{"a test without value", `[{"op":"test","path":"/a"}]`, ErrInvalidPatch, `no member "value"`},
		{"no from", `[{"op":"move","path":"/a"}]`, ErrInvalidPatch, `no member "from"`},
		{"a wrong from", `[{"op":"copy","path":"/a","from":"b"}]`, ErrInvalidPatch, "from: "},
		{"a move into itself", `[{"op":"move","from":"/a","path":"/a/b"}]`, ErrInvalidPatch, `moves "/a" into itself`},
		{"a move of all into itself", `[{"op":"move","from":"","path":"/a"}]`, ErrInvalidPatch, "into itself"},
		{"the removal of all", `[{"op":"remove","path":""}]`, ErrInvalidPatch, "cannot be removed"},
		{"too many operations", "[" + strings.Repeat(`{"op":"remove","path":"/a"},`, MaxOperations) + `{"op":"remove","path":"/a"}]`, ErrLimit, "10001 operations"},
		{"a pointer that is too deep", `[{"op":"remove","path":"` + strings.Repeat("/a", MaxDepth+1) + `"}]`, ErrLimit, "levels"},
		{"a value that is too deep", `[{"op":"add","path":"/a","value":` + strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth) + `}]`, ErrLimit, "levels"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ApplyJSON([]byte(`{"a":1}`), []byte(test.patch))
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%s, %v, want %v with %q", got, err, test.want, test.text)
			}
			if len(err.Error()) > 400 || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has %d bytes or several lines: %.100q", len(err.Error()), err)
			}
		})
	}
}

// TestCopiesDoNotBlowUp lets copies double a document until that is refused.
func TestCopiesDoNotBlowUp(t *testing.T) {
	doubling := strings.Repeat(`{"op":"copy","from":"/a","path":"/a/-"},`, 100)
	patch := `[{"op":"add","path":"/a","value":["0123456789"]},` + strings.TrimSuffix(doubling, ",") + "]"
	if got, err := ApplyJSON([]byte(`{}`), []byte(patch)); !errors.Is(err, ErrLimit) {
		t.Errorf("%d bytes, %v, want %v", len(got), err, ErrLimit)
	}
	small := `[{"op":"add","path":"/a","value":"0123456789"},{"op":"copy","from":"/a","path":"/b"}]`
	if got, err := ApplyJSON([]byte(`{}`), []byte(small)); err != nil {
		t.Errorf("a copy within the limit: %s, %v", got, err)
	}
}

// TestMovesDoNotGoTooDeep stacks values into each other by moves, each of which is allowed.
func TestMovesDoNotGoTooDeep(t *testing.T) {
	const levels = 600
	nested := strings.Repeat("[", levels) + strings.Repeat("]", levels)
	bottom := strings.Repeat("/0", levels-1)
	patch := []string{}
	for i := range 50 { // one after the other becomes the innermost of the next
		patch = append(patch,
			fmt.Sprintf(`{"op":"add","path":"/a%d","value":%s}`, i+1, nested),
			fmt.Sprintf(`{"op":"move","from":"/a%d","path":"/a%d%s/0"}`, i, i+1, bottom))
	}
	patch = append(patch, fmt.Sprintf(`{"op":"copy","from":"/a%d","path":"/copy"}`, 50))
	for name, operations := range map[string][]string{"at the end": patch[:len(patch)-1], "in a copy": patch} {
		if got, err := ApplyJSON([]byte(`{"a0":1}`), []byte("["+strings.Join(operations, ",")+"]")); !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %d bytes, %v, want %v", name, len(got), err, ErrLimit)
		}
	}
}
