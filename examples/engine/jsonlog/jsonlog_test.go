package jsonlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// What storagetest cannot know: the file, and the disk under it.

// failingFile is a file of which some calls fail.
type failingFile struct {
	file
	fails map[string]int // how many calls of a method are to fail
}

var errDisk = errors.New("the disk failed, on purpose")

func (f *failingFile) err(method string) error {
	if f.fails[method] == 0 {
		return nil
	}
	f.fails[method]--
	return errDisk
}

// WriteAt writes the first half when it fails.
func (f *failingFile) WriteAt(b []byte, at int64) (int, error) {
	if err := f.err("write"); err != nil {
		n, also := f.file.WriteAt(b[:len(b)/2], at)
		return n, errors.Join(err, also)
	}
	return f.file.WriteAt(b, at)
}

func (f *failingFile) Sync() error { return errors.Join(f.err("sync"), f.file.Sync()) }

func (f *failingFile) Truncate(size int64) error {
	if err := f.err("truncate"); err != nil {
		return err
	}
	return f.file.Truncate(size)
}

// started returns a layer on a directory, until the test ends.
func started(t *testing.T, dir string) *Layer {
	t.Helper()
	l := New(dir)
	if err := l.Start(storage.LayerOptions{}); err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(l.Close)
	return l
}

func set(l *Layer, path, data string) error {
	return l.Set(path, &meta.Object{Created: 1, Data: []byte(data)})
}

func mustSet(t *testing.T, l *Layer, path, data string) {
	t.Helper()
	if err := set(l, path, data); err != nil {
		t.Fatalf("Set %s: %v", path, err)
	}
}

func wantKeys(t *testing.T, l *Layer, want ...string) {
	t.Helper()
	if keys, err := l.Keys(); err != nil || !slices.Equal(keys, want) {
		t.Errorf("Keys is %v, %v, want %v", keys, err, want)
	}
}

func TestDiskFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		fails map[string]int
		stops bool
	}{
		{"half of a line is written", map[string]int{"write": 1}, false},
		{"the sync fails", map[string]int{"sync": 1}, false},
		{"the line cannot be taken back", map[string]int{"write": 1, "truncate": 1}, true},
		{"that it is taken back cannot be synced", map[string]int{"sync": 2}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			l := started(t, dir)
			mustSet(t, l, "a/1", "1")
			l.file = &failingFile{file: l.file, fails: c.fails}
			if err := set(l, "a/2", "2"); !errors.Is(err, errDisk) {
				t.Errorf("Set on a disk that fails: %v, want its error", err)
			}
			wantKeys(t, l, "a/1")
			want := []string{"a/1", "a/3"}
			if err := set(l, "a/3", "3"); c.stops {
				want = want[:1]
				if !errors.Is(err, errDisk) || !strings.Contains(err.Error(), "takes no more writes") {
					t.Errorf("Set after that: %v, want that the layer takes no more writes", err)
				}
			} else if err != nil {
				t.Errorf("Set after that: %v, want none: the disk is well again", err)
			}
			wantKeys(t, l, want...)
			l.Close()
			again := started(t, dir)
			if _, err := again.Get("a/1"); err != nil {
				t.Errorf("Get of what was acknowledged, after a restart: %v", err)
			}
			mustSet(t, again, "a/4", "4")
			if !c.stops {
				wantKeys(t, again, "a/1", "a/3", "a/4")
			}
		})
	}
}

func TestFailedClear(t *testing.T) {
	l := started(t, t.TempDir())
	mustSet(t, l, "a/1", "1")
	l.file = &failingFile{file: l.file, fails: map[string]int{"write": 1}}
	l.Clear()
	wantKeys(t, l, "a/1")
	if err := set(l, "a/2", "2"); !errors.Is(err, errDisk) {
		t.Errorf("the write after a Clear that failed: %v, want the error of the Clear", err)
	}
}

// TestCutShort cuts the log at every byte of its last line, as a crash does.
func TestCutShort(t *testing.T) {
	dir := t.TempDir()
	l := NewBatch(dir)
	if err := l.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	mustSet(t, l.Layer, "a/1", "1")
	kept := int(l.size)
	batch := []storage.Change{
		{Key: "a/1", Revision: 1},
		{Key: "a/2", Object: &meta.Object{Data: []byte("2")}, Revision: 2},
	}
	if err := l.Commit(batch); err != nil {
		t.Fatal(err)
	}
	l.Close()
	whole := readLog(t, dir)
	for size := kept; size <= len(whole); size++ {
		dir := t.TempDir()
		writeLog(t, dir, whole[:size])
		l := started(t, dir)
		if size < len(whole) {
			wantKeys(t, l, "a/1")
		} else {
			wantKeys(t, l, "a/2")
		}
		mustSet(t, l, "b", "3")
		l.Close()
		if _, err := started(t, dir).Get("b"); err != nil {
			t.Errorf("a log cut to %d of %d bytes, after a write and a restart: Get: %v", size, len(whole), err)
		}
	}
}

// TestFlippedBits flips every bit of a log, but those of the last end of line: without it
// the line counts as one that was cut short.
func TestFlippedBits(t *testing.T) {
	dir := t.TempDir()
	l := started(t, dir)
	mustSet(t, l, "a/1", "1")
	l.Clear()
	mustSet(t, l, "a/2", `{"n":2}`)
	if err := l.Del("a/2"); err != nil {
		t.Fatal(err)
	}
	l.Close()
	whole := readLog(t, dir)
	for bit := range 8 * (len(whole) - 1) {
		content := slices.Clone(whole)
		content[bit/8] ^= 1 << (bit % 8)
		writeLog(t, dir, content)
		l := New(dir)
		err := l.Start(storage.LayerOptions{})
		l.Close()
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("Start with bit %d of byte %d flipped, %q: error %v, want one in one line", bit%8, bit/8, content[bit/8], err)
		}
	}
}

func TestDamageIsNamed(t *testing.T) {
	dir := t.TempDir()
	l := started(t, dir)
	mustSet(t, l, "devices/lamp", `"on"`)
	l.Close()
	content := readLog(t, dir)
	content[len(content)-3] ^= 1
	writeLog(t, dir, content)
	err := New(dir).Start(storage.LayerOptions{})
	want := fmt.Sprintf("jsonlog: open %s: line 1, key \"devices/lamp\": the checksum is", filepath.Join(dir, "log.jsonl"))
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("Start on a damaged log: %v, want %s...", err, want)
	}
}

func TestNoDirectory(t *testing.T) {
	l := New(filepath.Join(t.TempDir(), "none"))
	if err := l.Start(storage.LayerOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Start in a directory that is not there: %v, want ErrNotExist", err)
	}
	l.Close()
}

func readLog(t *testing.T, dir string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "log.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func writeLog(t *testing.T, dir string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "log.jsonl"), content, 0o600); err != nil {
		t.Fatal(err)
	}
}
