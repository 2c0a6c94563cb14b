package meta

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestObjectJSON(t *testing.T) {
	for _, c := range []struct {
		name   string
		object Object
		want   string
	}{
		{
			"all fields",
			Object{Created: 1, Updated: 2, Index: "7", Path: "users/7", Data: json.RawMessage(`{"n":1}`), Revision: 3, Expires: 4},
			`{"created":1,"updated":2,"index":"7","path":"users/7","data":{"n":1},"revision":3,"expires":4}`,
		},
		{
			"path, revision and expiry are left out, times are not",
			Object{Index: "7", Data: json.RawMessage(`[]`)},
			`{"created":0,"updated":0,"index":"7","data":[]}`,
		},
		{
			"the JSON value null",
			Object{Created: 1, Index: "a", Path: "a", Data: json.RawMessage(`null`), Revision: 1},
			`{"created":1,"updated":0,"index":"a","path":"a","data":null,"revision":1}`,
		},
		{
			"the greatest numbers",
			Object{Created: 1<<63 - 1, Updated: 1<<63 - 1, Index: "a", Data: json.RawMessage(`1e400`), Revision: 1<<64 - 1},
			`{"created":9223372036854775807,"updated":9223372036854775807,"index":"a","data":1e400,"revision":18446744073709551615}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := json.Marshal(c.object)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != c.want {
				t.Errorf("encoded\n%s, want\n%s", got, c.want)
			}
			var back Object
			if err := json.Unmarshal(got, &back); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(back, c.object) {
				t.Errorf("decoded %+v, want %+v", back, c.object)
			}
		})
	}
}

// TestObjectWithoutData shows that an object never put into a store still encodes.
func TestObjectWithoutData(t *testing.T) {
	got, err := json.Marshal(Object{})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"created":0,"updated":0,"index":"","data":null}`; string(got) != want {
		t.Errorf("encoded %s, want %s", got, want)
	}
}

// TestObjectByValueAndPointer has an Object encode the same by value and by pointer, alone and in
// a list, as servers send it.
func TestObjectByValueAndPointer(t *testing.T) {
	object := Object{Created: 1, Index: "a", Path: "a", Data: json.RawMessage(`{"n":[1,2]}`), Revision: 1}
	const one = `{"created":1,"updated":0,"index":"a","path":"a","data":{"n":[1,2]},"revision":1}`
	for name, c := range map[string]struct {
		value any
		want  string
	}{
		"value":            {object, one},
		"pointer":          {&object, one},
		"list of values":   {[]Object{object}, "[" + one + "]"},
		"list of pointers": {[]*Object{&object}, "[" + one + "]"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := json.Marshal(c.value)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != c.want {
				t.Errorf("encoded %s, want %s", got, c.want)
			}
		})
	}
}

func TestExpired(t *testing.T) {
	for _, c := range []struct {
		name         string
		expires, now int64
		want         bool
	}{
		{"never", 0, 1 << 62, false},
		{"not yet", 10, 9, false},
		{"at its time", 10, 10, true},
		{"after", 10, 11, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := (&Object{Expires: c.expires}).Expired(c.now); got != c.want {
				t.Errorf("Expired is %v, expected %v", got, c.want)
			}
		})
	}
}
