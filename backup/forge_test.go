package backup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/internal/codec"
	"github.com/oolith-db/oolith/meta"
)

// forged returns a file whose checksums are right and whose content is what a test makes of it.
func forged(t *testing.T, info Info, fill func(w *writer) error) []byte {
	t.Helper()
	var file bytes.Buffer
	info.Taken = time.Unix(0, 1)
	w, err := newWriter(&file, info)
	if err == nil {
		err = fill(w)
	}
	if err == nil {
		_, err = w.finish(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func object(path, data string) *meta.Object {
	return &meta.Object{Path: path, Data: []byte(data), Revision: 1}
}

// TestForgedFiles shows that right checksums alone make no backup.
func TestForgedFiles(t *testing.T) {
	add := func(objects ...*meta.Object) func(w *writer) error {
		return func(w *writer) error {
			for _, obj := range objects {
				if err := w.add(t.Context(), obj); err != nil {
					return err
				}
			}
			return nil
		}
	}
	raw := func(records string) func(w *writer) error {
		return func(w *writer) error { w.records = []byte(records); return nil }
	}
	other := codec.Append(nil, "a/2", object("a/2", "1"))
	for _, test := range []struct {
		name string
		fill func(w *writer) error
		info Info
		text string // of the error; empty for a file that is good
	}{
		{"one that is good", add(object("b", "1"), object("a/1", "1"), object("a/2", "1")), Info{}, ""},
		{"one path twice", add(object("a/1", "1"), object("a/1", "1")), Info{}, `key "a/1" is out of order`},
		{"paths that descend", add(object("a/2", "1"), object("a/1", "1")), Info{}, "out of order"},
		{"directories that descend", add(object("b/1", "1"), object("a/2", "1")), Info{}, "out of order"},
		{"paths as plain bytes", add(object("a/b", "1"), object("a/b/c", "1"), object("a/c", "1")), Info{}, "out of order"},
		{"data that is no JSON", add(object("a/1", "{")), Info{}, `key "a/1" has invalid JSON`},
		{"no data", add(object("a/1", "")), Info{}, "invalid JSON"},
		{"a path that is none", add(object("a//1", "1")), Info{}, "invalid path"},
		{"a path with a star", add(object("a/*", "1")), Info{}, "invalid path"},
		{"an empty path", add(object("", "1")), Info{}, "invalid path"},
		{"a pattern that is none", add(), Info{Pattern: "a//*"}, "its pattern is invalid"},
		{"an envelope of another path", raw(string(appendRecord(nil, "a/1", other))), Info{}, "does not match its checksum"},
		{"a record that is cut off", raw(string(appendRecord(nil, "a/2", other)[:20])), Info{}, "a record is incomplete"},
		{"a length beyond all", raw(strings.Repeat("\xff", 9) + "\x01"), Info{}, "a record is incomplete"},
		{"a length that is none", raw(strings.Repeat("\xff", 11)), Info{}, "a record is incomplete"},
		{"more objects than are there", func(w *writer) error { w.info.Objects++; return nil }, Info{}, "0 objects with 0 bytes, expected 1 with 0"},
		{"more data than is there", func(w *writer) error { w.info.DataBytes++; return nil }, Info{}, "expected 0 with 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := forged(t, test.info, test.fill)
			_, err := Verify(t.Context(), bytes.NewReader(file), VerifyOptions{})
			if test.text == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%v, want %v with %q", err, ErrDamaged, test.text)
			}
		})
	}
}

// TestForgedBlocks has blocks that lie about their lengths.
func TestForgedBlocks(t *testing.T) {
	records := appendRecord(nil, "a/1", codec.Append(nil, "a/1", object("a/1", "1")))
	for _, test := range []struct {
		name string
		make func(packed []byte) []byte
		want error
		text string
	}{
		{"good", func(p []byte) []byte { return block(len(p), len(records), p) }, nil, ""},
		{"longer unpacked than it says", func(p []byte) []byte { return block(len(p), len(records)-1, p) }, ErrDamaged, "decompressed bytes, expected"},
		{"shorter unpacked than it says", func(p []byte) []byte { return block(len(p), len(records)+1, p) }, ErrDamaged, "expected"},
		{"more unpacked than is allowed", func(p []byte) []byte { return block(len(p), maxBlock+1, p) }, ErrDamaged, "decompressed bytes, at most"},
		{"more than is allowed", func(p []byte) []byte { return block(maxPacked+1, 1, p) }, ErrDamaged, "at most"},
		{"much more than is there", func(p []byte) []byte { return block(maxPacked, 1, p) }, ErrTruncated, ""},
		{"no Zstandard", func(p []byte) []byte { return block(len(p), len(records), bytes.Repeat([]byte{7}, len(p))) }, ErrDamaged, "cannot be decompressed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := forged(t, Info{}, func(w *writer) error {
				packed := w.packer.EncodeAll(records, nil)
				w.info.Objects, w.info.DataBytes = 1, 1
				return w.write(test.make(packed))
			})
			_, err := Verify(t.Context(), bytes.NewReader(file), VerifyOptions{})
			if !errors.Is(err, test.want) || err != nil && !strings.Contains(err.Error(), test.text) {
				t.Errorf("%v, want %v with %q", err, test.want, test.text)
			}
		})
	}
}

// block makes a block with lengths as given.
func block(n, m int, packed []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(n))
	b = binary.LittleEndian.AppendUint32(b, uint32(m))
	return appendSum(append(b, packed...))
}

func TestObjectThatIsTooLong(t *testing.T) {
	w, err := newWriter(new(bytes.Buffer), Info{})
	if err != nil {
		t.Fatal(err)
	}
	w.longest = 5
	if err := w.add(t.Context(), object("a/0", "12345")); err != nil {
		t.Errorf("an object as long as allowed: %v", err)
	}
	if err := w.add(t.Context(), object("a/1", "123456")); !errors.Is(err, errTooLong) || !strings.Contains(err.Error(), `"a/1"`) {
		t.Errorf("%v, want %v with the path", err, errTooLong)
	}
}
