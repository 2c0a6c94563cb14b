package ko

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/storage"
)

func TestNote(t *testing.T) {
	for _, want := range []note{
		{}, {revision: 42}, {revision: math.MaxUint64, fingerprint: "0f343b0931126a20f133d67c2b018a3b"},
	} {
		if got, err := parseNote(string(want.encode())); err != nil || got != want {
			t.Errorf("%s is read as %+v, %v, expected %+v", want.encode(), got, err, want)
		}
	}
	good := string(note{revision: 42, fingerprint: "0f"}.encode())
	for _, c := range []struct{ name, content, text string }{
		{"empty", "", "damaged"},
		{"cut short", good[:len(good)-3], "damaged"},
		{"another digit", strings.Replace(good, "42", "43", 1), "damaged"},
		{"more behind it", good + "more\n", "damaged"},
		{"of something else", "oolith-pebble 1\n", "damaged"},
		{"a newer version", "oolith-ko 2\nanything\n", "use a newer build"},
		{"a broken version", "oolith-ko 0\n", "damaged"},
	} {
		if n, err := parseNote(c.content); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: read as %+v, %v, expected %q", c.name, n, err, c.text)
		}
	}
}

// commitAt commits a put of a path.
func commitAt(t testing.TB, l *Layer, path string, revision uint64) {
	t.Helper()
	obj := enginetest.Object(path, 1, "1")
	obj.Revision = revision
	if err := l.Commit([]storage.Change{{Key: path, Object: obj, Revision: revision}}); err != nil {
		t.Fatal(err)
	}
}

func wantLast(t testing.TB, l *Layer, when string, want uint64) {
	t.Helper()
	if got, err := l.LastRevision(); err != nil || got != want {
		t.Errorf("the last revision %s is %d, %v, expected %d", when, got, err, want)
	}
}

// Whatever crashes, no revision comes again, although its object was deleted.
func TestRevisionsAreNeverUsedTwice(t *testing.T) {
	rng := testrand.New(t)
	disk := newMemDisk()
	highest, crashes := uint64(0), uint64(0)
	for range 100 {
		l := disk.layer(t, Options{})
		if err := l.Start(storage.LayerOptions{}); err != nil {
			t.Fatal(err)
		}
		last, err := l.LastRevision()
		if err != nil || last < highest || last > highest+crashes*revisionBlock {
			t.Fatalf("the last revision is %d, %v, expected at least %d, and at most %d blocks more", last, err, highest, crashes)
		}
		for range rng.IntN(5) {
			highest = max(highest, last) + 1 + rng.Uint64N(revisionBlock)
			commitAt(t, l, "a", highest)
			if err := l.Commit([]storage.Change{{Key: "a", Revision: highest}}); err != nil {
				t.Fatal(err)
			}
		}
		if rng.IntN(2) == 0 {
			l.Close()
			highest, crashes = max(highest, last), 0
			continue
		}
		crashed := disk.crashed(rng)
		l.Close()
		disk = crashed
		crashes++
	}
}

// Revisions in entries that other software wrote meanwhile count, after a close in order and
// after a crash.
func TestRevisionsOfOtherSoftware(t *testing.T) {
	dir := t.TempDir()
	write := func(path string, revision uint64) {
		o := openOlder(t, dir)
		defer o.close()
		value, err := json.Marshal(map[string]any{"created": 1, "index": "1", "path": path, "data": 1, "revision": revision})
		if err != nil {
			t.Fatal(err)
		}
		o.putRaw(path, string(value))
	}
	write("a", 5)
	l := start(t, dir, Options{})
	wantLast(t, l, "of entries", 5)
	commitAt(t, l, "b", 6)
	l.Close()
	write("c", 100)
	l = start(t, dir, Options{})
	wantLast(t, l, "written meanwhile", 100)
	if err := l.Del("c"); err != nil {
		t.Fatal(err)
	}
	l.Close()
	l = start(t, dir, Options{})
	wantLast(t, l, "of a deleted object", 100)
}

// One write of the note serves many revisions.
func TestNoteIsWrittenInBlocks(t *testing.T) {
	disk := newMemDisk()
	notes := 0
	disk.refuse = func(op operation) error {
		if op.kind == "note" {
			notes++
		}
		return nil
	}
	l := enginetest.Start(t, disk.layer(t, Options{}))
	if notes != 0 {
		t.Errorf("a start writes %d notes", notes)
	}
	for i := range uint64(1000) {
		commitAt(t, l, "a", i+1)
	}
	if notes != 1 {
		t.Errorf("1000 commits wrote %d notes, expected 1", notes)
	}
	commitAt(t, l, "a", revisionBlock+2)
	if notes != 2 {
		t.Errorf("a commit beyond the block wrote %d notes in all, expected 2", notes)
	}
	l.Close()
	if notes != 3 {
		t.Errorf("with Close there were %d notes, expected 3", notes)
	}
}

// The database is read through at a start unless nobody else has touched it.
func TestSurveyOnlyWhenOthersTouchedIt(t *testing.T) {
	dir := t.TempDir()
	makeOlder(t, dir, func(o *older) {
		for i := range 30000 {
			path := fmt.Sprintf("d/%06d", i)
			o.put(path, olderEntry{1, 0, path[2:], path, json.RawMessage(`"` + string(enginetest.BenchData[9:15]) + `"`)})
		}
	})
	// surveyed tells whether a start reads tables.
	surveyed := func() bool {
		t.Helper()
		l := New(dir, Options{})
		var counting *countingDisk
		l.openDisk = func(dir string) (disk, error) {
			d, err := openFileDisk(dir)
			counting = &countingDisk{disk: d}
			return counting, err
		}
		if err := l.Start(storage.LayerOptions{}); err != nil {
			t.Fatal(err)
		}
		tables := counting.tables
		l.Close()
		return tables > 0
	}
	for _, c := range []struct {
		name   string
		before func()
		want   bool
	}{
		{"a database of the older software", func() {}, true},
		{"after a close in order", func() {}, false},
		{"after a write and a close in order", func() {
			l := start(t, dir, Options{})
			enginetest.Set(t, l, "x")
			l.Close()
		}, false},
		{"after the older software has only opened it", func() { makeOlder(t, dir, func(*older) {}) }, true},
		{"and once more", func() {}, false},
		{"after the older software has written", func() {
			makeOlder(t, dir, func(o *older) { o.putRaw("y", `{"data":1}`) })
		}, true},
		{"without the note", func() {
			if err := os.Remove(dir + "/" + revisionFile); err != nil {
				t.Fatal(err)
			}
		}, true},
	} {
		c.before()
		if got := surveyed(); got != c.want {
			t.Errorf("%s: the database is read through: %v, expected %v", c.name, got, c.want)
		}
	}
}
