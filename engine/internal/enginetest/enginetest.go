// Package enginetest has what the tests of the engines share: helpers, tests that every engine passes, and sequences
// of failures for engines whose disk can be made to fail.
//
// Package storagetest has the requirements for every layer, ours or another. This package has the additional
// requirements: how our engines fulfill them (no more than a chunk after Close, errors that name the key), and
// problems that only appear with much data, many rounds or a failing disk.
package enginetest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Layer is the interface that the layer of each engine implements.
type Layer interface {
	storage.EmbeddedLayer
	storage.Batcher
	storage.Scanner
	storage.SizeHinter
	storage.Checker
	storage.Compacter
	storage.IncompleteMarker
}

// Start starts a layer, closes it at the end of the test, and returns it.
func Start[L storage.Layer](t testing.TB, l L) L {
	t.Helper()
	if err := l.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// Object returns an object for a path.
func Object(path string, created int64, data string) *meta.Object {
	return &meta.Object{Path: path, Index: key.LastIndex(path), Created: created, Data: json.RawMessage(data)}
}

// Set stores the path itself, as a string, at each path, one after the other.
func Set(t testing.TB, l storage.Layer, paths ...string) {
	t.Helper()
	for i, path := range paths {
		if err := l.Set(path, Object(path, int64(i+1), fmt.Sprintf("%q", path))); err != nil {
			t.Fatal(err)
		}
	}
}

// SetAll stores the same as Set, in one batch.
func SetAll(t testing.TB, l storage.Batcher, paths ...string) {
	t.Helper()
	changes := make([]storage.Change, len(paths))
	for i, path := range paths {
		changes[i] = storage.Change{Key: path, Object: Object(path, int64(i+1), fmt.Sprintf("%q", path))}
	}
	if err := l.Commit(changes); err != nil {
		t.Fatal(err)
	}
}

// Keys returns the keys of a layer.
func Keys(t testing.TB, l storage.Layer) []string {
	t.Helper()
	paths, err := l.Keys()
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// Numbered returns paths with a number each, in the order of their numbers.
func Numbered(dir string, n int) []string {
	paths := make([]string, n)
	for i := range paths {
		paths[i] = fmt.Sprintf("%s/%06d", dir, i)
	}
	return paths
}

// Checked runs a check that must complete, and returns its count and reports.
func Checked(t testing.TB, l storage.Checker) (objects int, found []string) {
	t.Helper()
	objects, err := l.Check(t.Context(), func(err error) { found = append(found, err.Error()) })
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	return objects, found
}

// CheckSound checks that a check finds nothing, and returns how many objects it counts.
func CheckSound(t testing.TB, l storage.Checker) int {
	t.Helper()
	n, err := l.Check(t.Context(), func(err error) { t.Errorf("the check finds: %v", err) })
	if err != nil {
		t.Errorf("check: %v", err)
	}
	return n
}

// Within ends the tests if a call hangs: if it takes longer than on any machine or disk. The call is made in another
// goroutine, which must not end the test.
func Within(t testing.TB, what string, call func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		call()
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Minute):
		panic(what + " hangs") // prints the stacks of all goroutines
	}
}

// WriteFile writes a file.
func WriteFile(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Corrupt changes bytes in the middle of the matching files in a directory.
func Corrupt(t testing.TB, dir, pattern string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no file %s: %v", pattern, err)
	}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := len(content) / 4; i < len(content)/2; i++ {
			content[i] ^= 0x55
		}
		WriteFile(t, name, string(content))
	}
}

// Listing returns the names, sizes and times of a directory's files, except some.
func Listing(t testing.TB, dir string, but ...string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	left := "|" + strings.Join(but, "|") + "|"
	var b strings.Builder
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(left, "|"+info.Name()+"|") {
			fmt.Fprintln(&b, info.Name(), info.Size(), info.ModTime())
		}
	}
	return b.String()
}
