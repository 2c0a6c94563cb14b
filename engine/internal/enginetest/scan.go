package enginetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// ScanPaths returns the paths that a scan yields. Set stored the objects.
func ScanPaths(t testing.TB, l storage.Scanner, pattern string) []string {
	t.Helper()
	got := []string{}
	for obj, err := range l.Scan(pattern) {
		if err != nil {
			t.Fatalf("scan %q: %v", pattern, err)
		}
		if want := fmt.Sprintf("%q", obj.Path); string(obj.Data) != want || obj.Index != key.LastIndex(obj.Path) {
			t.Fatalf("scan %q yields %+v", pattern, obj)
		}
		got = append(got, obj.Path)
	}
	return got
}

func testScanAgainstModel(t *testing.T, e Engine) {
	rng := testrand.New(t)
	for range 5 {
		l := Start(t, e.New(t))
		paths := testrand.Paths(rng, 400)
		SetAll(t, l, paths...)
		for _, pattern := range testrand.Patterns(rng, 400) {
			if got, want := ScanPaths(t, l, pattern), testrand.Matching(paths, pattern); !slices.Equal(got, want) {
				t.Fatalf("scan %q yields\n%q, expected\n%q", pattern, got, want)
			}
		}
		slices.Sort(paths)
		if got := Keys(t, l); !slices.Equal(got, paths) {
			t.Fatalf("the keys are\n%q, expected\n%q", got, paths)
		}
		l.Close()
	}
}

func testScanInvalid(t *testing.T, e Engine) {
	l := Start(t, e.New(t))
	for _, err := range l.Scan("a**") {
		if !errors.Is(err, storage.ErrInvalidPath) || !strings.Contains(err.Error(), "a**") {
			t.Errorf("scan of an invalid pattern: %v", err)
		}
	}
}

// A scan of many chunks, over several directories, yields the content at its beginning, although all of it is removed
// and compacted away meanwhile.
func testScanIsASnapshot(t *testing.T, e Engine) {
	l := Start(t, e.New(t))
	var paths []string
	for i := range 3000 {
		paths = append(paths, fmt.Sprintf("d%d/%04d", i/500, i))
	}
	SetAll(t, l, paths...)
	seen := 0
	for obj, err := range l.Scan("*/*") {
		if err != nil {
			t.Fatal(err)
		}
		if seen == 0 {
			l.Clear()
			Set(t, l, "d2/new")
			if err := l.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if seen == len(paths) || obj.Path != paths[seen] {
			t.Fatalf("object %d is %s", seen, obj.Path)
		}
		seen++
	}
	if seen != len(paths) {
		t.Errorf("the scan saw %d objects, expected %d", seen, len(paths))
	}
}

// A scan can be repeated and left at any object, also by a panic, and then holds nothing.
func testScanRepeatedAndLeft(t *testing.T, e Engine) {
	l := Start(t, e.New(t))
	Set(t, l, "a", "b", "c")
	scan := l.Scan("*")
	for range 3 {
		seen := 0
		for range scan {
			if seen++; seen == 2 {
				break
			}
		}
		if seen != 2 {
			t.Errorf("a repeated scan yields %d objects", seen)
		}
	}
	func() {
		defer func() { _ = recover() }()
		for range scan {
			panic("in the loop")
		}
	}()
	if n := e.Scans(l); n != 0 {
		t.Errorf("%d scans are held after their loops", n)
	}
}

// If the layer is closed inside the loop of a scan, the scan ends after the chunk that was read, even if the layer
// was started again.
func testCloseInsideScan(t *testing.T, e Engine) {
	l := Start(t, e.New(t))
	SetAll(t, l, Numbered("d", 3000)...)
	seen := 0
	var last error
	for _, err := range l.Scan("") {
		if err != nil {
			last = err
			break
		}
		if seen++; seen == 1 {
			l.Close()
			if err := l.Start(storage.LayerOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !errors.Is(last, storage.ErrNotActive) || seen > enginekit.MaxChunk {
		t.Errorf("the scan saw %d objects and ended with %v, expected ErrNotActive", seen, last)
	}
}
