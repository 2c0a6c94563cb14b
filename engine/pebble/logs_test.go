package pebble

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/storage"
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

// Whatever bit of a log is flipped that a killed process left, a start tells of it or has all that stands before it, each write whole.
func TestFlippedBitInTheLog(t *testing.T) {
	rng := testrand.New(t)
	dir := t.TempDir()
	l := start(t, dir, Options{})
	paths := enginetest.Numbered("d", 600)
	enginetest.Set(t, l, paths...)
	told := 0
	for range 20 {
		killed := enginetest.Copy(t, dir)
		enginetest.Edit(t, logOf(t, killed), func(content []byte) []byte {
			content[rng.IntN(len(content))] ^= 1 << rng.IntN(8)
			return content
		})
		l := New(killed, Options{})
		if err := l.Start(storage.LayerOptions{}); err != nil {
			mustRefuse(t, l, "corrupt", "backup")
			told++
			continue
		}
		if got := enginetest.Keys(t, l); !slices.Equal(got, paths[:len(got)]) {
			t.Errorf("%d objects are there, which are not those written first", len(got))
		}
		l.Close()
	}
	if told == 0 {
		t.Error("no damage was told")
	}
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
			if head, err := beginningOf(vfs.Default, filepath.Join(dir, name)); err != nil || !endsLog(head, uint32(number)) {
				t.Errorf("after Close the log begins with %x, %v", head, err)
			}
		}
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
