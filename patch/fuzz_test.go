package patch

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
)

// FuzzApply shows that no patch panics, that a result is one JSON value, that the errors are those
// of the package, and that where an independent implementation applies the operations, the result is the same
// as its own.
func FuzzApply(f *testing.F) {
	for _, seed := range [][2]string{
		{`{"a":{"b":[1,2,{"c":null}]},"d":"e"}`, `[{"op":"move","from":"/a/b/2","path":"/f"},{"op":"add","path":"/a/b/-","value":3}]`},
		{`{"a":[1,2,3]}`, `[{"op":"remove","path":"/a/1"},{"op":"copy","from":"/a","path":"/b"},{"op":"replace","path":"/b/0","value":{"c":[]}}]`},
		{`{"~/":1}`, `[{"op":"test","path":"/~0~1","value":1},{"op":"replace","path":"/~0~1","value":"x"}]`},
		{`[[]]`, `[{"op":"add","path":"/0/0","value":"\u00e9"}]`},
	} {
		f.Add([]byte(seed[0]), []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, document, patch []byte) {
		got, err := ApplyJSON(document, patch)
		if err != nil {
			if !isOurs(err) {
				t.Errorf("the error %v is none of the package", err)
			}
			return
		}
		if !json.Valid(got) {
			t.Errorf("%s on %s: %s, which is no JSON", patch, document, got)
		}
		if want, ok := reference(document, patch); ok && !sameJSON(got, want) {
			t.Errorf("%s on %s: %s, want %s", patch, document, got, want)
		}
	})
}

// FuzzMerge is FuzzApply for merge patches: here the reference is the few lines of RFC 7396, section 2,
// on what encoding/json reads.
func FuzzMerge(f *testing.F) {
	f.Add([]byte(`{"a":{"b":1},"c":[1]}`), []byte(`{"a":{"b":null,"d":{"e":null}},"c":5}`))
	f.Add([]byte(`[1]`), []byte(`{"a":[{"b":null}]}`))
	f.Fuzz(func(t *testing.T, document, patch []byte) {
		got, err := MergeJSON(document, patch)
		if err != nil {
			if !isOurs(err) {
				t.Errorf("the error %v is none of the package", err)
			}
			return
		}
		var target, change any
		if len(document) > 0 && !decode(document, &target) || !decode(patch, &change) {
			return
		}
		if surrogate.Match(document) || surrogate.Match(patch) {
			return // encoding/json takes all halves of pairs for one character
		}
		want, err := json.Marshal(mergeAny(target, change))
		if err != nil {
			t.Fatal(err)
		}
		if !sameJSON(got, want) {
			t.Errorf("%s on %s: %s, want %s", patch, document, got, want)
		}
	})
}

var surrogate = regexp.MustCompile(`\\u[dD][89a-fA-F]`)

func isOurs(err error) bool {
	return errors.Is(err, ErrInvalidPatch) || errors.Is(err, ErrDoesNotApply) || errors.Is(err, ErrLimit) || errors.Is(err, errNotJSON)
}

// reference is what an independent implementation makes of a patch, where it is known to follow the RFC: it
// takes other spellings of an index, compares numbers by their spelling, and cannot deal with an empty name, a
// document that is no array or object, and removals of the root; a copy of the root is one of what it was before
// the operations.
func reference(document, patch []byte) (result []byte, ok bool) {
	first := bytes.TrimLeft(document, " \t\r\n")
	if len(first) == 0 || first[0] != '{' || !json.Valid(document) || bytes.Contains(document, []byte(`""`)) ||
		bytes.Contains(document, []byte(`\`)) || bytes.Contains(patch, []byte(`\`)) {
		return nil, false
	}
	decoded, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		return nil, false
	}
	for _, operation := range decoded {
		path, err := operation.Path()
		if from, err := operation.From(); err == nil && from == "" {
			return nil, false
		}
		if err != nil || path == "" || bytes.HasSuffix([]byte(path), []byte("/")) || bytes.Contains([]byte(path), []byte("//")) {
			return nil, false
		}
	}
	options := jsonpatch.NewApplyOptions()
	options.SupportNegativeIndices, options.EscapeHTML = false, false
	result, err = decoded.ApplyWithOptions(document, options)
	return result, err == nil
}

func mergeAny(target, patch any) any {
	change, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	merged, ok := target.(map[string]any)
	if !ok {
		merged = make(map[string]any)
	}
	for name, value := range change {
		if value == nil {
			delete(merged, name)
		} else {
			merged[name] = mergeAny(merged[name], value)
		}
	}
	return merged
}

// decode reads JSON without a loss in its numbers.
func decode(data []byte, to *any) bool {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	return decoder.Decode(to) == nil
}

func sameJSON(a, b []byte) bool {
	var x, y any
	if !decode(a, &x) || !decode(b, &y) {
		return false
	}
	first, err := json.Marshal(x)
	if err != nil {
		return false
	}
	second, err := json.Marshal(y)
	return err == nil && bytes.Equal(first, second)
}
