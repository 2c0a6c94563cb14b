package pebble

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/engine/internal/levelfiles"
)

// logOf returns the newest log of a directory.
func logOf(t *testing.T, dir string) (file string) {
	t.Helper()
	name, _, err := newestLog(vfs.Default, dir)
	if err != nil || name == "" {
		t.Fatalf("the newest log is %q, %v", name, err)
	}
	return filepath.Join(dir, name)
}

// sizeOf returns the size of a file.
func sizeOf(t *testing.T, file string) int {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Size())
}

// mustTellDamage checks that a start tells of damage in the newest log, and leaves all files as they are.
func mustTellDamage(t *testing.T, dir string) {
	t.Helper()
	before := enginetest.Digest(t, dir)
	mustRefuse(t, New(dir, Options{}), "corrupt", "backup", logOf(t, dir), "at byte ")
	if after := enginetest.Digest(t, dir); after != before {
		t.Errorf("the files were\n%s and are\n%s", before, after)
	}
}

// A bit of any record that was synced before another was written is flipped, in the last block of the log too,
// which a killed process leaves.
func TestFlippedBitInTheLog(t *testing.T) {
	rng := enginetest.Seeded(t)
	for _, size := range []int{100, 300} {
		dir := t.TempDir()
		l := start(t, dir, Options{})
		value := `"` + strings.Repeat("v", size-2) + `"`
		last := 0
		for i := range 600 {
			last = sizeOf(t, logOf(t, dir)) // where the last record begins
			path := fmt.Sprintf("d/%d", i)
			if err := l.Set(path, enginetest.Object(path, 1, value)); err != nil {
				t.Fatal(err)
			}
		}
		for range 20 {
			killed := enginetest.Copy(t, dir)
			at := last - 1 - rng.IntN(min(last, levelfiles.LogBlock))
			enginetest.Edit(t, logOf(t, killed), func(content []byte) []byte {
				content[at] ^= 1 << rng.IntN(8)
				return content
			})
			if mustTellDamage(t, killed); t.Failed() {
				t.Fatalf("values of %d bytes, byte %d of a log whose last record begins at %d", size, at, last)
			}
		}
	}
}

// Batches that are longer than a block, as an import makes them: Pebble counts little of them as synced.
func TestHoleInALogOfBatches(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, Options{})
	paths := enginetest.Numbered("import", 3000)
	for at := 0; at < len(paths); at += 500 {
		enginetest.SetAll(t, l, paths[at:at+500]...)
	}
	killed := enginetest.Copy(t, dir)
	enginetest.Edit(t, logOf(t, killed), func(content []byte) []byte {
		clear(content[len(content)/2 : len(content)/2+8])
		return content
	})
	mustTellDamage(t, killed)
}

// What a crash can leave opens, with all records before it.
func TestTornLog(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, Options{})
	enginetest.Set(t, l, enginetest.Numbered("d", 100)...)
	last := sizeOf(t, logOf(t, dir))
	enginetest.Set(t, l, "z")
	for name, tear := range map[string]func(content []byte) []byte{
		"cut short":         func(content []byte) []byte { return content[:last+9] },
		"zeros":             func(content []byte) []byte { clear(content[last:]); return content },
		"a hole":            func(content []byte) []byte { content[last+30] ^= 1; return content },
		"zeros behind it":   func(content []byte) []byte { return append(content[:last], make([]byte, 100_000)...) },
		"nothing behind it": func(content []byte) []byte { return content[:last] },
	} {
		t.Run(name, func(t *testing.T) {
			torn := enginetest.Copy(t, dir)
			enginetest.Edit(t, logOf(t, torn), tear)
			if n := len(enginetest.Keys(t, start(t, torn, Options{}))); n != 100 {
				t.Errorf("%d objects are there, want the 100 before the end", n)
			}
		})
	}
}

// A store that was closed has no record in its log, whatever was written and in whatever way.
func TestCloseLeavesNoRecords(t *testing.T) {
	for _, durability := range []Durability{DurabilitySync, DurabilityNoSync} {
		dir := t.TempDir()
		for i := range 3 {
			l := start(t, dir, Options{Durability: durability})
			enginetest.Set(t, l, fmt.Sprintf("a/%d", i))
			l.Close()
			name, number, err := newestLog(vfs.Default, dir)
			if err != nil {
				t.Fatal(err)
			}
			r, err := readLog(vfs.Default, filepath.Join(dir, name), number)
			if err != nil || r.records != 0 || !r.ended {
				t.Errorf("after Close the log has %d records, ended %v, %v", r.records, r.ended, err)
			}
		}
	}
}

