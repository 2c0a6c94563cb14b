package command

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/meta"
)

func TestAppendObject(t *testing.T) {
	for _, test := range []struct {
		name string
		obj  meta.Object
		want string
	}{
		{"all fields", meta.Object{Created: 1, Updated: 2, Index: "b", Path: "a/b", Data: json.RawMessage(`{"x":1}`), Revision: 3},
			`{"created":1,"updated":2,"index":"b","path":"a/b","data":{"x":1},"revision":3}`},
		{"an end", meta.Object{Created: 1, Index: "b", Path: "b", Data: json.RawMessage(`1`), Revision: 3, Expires: 4},
			`{"created":1,"updated":0,"index":"b","path":"b","data":1,"revision":3,"expires":4}`},
		{"no revision", meta.Object{Created: math.MinInt64, Index: "b", Path: "b", Data: json.RawMessage(`null`)},
			`{"created":-9223372036854775808,"updated":0,"index":"b","path":"b","data":null}`},
		{"data keeps its bytes", meta.Object{Index: "b", Path: "b", Data: json.RawMessage(`{ "a" : "<&>\u00e9é` + "\u2028" + `" , "n":1.50 }`)},
			`{"created":0,"updated":0,"index":"b","path":"b","data":{ "a" : "<&>\u00e9é` + "\u2028" + `" , "n":1.50 }}`},
		{"line breaks between tokens", meta.Object{Index: "b", Path: "b", Data: json.RawMessage("[\r\n1,\n2]")},
			`{"created":0,"updated":0,"index":"b","path":"b","data":[  1, 2]}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := string(appendObject(nil, test.obj))
			if got != test.want+"\n" {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			var back meta.Object
			if err := json.Unmarshal([]byte(got), &back); err != nil {
				t.Fatal(err)
			}
			back.Data = test.obj.Data // compared above
			if !reflect.DeepEqual(back, test.obj) {
				t.Errorf("reads back as %+v, want %+v", back, test.obj)
			}
		})
	}
}

// TestShownTimesCanBeAskedFor shows that what list shows is what --from and --to read.
func TestShownTimesCanBeAskedFor(t *testing.T) {
	const created = 1700000000123456789
	for _, test := range []struct {
		screen terminal
		want   int64
	}{{terminal{}, created}, {terminal{is: true}, 1700000000123000000}} {
		shown := formatTime(created, test.screen)
		if got, err := moment(shown, time.Now(), false); err != nil || got != test.want {
			t.Errorf("%s reads as %d, %v, want %d", shown, got, err, test.want)
		}
	}
}

func TestCounts(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 171075: "171,075", 1234567: "1,234,567", -1: "-1", -123: "-123", -1234: "-1,234"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 999949: "999.9 kB", 999950: "1.0 MB", 17_000_000: "17.0 MB", math.MaxInt64: "9.2 EB"} {
		if got := humanBytes(n); got != want {
			t.Errorf("humanBytes(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 objects", 1: "1 object", 2000: "2,000 objects"} {
		if got := plural(n, "object"); got != want {
			t.Errorf("plural(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"a":                       "a",
		"a\nb\n":                  "a; b",
		"x\n\nDid you mean?\n\ty": "x; Did you mean?; y",
		"esc \x1b[31m":            `esc \u001b[31m`,
	} {
		if got := oneLine(errString(text)); got != want {
			t.Errorf("oneLine(%q) = %q, want %q", text, got, want)
		}
	}
}

type errString string

func (e errString) Error() string { return strings.Clone(string(e)) }
