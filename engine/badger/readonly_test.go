package badger

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
)

func TestReadOnly(t *testing.T) {
	for name, o := range map[string]Options{"plain": roomy(), "encrypted": encrypted(roomy())} {
		t.Run(name, func(t *testing.T) {
			enginetest.TestReadOnly(t, func(dir string, readOnly bool) enginetest.ReadOnlyLayer {
				o := o
				o.ReadOnly = readOnly
				return New(dir, o)
			}, nil)
		})
	}
}

// What a crash left unfinished is in nobody's way who reads, and stays where it is: empty files, a table that is not
// in the list, and half of a batch of several transactions.
func TestReadOnlyUnfinished(t *testing.T) {
	dir := t.TempDir()
	failing := small()
	failing.hooks.part = func(n int) error {
		if n == 2 {
			return errors.New("a crash")
		}
		return nil
	}
	l := start(t, dir, failing)
	enginetest.SetAll(t, l, enginetest.Numbered("d", 2)...)
	if err := l.Commit(puts(enginetest.Numbered("e", 30_000), 20, 1)); err == nil {
		t.Fatal("the batch succeeded")
	}
	dir = copyOf(t, dir)
	t.Setenv("TMPDIR", t.TempDir()) // of nobody else
	for _, name := range []string{"00009.mem", "000009.vlog", probeFile} {
		enginetest.WriteFile(t, filepath.Join(dir, name), "")
	}
	enginetest.WriteFile(t, filepath.Join(dir, "000999.sst"), "a table that is not in the list")
	before := enginetest.Digest(t, dir)
	o := small()
	o.ReadOnly = true
	l = start(t, dir, o)
	if storeOf(l).copied == "" {
		t.Error("the store is read without a view")
	}
	if got := enginetest.Keys(t, l); len(got) != 2 {
		t.Errorf("there are %d objects, expected 2", len(got))
	}
	l.Close()
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "oolith-badger-*")); err != nil || len(left) > 0 {
		t.Errorf("a view is left: %q, %v", left, err)
	}
	t.Setenv("TMPDIR", filepath.Join(dir, "not", "there"))
	mustRefuse(t, New(dir, o), "TMPDIR", "open the store once to write")
	if after := enginetest.Digest(t, dir); after != before {
		t.Errorf("the files were\n%s and are\n%s", before, after)
	}
}

// lostStore returns the directory of a store as one that was closed, or whose process was killed, leaves it.
func lostStore(t *testing.T, o Options, killed bool) string {
	t.Helper()
	dir := filledWith(t, o)
	if !killed {
		return dir
	}
	l := start(t, dir, o)
	enginetest.SetAll(t, l, enginetest.Numbered("k", 100)...)
	return copyOf(t, dir)
}

func TestLostFiles(t *testing.T) {
	for name, o := range map[string]Options{"closed": small(), "killed": encrypted(small())} {
		t.Run(name, func(t *testing.T) {
			layer := func(dir string) enginetest.Layer { return New(dir, o) }
			enginetest.TestLostFiles(t, lostStore(t, o, name == "killed"), layer, func(how, kind string) bool {
				return false
			})
		})
	}
}

// A list of tables that is cut anywhere, or one of an older time, is refused, or names all that there is.
func TestCutManifest(t *testing.T) {
	for name, o := range map[string]Options{"plain": small(), "encrypted": encrypted(small())} {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, killed %v", name, killed), func(t *testing.T) {
				store := lostStore(t, o, killed)
				content, err := os.ReadFile(filepath.Join(store, "MANIFEST"))
				if err != nil {
					t.Fatal(err)
				}
				l := start(t, enginetest.Copy(t, store), o)
				want := enginetest.Keys(t, l)
				l.Close()
				for size := 0; size < len(content); size += 5 {
					dir := enginetest.Copy(t, store)
					if err := os.Truncate(filepath.Join(dir, "MANIFEST"), int64(size)); err != nil {
						t.Fatal(err)
					}
					before := enginetest.Digest(t, dir)
					l := New(dir, o)
					if err := l.Start(layerOptions); err == nil {
						if got := enginetest.Keys(t, l); !slices.Equal(got, want) {
							t.Errorf("with %d bytes of %d there are %d objects of %d", size, len(content), len(got), len(want))
						}
						l.Close()
					} else if after := enginetest.Digest(t, dir); after != before || !strings.Contains(err.Error(), "MANIFEST") {
						t.Errorf("with %d bytes of %d: %v, and the files were\n%s and are\n%s", size, len(content), err, before, after)
					}
				}
			})
		}
	}
}