func TestLogReader(t *testing.T) {
	const number = 7
	record := func(synced uint64) string { // a batch with a mark
		mark := binary.AppendUvarint([]byte{markKind, number}, synced)
		head := append(make([]byte, batchHeader), logDataKind, byte(len(mark)))
		return string(append(head, mark...)) + strings.Repeat("x", 50)
	}
	batch := strings.Repeat("\x00", batchHeader) + strings.Repeat("y", 50)
	add := func(log []byte, synced uint64, payload string) []byte {
		return enginetest.AppendChunkOf(log, number, enginetest.FullChunk, synced, payload)
	}
	two := add(add(nil, 0, batch), 0, batch)
	second := len(two) / 2
	end := []byte{0, 0, 0, 0, 0, 0, 5, number + 1, 0, 0, 0}
	flip := func(log []byte, at int) []byte {
		log = bytes.Clone(log)
		log[at] ^= 1
		return log
	}
	older := enginetest.AppendChunkOf(nil, number-1, enginetest.FullChunk, 1<<20, batch)
	for _, c := range []struct {
		name    string
		log     []byte
		records int
		damaged bool
	}{
		{"nothing", nil, 0, false},
		{"two records", two, 2, false},
		{"an end", append(bytes.Clone(two), end...), 2, false},
		{"an end and an older log", append(append(bytes.Clone(two), end...), older...), 2, false},
		{"an older log behind it", append(bytes.Clone(two), older...), 2, false},
		{"the first of two that share a sync", flip(two, 30), 1, false},
		{"the first of three, the last knows of no sync of it", flip(add(bytes.Clone(two), 0, record(0)), 30), 2, false},
		{"the first of three, the last knows by its mark", flip(add(bytes.Clone(two), 0, record(uint64(second))), 30), 2, true},
		{"the first of three, the last knows by its header", flip(add(bytes.Clone(two), uint64(second), batch), 30), 2, true},
		{"the second of three, the last knows of the first", flip(add(bytes.Clone(two), uint64(second), record(uint64(second))), second+30), 2, false},
		{"a mark of another log", flip(add(bytes.Clone(two), 0, strings.Replace(record(60), "\x01\x07", "\x01\x06", 1)), 30), 2, false},
		{"a mark that is cut short", flip(add(bytes.Clone(two), 0, record(60)[:batchHeader+4]), 30), 2, false},
	} {
		r := &logReader{number: number, broken: -1}
		if err := r.readAll(bytes.NewReader(c.log)); err != nil {
			t.Fatal(err)
		}
		if r.records != c.records || r.damaged() != c.damaged {
			t.Errorf("%s: %d records, damaged %v, want %d and %v", c.name, r.records, r.damaged(), c.records, c.damaged)
		}
	}
}

// A batch says what was synced before it.
func TestMark(t *testing.T) {
	disk := vfs.NewMem()
	l := start(t, "store", Options{FS: disk})
	enginetest.Set(t, l, "a", "b")
	known := opened(l).disk.synced.Load()
	name, number, err := newestLog(disk, "store")
	if err != nil || known == nil || known.number != number {
		t.Fatalf("known of the log %s is %v, %v", name, known, err)
	}
	info, err := disk.Stat("store/" + name)
	if err != nil || info.Size() != known.bytes {
		t.Errorf("the log has %d bytes, %v, and %d are known to be synced", info.Size(), err, known.bytes)
	}
	b := new(pebble.Batch)
	if err := addMark(b, known); err != nil {
		t.Fatal(err)
	}
	if got := markIn(b.Repr(), number); got != uint64(known.bytes) {
		t.Errorf("the mark says %d, want %d", got, known.bytes)
	}
}

// A database has a log from its making on, so that one without any has lost it.
func TestMissingLog(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, Options{})
	enginetest.Set(t, l, "a")
	killed := enginetest.Copy(t, dir)
	logs, err := filepath.Glob(killed + "/*.log")
	if err != nil {
		t.Fatal(err)
	}
	for _, log := range logs {
		if err := os.Remove(log); err != nil {
			t.Fatal(err)
		}
	}
	before := enginetest.Digest(t, killed)
	mustRefuse(t, New(killed, Options{}), "*.log", "backup")
	if after := enginetest.Digest(t, killed); after != before {
		t.Errorf("the files were\n%s and are\n%s", before, after)
	}
}
