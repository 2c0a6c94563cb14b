package levelfiles_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/engine/internal/levelfiles"
)

func TestDamage(t *testing.T) {
	var sound []byte
	add := func(kind byte, payload string) int {
		at := len(sound)
		sound = enginetest.AppendChunk(sound, kind, payload)
		return at
	}
	for range 3 {
		add(enginetest.FullChunk, strings.Repeat("record", 10))
	}
	size := len(sound) / 3
	long := bytes.Clone(sound)
	long = enginetest.AppendChunk(long, enginetest.FirstChunk, strings.Repeat("x", levelfiles.LogBlock-len(long)-levelfiles.MinLogHeader))
	long = enginetest.AppendChunk(long, enginetest.MiddleChunk, strings.Repeat("y", levelfiles.LogBlock-levelfiles.MinLogHeader))
	long = enginetest.AppendChunk(long, enginetest.LastChunk, "z")
	longer := enginetest.AppendChunk(bytes.Clone(long), enginetest.FullChunk, "record")
	edit := func(content []byte, at int, b byte) []byte {
		content = bytes.Clone(content)
		content[at] ^= b
		return content
	}
	for _, c := range []struct {
		name    string
		content []byte
		want    int
	}{
		{"nothing", nil, -1},
		{"sound", sound, -1},
		{"cut short", sound[:len(sound)-5], -1},
		{"cut in a header", sound[:2*size+3], -1},
		{"zeros at the end", append(bytes.Clone(sound), make([]byte, 100)...), -1},
		{"blocks of zeros at the end", append(bytes.Clone(sound), make([]byte, 3*levelfiles.LogBlock)...), -1},
		{"the first record", edit(sound, 20, 1), 0},
		{"the second record", edit(sound, size+20, 1), size},
		{"the length of the second record", edit(sound, size+5, 1), size},
		{"the type of the second record", edit(sound, size+6, 8), size},
		{"the last record, as a crash may leave it", edit(sound, 2*size+20, 1), -1},
		{"a long record", long, -1},
		{"a long record with a hole, as a crash may leave it", edit(long, 3*size+100, 1), -1},
		{"a long record cut short", long[:levelfiles.LogBlock+100], -1},
		{"a long record without its end", long[:2*levelfiles.LogBlock], -1},
		{"a long record and another", longer, -1},
		{"a long record with a hole, and another", edit(longer, 3*size+100, 1), 3 * size},
		{"a long record with a hole in the next block, and another", edit(longer, levelfiles.LogBlock+100, 1), levelfiles.LogBlock},
		{"a record within another", enginetest.AppendChunk(bytes.Clone(long[:2*levelfiles.LogBlock]), enginetest.FullChunk, "record"), 2 * levelfiles.LogBlock},
		{"the end of a record without a beginning", enginetest.AppendChunk(enginetest.AppendChunk(bytes.Clone(sound), enginetest.LastChunk, "x"), enginetest.FullChunk, "record"), 3 * size},
	} {
		if got := levelfiles.Damage(c.content); got != c.want {
			t.Errorf("%s: damage at %d, expected %d", c.name, got, c.want)
		}
	}
}