// Whatever foreign content is in a file, the process lives: the store is refused, with its files left as they are, or it
// opens, and what is not there is told.
func TestForeignContent(t *testing.T) {
	zeros := make([]byte, 4096)
	for how, change := range map[string]func([]byte) []byte{
		"zeros behind it":  func(content []byte) []byte { return append(content, zeros...) },
		"ones behind it":   func(content []byte) []byte { return append(content, bytes.Repeat([]byte{0xff}, 4096)...) },
		"only zeros":       func(content []byte) []byte { return make([]byte, len(content)) },
		"zeros at the end": func(content []byte) []byte { clear(content[len(content)*3/4:]); return content },
		"its beginning twice": func(content []byte) []byte {
			return append(content[:len(content)/2:len(content)/2], content[:len(content)/2]...)
		},
	} {
		for name, o := range map[string]Options{"plain": small(), "encrypted": encrypted(small())} {
			t.Run(how+", "+name, func(t *testing.T) {
				store := lostStore(t, o, true)
				for _, name := range match(t, store, "*") {
					for _, readOnly := range []bool{true, false} {
						dir := enginetest.Copy(t, store)
						o := o
						o.ReadOnly = readOnly
						file := filepath.Join(dir, filepath.Base(name))
						enginetest.Edit(t, file, change)
						before := enginetest.Digest(t, dir)
						l := New(dir, o)
						err := l.Start(layerOptions)
						if err == nil {
							if _, err := l.Load(); err == nil && strings.HasSuffix(file, ".sst") && how != "its beginning twice" {
								t.Errorf("%s: nothing is told", file)
							}
							if _, err := l.Check(t.Context(), func(error) {}); err != nil {
								t.Errorf("%s: check: %v", file, err)
							}
							l.Close()
						}
						if after := enginetest.Digest(t, dir); after != before && (err != nil || readOnly) {
							t.Errorf("%s: the start returned %v, and the files were\n%s and are\n%s", file, err, before, after)
						}
					}
				}
			})
		}
	}
}

// A crash at any time in the making of a store leaves what the next start goes on with.
func TestCrashInTheMaking(t *testing.T) {
	made := t.TempDir()
	start(t, made, small())
	made = copyOf(t, made)
	// In the order in which they are made.
	files := []string{lockFile, newFormat, markFile, "LOCK", "MANIFEST", "KEYREGISTRY", "00001.mem", "DISCARD", "000001.vlog"}
	for n := range len(files) + 1 {
		dir := t.TempDir()
		for i, name := range files[:n] {
			from := filepath.Join(made, name)
			if name == newFormat {
				from = filepath.Join(made, "FORMAT")
			}
			content, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			if i == n-1 && strings.Contains(name, ".") && name != newFormat || name == newFormat && n == 2 {
				content = nil // it is not finished
			}
			enginetest.WriteFile(t, filepath.Join(dir, name), string(content))
		}
		o := small()
		o.ReadOnly = true
		mustRefuse(t, New(dir, o), "there is no store to read")
		l := start(t, dir, small())
		enginetest.SetAll(t, l, "a")
		l.Close()
		if got := enginetest.Keys(t, start(t, dir, small())); len(got) != 1 {
			t.Errorf("after %d files there are %d objects", n, len(got))
		}
	}
	// A store that lost its mark is no store in the making.
	store := filled(t)
	if err := os.Rename(filepath.Join(store, "FORMAT"), filepath.Join(store, newFormat)); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, New(store, small()), "FORMAT")
}

// A panic in what the layer does in the background is an error of the layer.
func TestPanicInTheBackground(t *testing.T) {
	o := small()
	var broken atomic.Bool
	o.hooks.upkeep = func() {
		if broken.Load() {
			panic("a contradiction")
		}
	}
	l := start(t, t.TempDir(), o)
	enginetest.SetAll(t, l, "a")
	broken.Store(true)
	enginetest.Within(t, "the failure", func() { <-storeOf(l).health.failed })
	err := l.Set("b", enginetest.Object("b", 1, "1"))
	if err == nil || !strings.Contains(err.Error(), "panicked") {
		t.Errorf("a write after a panic in the background: %v", err)
	}
	if _, err := l.Get("a"); err != nil {
		t.Errorf("a read after it: %v", err)
	}
}
