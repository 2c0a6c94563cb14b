package meta

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"
)

func TestEncodeAndDecode(t *testing.T) {
	list := []Object{
		{Created: 1, Updated: 2, Index: "7", Path: "users/7", Data: json.RawMessage(`{"n":1}`), Revision: 3, Expires: 4},
		{Created: -1, Index: "a", Path: "a", Data: json.RawMessage(`"x"`)},
	}
	encoded, err := Encode(list)
	if err != nil {
		t.Fatal(err)
	}
	for name, decode := range map[string]func() ([]Object, error){
		"DecodeList":           func() ([]Object, error) { return DecodeList(encoded) },
		"DecodeListFromReader": func() ([]Object, error) { return DecodeListFromReader(strings.NewReader(string(encoded) + " [1")) },
	} {
		if got, err := decode(); err != nil || !reflect.DeepEqual(got, list) {
			t.Errorf("%s = %+v, %v, want %+v", name, got, err, list)
		}
	}
	one := New(&list[0])
	for name, decode := range map[string]func() (Object, error){
		"Decode":           func() (Object, error) { return Decode(one) },
		"DecodeFromReader": func() (Object, error) { return DecodeFromReader(strings.NewReader(string(one) + "{")) },
	} {
		if got, err := decode(); err != nil || !reflect.DeepEqual(got, list[0]) {
			t.Errorf("%s = %+v, %v, want %+v", name, got, err, list[0])
		}
	}
	for i := range one {
		one[i] = ' ' // the caller's, and not the object's
	}
	if string(list[0].Data) != `{"n":1}` {
		t.Errorf("the object shares its data with its JSON: %s", list[0].Data)
	}
}

// What other software wrote, without a path and with names of its own, is an object too.
func TestDecodeForeign(t *testing.T) {
	got, err := Decode([]byte(`{ "created": 5, "updated": 0, "index": "a", "more": [1], "data": {} }`))
	if want := (Object{Created: 5, Index: "a", Data: json.RawMessage(`{}`)}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Decode = %+v, %v, want %+v", got, err, want)
	}
}

func TestEncodeAndDecodeRefuse(t *testing.T) {
	broken := Object{Data: json.RawMessage(`{`)}
	if New(&broken) != nil || New(nil) != nil {
		t.Error("New makes JSON of what is none")
	}
	if _, err := Encode(broken); err == nil || !strings.HasPrefix(err.Error(), "meta: encode: ") {
		t.Errorf("Encode of what is no JSON = %v", err)
	}
	for _, text := range []string{"", "{", "[", `{"created":"x"}`, `{"created":1.5}`, "\x00"} {
		_, one := Decode([]byte(text))
		_, list := DecodeList([]byte(text))
		_, next := DecodeFromReader(strings.NewReader(text))
		_, nextList := DecodeListFromReader(strings.NewReader(text))
		for i, err := range []error{one, list, next, nextList} {
			if err == nil || !strings.HasPrefix(err.Error(), "meta: decode: ") {
				t.Errorf("decoder %d of %q = %v", i, text, err)
			}
		}
	}
	if _, err := DecodeFromReader(io.MultiReader()); err == nil {
		t.Error("DecodeFromReader of nothing succeeds")
	}
}

func TestSort(t *testing.T) {
	objects := make([]Object, 200)
	for i := range objects {
		objects[i] = Object{Created: rand.Int64N(20), Path: string(rune('a' + rand.IntN(26))), Updated: int64(i)}
	}
	places := func() (all [][2]any) {
		for _, o := range objects {
			all = append(all, [2]any{o.Created, o.Path})
		}
		return all
	}
	sort.Slice(objects, SortAsc(objects))
	ascending := places()
	for i := 1; i < len(objects); i++ {
		a, b := objects[i-1], objects[i]
		if a.Created > b.Created || a.Created == b.Created && a.Path > b.Path {
			t.Fatalf("%+v comes before %+v", a, b)
		}
	}
	sort.Slice(objects, SortDesc(objects))
	descending := places()
	slices.Reverse(descending)
	if !slices.Equal(descending, ascending) {
		t.Error("SortDesc is not the reverse of SortAsc")
	}
}

// What is an object is the same behind a round trip, and nothing panics.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"created":1,"updated":2,"index":"a","path":"a","data":{"n":1},"revision":3}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`[{}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		obj, err := Decode(data)
		if err != nil {
			return
		}
		encoded, err := Encode(&obj)
		if err != nil {
			t.Fatalf("%+v was decoded and cannot be encoded: %v", obj, err)
		}
		again, err := Decode(encoded)
		if err != nil {
			t.Fatalf("%s: %v", encoded, err)
		}
		if twice := New(&again); string(twice) != string(encoded) {
			t.Errorf("%s becomes %s", encoded, twice)
		}
	})
}
