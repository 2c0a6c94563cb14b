package codec

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/meta"
)

func object(path string, created, updated int64, revision uint64, data string) meta.Object {
	return meta.Object{
		Created: created, Updated: updated, Revision: revision,
		Path: path, Index: path[strings.LastIndexByte(path, '/')+1:], Data: json.RawMessage(data),
	}
}

// The golden bytes hold the format still: a change of them needs a new version.
func TestGolden(t *testing.T) {
	for _, c := range []struct {
		name string
		obj  meta.Object
		want string
	}{
		{
			"plain", object("users/1", 1700000000000000000, 0, 7, `{"a":1}`),
			"01" + "0fb09fb6" + "00002a36fe9c9717" + "0000000000000000" + "0700000000000000" + "00" + "07" + "7b2261223a317d",
		},
		{
			"expiring", meta.Object{Created: 1, Revision: 2, Expires: 300, Path: "a", Index: "a", Data: json.RawMessage(`1`)},
			"01" + "4660306b" + "0100000000000000" + "0000000000000000" + "0200000000000000" + "d804" + "01" + "31",
		},
		{
			"extremes", object("a", math.MinInt64, -1, math.MaxUint64, `null`),
			"01" + "bdd3defc" + "0000000000000080" + "ffffffffffffffff" + "ffffffffffffffff" + "00" + "04" + "6e756c6c",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Append(nil, c.obj.Path, &c.obj)
			if hex.EncodeToString(got) != c.want {
				t.Errorf("the stored form is\n%x, expected\n%s", got, c.want)
			}
			if len(got) != Size(&c.obj) {
				t.Errorf("Size says %d, Append wrote %d", Size(&c.obj), len(got))
			}
			back, err := Decode(c.obj.Path, got)
			if err != nil || !reflect.DeepEqual(back, c.obj) {
				t.Errorf("decoded %+v, %v, expected %+v", back, err, c.obj)
			}
		})
	}
}

func TestSizeIsExact(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 16383, 16384, 1<<21 - 1, 1 << 21} {
		for _, expires := range []int64{0, 63, 64, -64, -65, math.MaxInt64, math.MinInt64} {
			obj := meta.Object{Data: make([]byte, n), Expires: expires}
			if got := len(Append(nil, "a", &obj)); got != Size(&obj) {
				t.Errorf("data of %d bytes, expires %d: Size says %d, Append wrote %d", n, expires, Size(&obj), got)
			}
		}
	}
}

func TestAppendKeepsWhatIsThere(t *testing.T) {
	obj := object("a/b", 1, 2, 3, `"x"`)
	got := Append([]byte("before"), "a/b", &obj)
	if !bytes.Equal(got, append([]byte("before"), Append(nil, "a/b", &obj)...)) {
		t.Errorf("appended to a prefix the form is %x", got)
	}
}

func TestDecodeCopies(t *testing.T) {
	obj := object("a/b", 1, 2, 3, `"x"`)
	value := Append(nil, "a/b", &obj)
	got, err := Decode("a/b", value)
	if err != nil {
		t.Fatal(err)
	}
	clear(value)
	if string(got.Data) != `"x"` {
		t.Errorf("the data changed with the buffer: %q", got.Data)
	}
	if cap(got.Data) != len(got.Data) {
		t.Errorf("the data has capacity %d, length %d", cap(got.Data), len(got.Data))
	}
}

