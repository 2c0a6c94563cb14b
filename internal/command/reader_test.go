package command

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/oolith-db/oolith/internal/testrand"
)

// readAll reads a whole import file: good records as "number data", refused ones as
// "number !reason".
func readAll(r io.Reader, limit int) (unit string, got []string, err error) {
	records, err := readRecords(r, limit, format{})
	if err != nil {
		return "", nil, err
	}
	for {
		rec, err := records.next()
		if errors.Is(err, io.EOF) {
			return records.unit, got, nil
		}
		if err != nil {
			return records.unit, got, err
		}
		if rec.refused != nil {
			got = append(got, fmt.Sprintf("%d !%v", rec.number, rec.refused))
		} else {
			got = append(got, fmt.Sprintf("%d %s", rec.number, rec.data))
		}
	}
}

func gzipped(t testing.TB, content string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestReadRecords(t *testing.T) {
	const invalid = `invalid JSON at column 1, unexpected 'o', expected a value`
	for _, test := range []struct {
		name, input, unit string
		want              []string
	}{
		{"empty", "", "line", nil},
		{"white space", " \r\n\n\t", "line", nil},
		{"byte order mark alone", "\xef\xbb\xbf", "line", nil},
		{"empty array", "[]", "record", nil},
		{"array", `[{"a":1}, {"b":[2]} ,3,"x" ]`, "record", []string{`1 {"a":1}`, `2 {"b":[2]}`, "3 3", `4 "x"`}},
		{"array on many lines", "\n[\n  {\"a\": 1},\r\n  {}\n]\n", "record", []string{`1 {"a": 1}`, "2 {}"}},
		{"array keeps bytes", `[{"a" : "\u00e9<&>é", "n":1.50}]`, "record", []string{`1 {"a" : "\u00e9<&>é", "n":1.50}`}},
		{"lines", "{\"a\":1}\n{\"b\":2}\n", "line", []string{`1 {"a":1}`, `2 {"b":2}`}},
		{"no last line feed", "{\"a\":1}\n{\"b\":2}", "line", []string{`1 {"a":1}`, `2 {"b":2}`}},
		{"CRLF", "{\"a\":1}\r\n{\"b\":2}\r\n", "line", []string{`1 {"a":1}`, `2 {"b":2}`}},
		{"empty lines count", "\n{\"a\":1}\n\n \n{\"b\":2}\n\n", "line", []string{`2 {"a":1}`, `5 {"b":2}`}},
		{"byte order mark, lines", "\xef\xbb\xbf{\"a\":1}\n", "line", []string{`1 {"a":1}`}},
		{"byte order mark, array", "\xef\xbb\xbf[1]", "record", []string{"1 1"}},
		{"scalars", "1\n\"x\"\nnull\ntrue", "line", []string{"1 1", `2 "x"`, "3 null", "4 true"}},
		{"an invalid line", "{}\noops\n{}\n", "line", []string{"1 {}", "2 !" + invalid, "3 {}"}},
		{"the first line is invalid", "oops\n{}\n", "line", []string{"1 !" + invalid, "2 {}"}},
		{"two values in a line", "{} {}\n1\n", "line", []string{"1 {}", "1 {}", "2 1"}},
		{"values without a blank between them", "{\"a\":1}[2]{}", "line", []string{`1 {"a":1}`, "1 [2]", "1 {}"}},
		{"values of which the second is broken", "{} {]\n1\n", "line",
			[]string{"1 !invalid JSON at column 4, unexpected '{' after the value", "2 1"}},
		{"numbers in a line", "1 2\n", "line", []string{"1 !invalid JSON at column 3, unexpected '2' after the value"}},
		{"a line that is no UTF-8", "{}\n{\"a\":\"\xff\"}\n[]", "line", []string{"1 {}", "2 !invalid JSON, the byte 0xff at column 7 is not UTF-8", "3 []"}},
		{"an element that is no UTF-8", "[{},\"\xed\xa0\x80\",1]", "record", []string{"1 {}", "2 !invalid JSON, the byte 0xed at column 2 is not UTF-8", "3 1"}},
		{"a cut line", "{}\n{\"a\":", "line", []string{"1 {}", "2 !invalid JSON at column 5, the JSON is incomplete"}},
		{"byte order marks of files put together", "\xef\xbb\xbf1\n\xef\xbb\xbf2\n", "line", []string{"1 1", "2 2"}},
		{"a cut first line", "{\"a\":\n{}\n", "line", []string{"1 !invalid JSON at column 5, the JSON is incomplete", "2 {}"}},
		{"objects that span lines", "{\n  \"a\": 1\n}\n{\n  \"a\": [\n 2\n]\n}\n", "record",
			[]string{"1 {\n  \"a\": 1\n}", "2 {\n  \"a\": [\n 2\n]\n}"}},
		{"one object that spans lines", "{\"a\":\n\t1}", "record", []string{"1 {\"a\":\n\t1}"}},
		{"an object of two lines, no indent", "{\r\n\"a\":1}", "record", []string{"1 {\r\n\"a\":1}"}},
		{"an array in a later line", "1\n[2]\n", "line", []string{"1 1", "2 [2]"}},
		{"a long line", "1\n\"" + strings.Repeat("x", 99) + "\"\n3\n", "line", []string{"1 1", "2 !the record is larger than 100 B", "3 3"}},
		{"a line of the limit", `"` + strings.Repeat("x", 98) + "\"\n", "line", []string{`1 "` + strings.Repeat("x", 98) + `"`}},
	} {
		for _, form := range []struct{ name, input string }{{"plain", test.input}, {"gzip", gzipped(t, test.input)}} {
			t.Run(test.name+"/"+form.name, func(t *testing.T) {
				unit, got, err := readAll(iotest.OneByteReader(strings.NewReader(form.input)), 100)
				if err != nil {
					t.Fatal(err)
				}
				if unit != test.unit || !slices.Equal(got, test.want) {
					t.Errorf("got %ss %q, want %ss %q", unit, got, test.unit, test.want)
				}
			})
		}
	}
}

func TestReadRecordsStops(t *testing.T) {
	packed := gzipped(t, `[{"a":1},{"a":2}]`)
	flip := func(text string, fromEnd int) []byte {
		flipped := []byte(text)
		flipped[len(flipped)-fromEnd] ^= 1 // in the checksum
		return flipped
	}
	flipped := flip(packed, 6)
	for _, test := range []struct {
		name, input string
		records     int
		wantErr     string
	}{
		{"binary", "\x89PNG\r\n\x1a\n\x00\x00", 0, "the input is binary (byte 0x1a at offset 6)"},
		{"no UTF-8", "\xe9t\xe9", 0, "the input is not UTF-8 (it starts with byte 0xe9)"},
		{"UTF-16", "\xff\xfe[\x00]\x00", 0, "UTF-16, expected UTF-8"},
		{"cut array", `[{"a":1},{"a":`, 1, "record 2, from byte 10, the input ends too early"},
		{"array cut after a record", `[{"a":1}`, 1, "record 2, from byte 9, the input ends too early"},
		{"array cut after a comma", `[{"a":1}, `, 1, "the input ends too early"},
		{"array cut at once", `[`, 0, "record 1, from byte 2, the input ends too early"},
		{"invalid element", `[{"a":1}, {"a":x}]`, 1, "record 2: invalid JSON at byte 16, unexpected 'x', expected a value"},
		{"invalid element after a mark", "\xef\xbb\xbf[1,x]", 1, "record 2: invalid JSON at byte 7, unexpected 'x', expected a value"},
		{"no comma", `[{"a":1} {"a":2}]`, 1, "record 2: invalid JSON at byte 10, expected comma after array element"},
		{"two commas", `[1,,2]`, 1, "record 2: invalid JSON at byte"},
		{"comma at the end", `[1,2,]`, 2, "record 3: invalid JSON at byte"},
		{"wrong bracket", `[1}`, 1, "record 2: invalid JSON at byte"},
		{"more after the array", `[1] [2]`, 1, "the array ends with record 1 at byte 3, but more follows"},
		{"garbage after the array", `[1] x`, 1, "the array ends with record 1 at byte 3, but more follows"},
		{"long element", `[1,"` + strings.Repeat("x", 3000) + `"]`, 1, "record 2, from byte 4, the record is larger than 1.0 kB"},
		{"gzip header cut", packed[:5], 0, "gzip: the input ends too early"},
		{"gzip cut", packed[:len(packed)-10], 2, "gzip: the input ends too early"},
		{"gzip damaged", string(flipped), 2, "the gzip data is damaged, its checksum is wrong"},
		{"gzip and garbage", packed + strings.Repeat("garbage", 9), 2, "gzip data is followed by something else"},
		{"gzip and little garbage", packed + "x", 2, "gzip data is followed by something else"},
		{"gzip, zeros and garbage", packed + "\x00\x00x", 2, "gzip data is followed by something else"},
		{"gzip and half a member", packed + packed[:3], 2, "gzip: the input ends too early"},
		{"gzip of one line, damaged", string(flip(gzipped(t, "1\n"), 6)), 1, "after line 1: the gzip data is damaged"},
		{"gzip of one line without its end, damaged", string(flip(gzipped(t, "1"), 6)), 0, "line 1: the gzip data is damaged"},
		{"gzip with a damaged header", "\x1f\x8b\x07" + packed[3:], 0, "the gzip data is damaged, its header is invalid"},
		{"UTF-32", "\xff\xfe\x00\x00[\x00\x00\x00", 0, "UTF-32, expected UTF-8"},
		{"UTF-32, big-endian", "\x00\x00\xfe\xff\x00\x00\x00[", 0, "UTF-32, expected UTF-8"},
		{"UTF-16, big-endian", "\xfe\xff\x00[", 0, "UTF-16, expected UTF-8"},
		{"pretty, cut", "{\n  \"a\": 1\n}\n{\n  \"a\":", 1, "record 2, from byte 14, the input ends too early"},
		{"pretty, invalid", "{\n  \"a\": 1\n}\n{\n  \"a\": x\n}", 1, "record 2: invalid JSON at byte 23, unexpected 'x', expected a value"},
		{"pretty, with commas", "{\n  \"a\": 1\n},\n{\n  \"a\": 2\n}", 1, "record 2: invalid JSON at byte"},
		{"pretty, with a bracket", "{\n  \"a\": 1\n}\n]", 1, "record 2"},
		{"gzip of lines cut", gzipped(t, "1\n2\n"+randomText(3000))[:1500], 2, "line 3: gzip: the input ends too early"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, got, err := readAll(strings.NewReader(test.input), 1000)
			checkError(t, err, test.wantErr)
			if len(got) != test.records {
				t.Errorf("%d records before the error, want %d: %q", len(got), test.records, got)
			}
		})
	}
}

