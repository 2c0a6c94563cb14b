package ko

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/internal/jsonvalid"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// oddData is valid JSON that a careless codec changes.
var oddData = []string{
	`{"a":1}`, ` { "b" : 2 } `, "[\n1,\t2 ]\r\n", `"\u00e9é<&>"`, "\"\u2028\"", `1e400`, `null`, `{"a":1,"a":2}`,
	`12345678901234567890.000`, `-0`, `0`, `5`, `""`, `{"x":1,"revision":5}`, `{"x":1,"expires":5}`,
	`{"x":",\"revision\":5"}`, `",\"revision\":5}"`, `[1,"expires",2]`, `{"data":{"data":1}}`, "\"\xff\"", `"}"`, ` 7 `,
}

func TestEntryRoundTrip(t *testing.T) {
	for _, data := range oddData {
		for _, numbers := range [][4]int64{{0, 0, 0, 0}, {1, 2, 3, 0}, {-5, 1, 0, 4}, {math.MaxInt64, math.MinInt64, -1, math.MinInt64}} {
			for _, path := range []string{"a", "a/b", "A-_.9/z"} {
				want := enginetest.Object(path, numbers[0], data)
				want.Updated, want.Revision, want.Expires = numbers[1], uint64(numbers[2]), numbers[3]
				entry := appendEntry(nil, path, want)
				if len(entry) > entrySize(path, want) {
					t.Errorf("the entry %s has %d bytes, entrySize says %d", entry, len(entry), entrySize(path, want))
				}
				if _, ok := cutEntry(entry); !ok {
					t.Errorf("the entry %s is not read the quick way", entry)
				}
				got, err := decodeEntry(path, entry)
				if err != nil || !reflect.DeepEqual(got, *want) {
					t.Errorf("the entry %s is read as %+v, %v, expected %+v", entry, got, err, *want)
				}
				// The older software reads it too, but for white space around the data.
				var older struct {
					Created, Updated int64
					Index, Path      string
					Data             json.RawMessage
				}
				if err := json.Unmarshal(entry, &older); err != nil {
					t.Errorf("encoding/json reads the entry %s: %v", entry, err)
				}
				if older.Created != want.Created || older.Updated != want.Updated || older.Index != want.Index ||
					older.Path != path || string(older.Data) != strings.Trim(data, " \r\n\t") {
					t.Errorf("encoding/json reads the entry %s as %+v", entry, older)
				}
			}
		}
	}
}