func TestDecodeRefuses(t *testing.T) {
	obj := object("users/1", 1, 2, 3, `{"a":1}`)
	good := Append(nil, "users/1", &obj)
	edit := func(do func([]byte) []byte) []byte { return do(bytes.Clone(good)) }
	for _, c := range []struct {
		name  string
		path  string
		value []byte
		want  error
	}{
		{"nothing", "users/1", nil, ErrTruncated},
		{"version 0", "users/1", edit(func(b []byte) []byte { b[0] = 0; return b }), ErrVersion},
		{"version 2", "users/1", edit(func(b []byte) []byte { b[0] = 2; return b }), ErrVersion},
		{"a version alone", "users/1", good[:1], ErrTruncated},
		{"a header alone", "users/1", good[:expiresAt], ErrTruncated},
		{"half a length", "users/1", append(bytes.Clone(good[:expiresAt]), 0x80), ErrTruncated},
		{"no length", "users/1", good[:expiresAt+1], ErrTruncated},
		{"no data", "users/1", good[:expiresAt+2], ErrTruncated},
		{"half the data", "users/1", good[:len(good)-3], ErrTruncated},
		{"a byte more", "users/1", append(bytes.Clone(good), 0), ErrTrailing},
		{"a huge time", "users/1", append(bytes.Clone(good[:expiresAt]), bytes.Repeat([]byte{0xff}, 12)...), ErrChecksum},
		{"a huge length", "users/1", append(bytes.Clone(good[:expiresAt+1]), bytes.Repeat([]byte{0xff}, 12)...), ErrChecksum},
		{"a flipped bit in the data", "users/1", edit(func(b []byte) []byte { b[len(b)-2] ^= 1; return b }), ErrChecksum},
		{"a flipped bit in the time", "users/1", edit(func(b []byte) []byte { b[createdAt] ^= 1; return b }), ErrChecksum},
		{"a flipped bit in the checksum", "users/1", edit(func(b []byte) []byte { b[checksumAt] ^= 1; return b }), ErrChecksum},
		{"another key", "users/2", good, ErrChecksum},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Decode(c.path, c.value)
			if !errors.Is(err, c.want) {
				t.Errorf("the error is %v, expected %v", err, c.want)
			}
			if err != nil && !strings.Contains(err.Error(), c.path) {
				t.Errorf("the error %v does not name the key", err)
			}
		})
	}
}

func TestDecodeAllocatesTheDataOnly(t *testing.T) {
	path := "a/path/that/is/longer/than/the/buffers/that/compilers/put/on/the/stack"
	obj := object(path, 1, 2, 3, `{"name":"value"}`)
	value := Append(nil, path, &obj)
	if n := testing.AllocsPerRun(100, func() { _, _ = Decode(path, value) }); n > 1 {
		t.Errorf("decode allocates %v times, expected once", n)
	}
	buffer := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() { buffer = Append(buffer[:0], path, &obj) }); n > 0 {
		t.Errorf("append allocates %v times, expected none", n)
	}
}

func FuzzDecode(f *testing.F) {
	obj := object("users/1", 1, 2, 3, `{"a":1}`)
	f.Add("users/1", Append(nil, "users/1", &obj))
	f.Add("a", []byte{version})
	f.Add("", []byte{})
	f.Fuzz(func(t *testing.T, path string, value []byte) {
		got, err := Decode(path, value)
		if err != nil {
			return
		}
		if again := Append(nil, path, &got); len(again) > len(value) || len(again) != Size(&got) {
			t.Errorf("decoded %x, which encodes to the longer %x", value, again)
		}
	})
}

func FuzzRoundTrip(f *testing.F) {
	f.Add("users/1", int64(1), int64(2), uint64(3), int64(4), []byte(`{}`))
	f.Fuzz(func(t *testing.T, path string, created, updated int64, revision uint64, expires int64, data []byte) {
		obj := object(path, created, updated, revision, string(data))
		obj.Expires = expires
		value := Append(nil, path, &obj)
		if len(value) != Size(&obj) {
			t.Fatalf("Size says %d, Append wrote %d", Size(&obj), len(value))
		}
		got, err := Decode(path, value)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Data, data) {
			t.Fatalf("the data came back as %x, expected %x", got.Data, data)
		}
		got.Data, obj.Data = nil, nil
		if !reflect.DeepEqual(got, obj) {
			t.Fatalf("decoded %+v, expected %+v", got, obj)
		}
	})
}

func benchObject() meta.Object {
	return object("cities/pt/lisbon", 1700000000000000000, 0, 12345,
		`{"name":"Lisbon","country":"PT","population":517802,"latitude":38.71667,"longitude":-9.13333,"timezone":"Europe/Lisbon","elevation":15,"feature":"PPLC"}`)
}

func BenchmarkEncode(b *testing.B) {
	obj := benchObject()
	b.Run("envelope", func(b *testing.B) {
		b.ReportAllocs()
		var buffer []byte
		for b.Loop() {
			buffer = Append(buffer[:0], obj.Path, &obj)
		}
	})
	b.Run("json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(&obj); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	obj := benchObject()
	b.Run("envelope", func(b *testing.B) {
		value := Append(nil, obj.Path, &obj)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Decode(obj.Path, value); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("json", func(b *testing.B) {
		value, err := json.Marshal(&obj)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			var got meta.Object
			if err := json.Unmarshal(value, &got); err != nil {
				b.Fatal(err)
			}
		}
	})
}