// Zeros behind packed data are padding, and members follow each other.
func TestGzipOfMembersAndPadding(t *testing.T) {
	for name, input := range map[string]string{
		"padded":          gzipped(t, "1\n2\n") + strings.Repeat("\x00", 5000),
		"members":         gzipped(t, "1\n") + gzipped(t, "") + gzipped(t, "2\n"),
		"padded members":  gzipped(t, "1\n") + gzipped(t, "2\n") + "\x00",
		"a line in parts": gzipped(t, "1") + gzipped(t, "\n2"),
	} {
		_, got, err := readAll(iotest.OneByteReader(strings.NewReader(input)), 100)
		if err != nil || !slices.Equal(got, []string{"1 1", "2 2"}) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func randomText(n int) string { return randomTextFrom(1, n) }

// randomTextFrom is text that no compression makes much smaller.
func randomTextFrom(seed uint64, n int) string {
	random := rand.New(rand.NewPCG(seed, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + random.IntN(26))
	}
	return string(b)
}

func TestReadRecordsReportsReadErrors(t *testing.T) {
	broken := errors.New("the cable is cut")
	for _, input := range []string{"", "[1,", "[1]", "1\n2"} {
		_, _, err := readAll(io.MultiReader(strings.NewReader(input), iotest.ErrReader(broken)), 1000)
		if !errors.Is(err, broken) {
			t.Errorf("after %q: error %v, want %v", input, err, broken)
		}
	}
}

// TestEveryCutIsNoticed cuts a packed array at each byte: each record that was read is
// whole, and the cut is an error.
func TestEveryCutIsNoticed(t *testing.T) {
	packed := gzipped(t, `[{"a":1},{"a":2},{"a":3}]`)
	for n := 2; n < len(packed); n++ {
		_, got, err := readAll(strings.NewReader(packed[:n]), 1000)
		if err == nil {
			t.Errorf("cut at byte %d of %d: no error", n, len(packed))
		}
		for i, rec := range got {
			if want := fmt.Sprintf(`%d {"a":%[1]d}`, i+1); rec != want {
				t.Errorf("cut at byte %d: record %q, want %q", n, rec, want)
			}
		}
	}
}

// TestFormatsAgree writes random values as an array and as lines, and reads the same.
func TestFormatsAgree(t *testing.T) {
	random := testrand.New(t)
	var want, values []string
	for i := range 500 {
		value, err := json.Marshal(map[string]any{"n": random.Int(), "s": randomString(random), "l": []any{nil, true, random.Float64()}})
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, string(value))
		want = append(want, fmt.Sprintf("%d %s", i+1, value))
	}
	for name, input := range map[string]string{
		"array": "[" + strings.Join(values, ",\n ") + "]",
		"lines": strings.Join(values, "\n"),
	} {
		for _, content := range []string{input, gzipped(t, input)} {
			_, got, err := readAll(strings.NewReader(content), maxRecord)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %d records, %v, want %d as written", name, len(got), err, len(want))
			}
		}
	}
}