func TestDecodeOlderEntries(t *testing.T) {
	for _, c := range []struct {
		name, entry string
		want        meta.Object
	}{
		{"as it always was", `{"created":1,"updated":2,"index":"b","path":"a/b","data":{"x":[1]}}`,
			meta.Object{Created: 1, Updated: 2, Data: []byte(`{"x":[1]}`)}},
		{"without a path", `{"created":1,"updated":2,"index":"b","data":5}`,
			meta.Object{Created: 1, Updated: 2, Data: []byte(`5`)}},
		{"of another path", `{"created":1,"updated":0,"index":"y","path":"x/y","data":5}`,
			meta.Object{Created: 1, Data: []byte(`5`)}},
		{"indented", "{\n\t\"created\": 1,\n\t\"updated\": 2,\n\t\"index\": \"b\",\n\t\"data\": {\n\t\t\"x\": 1\n\t}\n}",
			meta.Object{Created: 1, Updated: 2, Data: []byte("{\n\t\t\"x\": 1\n\t}")}},
		{"in another order", `{"data":{"x":1},"created":1,"revision":9}`,
			meta.Object{Created: 1, Revision: 9, Data: []byte(`{"x":1}`)}},
		{"with more fields", `{"created":1,"updated":2,"index":"b","path":"a/b","data":5,"owner":"x"}`,
			meta.Object{Created: 1, Updated: 2, Data: []byte(`5`)}},
		{"with more fields before the data", `{"created":1,"updated":2,"index":"b","owner":"x","data":5}`,
			meta.Object{Created: 1, Updated: 2, Data: []byte(`5`)}},
		{"with escapes", `{"created":1,"updated":0,"index":"\u0062","path":"a\/b","data":"\u003c"}`,
			meta.Object{Created: 1, Data: []byte(`"\u003c"`)}},
		{"null", `{"created":1,"updated":0,"index":"b","path":"a/b","data":null}`,
			meta.Object{Created: 1, Data: []byte(`null`)}},
		{"indented null", `{"created":1, "data": null }`,
			meta.Object{Created: 1, Data: []byte(`null`)}},
		{"only data", `{"data":1}`, meta.Object{Data: []byte(`1`)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.want.Path, c.want.Index = "a/b", "b"
			got, err := decodeEntry("a/b", []byte(c.entry))
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("read as %+v, %v, expected %+v", got, err, c.want)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, entry := range []string{
		"", "text", "5", "[]", "null", "{}", `{"created":1,"updated":0,"index":"b","path":"a/b"}`,
		`{"created":1,"updated":0,"index":"b","path":"a/b","data":}`,
		`{"created":1,"updated":0,"index":"b","path":"a/b","data":{"x":1}`,
		`{"created":1,"updated":0,"index":"b","path":"a/b","data":{"x":1}}}`,
		`{"created":1,"updated":0,"index":"b","path":"a/b","data":{"x":1}|`,
		`{"created":01,"updated":0,"index":"b","path":"a/b","data":1}`,
		`{"created":"1","updated":0,"index":"b","path":"a/b","data":1}`,
		`{"created":1e400,"updated":0,"index":"b","path":"a/b","data":1}`,
		`{"created":9223372036854775808,"updated":0,"index":"b","path":"a/b","data":1}`,
		`{"created":1,"updated":0,"index":"b","path":"a/b","data":1,"revision":-1}`,
		`{"created":1,"updated":0,"index":"b","path":"a/b","data":1,"revision":18446744073709551616}`,
		`{"created":1,"updated":0,"index":"b","path":"a/b","data":1,"revision":01}`,
		`{"created":1,"updated":0,"index":"b","path":"a/b","data":1,"expires":9223372036854775808}`,
	} {
		obj, err := decodeEntry("a/b", []byte(entry))
		if err == nil || !strings.Contains(err.Error(), `"a/b"`) {
			t.Errorf("%s is read as %+v, %v, expected an error with the key", entry, obj, err)
		}
	}
}

// Whatever the entry, the quick way reads what encoding/json reads, or leaves it to that.
func FuzzCutEntry(f *testing.F) {
	for _, data := range oddData {
		obj := enginetest.Object("a/b", 1, data)
		f.Add(appendEntry(nil, "a/b", obj))
		obj.Revision, obj.Expires = 7, 8
		f.Add(appendEntry(nil, "a/b", obj))
	}
	f.Add([]byte(`{"created":1,"updated":0,"index":"b","path":"a/b","data":1,"data":2}`))
	f.Add([]byte(`{"created":1,"updated":0,"index":"b","data":1,"revision":2,"revision":3}`))
	f.Fuzz(func(t *testing.T, entry []byte) {
		quick, ok := cutEntry(slices.Clone(entry))
		if !ok {
			return
		}
		slow, err := parseEntry(entry)
		if err != nil {
			if nesting(quick.Data) > maxNesting {
				return
			}
			t.Fatalf("%q is read only the quick way: %v", entry, err)
		}
		if quick.Created != slow.Created || quick.Updated != slow.Updated || quick.Revision != slow.Revision ||
			quick.Expires != slow.Expires || strings.Trim(string(quick.Data), " \r\n\t") != string(slow.Data) {
			t.Fatalf("%q is read as %+v, and by encoding/json as %+v", entry, quick, slow)
		}
		if !jsonvalid.Grammar(quick.Data) {
			t.Fatalf("%q has the data %q, which is no JSON", entry, quick.Data)
		}
	})
}

// An entry may nest one level deeper than its data: what encoding/json could not read any more
// is refused.
func TestNesting(t *testing.T) {
	l := startInMemory(t)
	nested := func(depth int) string {
		return strings.Repeat(`[`, depth-1) + `{"]":"\"["}` + strings.Repeat(`]`, depth-1)
	}
	for _, depth := range []int{1, 2, maxNesting, maxNesting + 1} {
		if got := nesting([]byte(nested(depth))); got != depth {
			t.Errorf("the nesting of %d levels is %d", depth, got)
		}
	}
	if err := l.Set("a", enginetest.Object("a", 1, nested(maxNesting))); err != nil {
		t.Errorf("set of the deepest: %v", err)
	}
	entry, err := databaseOf(l).db.Get([]byte("a"), nil)
	if err != nil || !json.Valid(entry) {
		t.Errorf("encoding/json does not read the deepest: %v", err)
	}
	if err := l.Set("a", enginetest.Object("a", 1, nested(maxNesting+1))); err == nil || !strings.Contains(err.Error(), "nests deeper") {
		t.Errorf("set of what is too deep: %v", err)
	}
}

func BenchmarkDecodeEntry(b *testing.B) {
	obj := enginetest.Object("cities/0050/0050123", 1700000000000000000, string(enginetest.BenchData))
	obj.Revision = 123456
	entry := appendEntry(nil, obj.Path, obj)
	for name, decode := range map[string]func() error{
		"quick": func() error { _, err := decodeEntry(obj.Path, entry); return err },
		"encoding-json": func() error {
			obj, err := parseEntry(entry)
			obj.Index = key.LastIndex(obj.Path)
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := decode(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