func randomString(random *rand.Rand) string {
	alphabet := []rune("ab\"\\[]{},:\n\t é漢🙂\u2028")
	b := make([]rune, random.IntN(20))
	for i := range b {
		b[i] = alphabet[random.IntN(len(alphabet))]
	}
	return string(b)
}

// FuzzReadRecords shows that no input makes the reader panic or hang, that all that it
// returns is JSON, and that a valid array is read element by element.
func FuzzReadRecords(f *testing.F) {
	for _, input := range []string{
		"", "[", "[]", `[1,{"a":[2]}]`, "1\n2\n", "\xef\xbb\xbf[1]", "\x1f\x8b", "{}\r\n\r\n[]", `["x"`, "[1]x",
	} {
		f.Add([]byte(input))
	}
	f.Add([]byte(gzipped(f, `[1,2]`)))
	f.Fuzz(func(t *testing.T, input []byte) {
		const limit = 1 << 10
		records, err := readRecords(bytes.NewReader(input), limit, format{})
		if err != nil {
			return
		}
		var got []json.RawMessage
		for {
			rec, err := records.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return
			}
			if rec.refused == nil && !json.Valid(rec.data) {
				t.Fatalf("%s %d is no JSON: %q", records.unit, rec.number, rec.data)
			}
			got = append(got, rec.data)
		}
		var want []json.RawMessage
		if records.unit == "record" && json.Unmarshal(input, &want) == nil {
			if !slices.EqualFunc(got, want, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
				t.Errorf("read %q, want %q", got, want)
			}
		}
	})
}

// TestRecordsComeAtOnce feeds each record only when the one before is read: a reader that
// waits for more than a record has none, and the bubble fails as deadlocked.
func TestRecordsComeAtOnce(t *testing.T) {
	packed := func(parts ...string) []string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		var all []string
		for _, part := range parts {
			if _, err := io.WriteString(w, part); err != nil {
				t.Fatal(err)
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			all = append(all, b.String())
			b.Reset()
		}
		return all
	}
	for name, parts := range map[string][]string{
		"lines":          {"1\n", "2\n", "3\n"},
		"marked lines":   {"\xef\xbb\xbf1\n", "2\n", "3\n"},
		"objects":        {"{}\n", "{}\n", "{}\n"},
		"array":          {"[{}", ", {}", ",{}"},
		"packed lines":   packed("1\n", "2\n", "3\n"),
		"packed array":   packed("[[1]", ",[2]", ",[3]"),
		"a refused line": {"1\n", "oops\n", "3\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pipe, feed := io.Pipe()
				read := make(chan bool)
				go func() {
					for _, part := range parts {
						if _, err := io.WriteString(feed, part); err != nil {
							t.Error(err)
						}
						<-read
					}
				}()
				records, err := readRecords(pipe, 1000, format{})
				if err != nil {
					t.Fatal(err)
				}
				for range parts {
					if _, err := records.next(); err != nil {
						t.Fatal(err)
					}
					read <- true
				}
			})
		})
	}
}
