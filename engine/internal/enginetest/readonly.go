package enginetest

import (
	"context"
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

// ReadOnlyLayer is the layer of an engine that can be opened to read only.
type ReadOnlyLayer interface {
	Layer
	storage.ReadOnlyLayer
	storage.Identified
}

// TestReadOnly tests that a store that is opened to read only is read whole, answers all writes with
// storage.ErrReadOnly, keeps those who write away, and leaves each file as it is: a store that was closed, and
// one that a killed process left. The function in makes a layer on a store in a directory.
func TestReadOnly(t *testing.T, in func(dir string, readOnly bool) ReadOnlyLayer) {
	t.Run("no directory", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "not", "there")
		MustRefuse(t, in(dir, true), dir, "there is no store to read")
		if _, err := os.Stat(filepath.Dir(dir)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the directory was made: %v", err)
		}
	})
	t.Run("an empty directory", func(t *testing.T) {
		dir := t.TempDir()
		MustRefuse(t, in(dir, true), dir, "there is no store to read")
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("the directory has %v, %v", entries, err)
		}
	})
	for _, killed := range []bool{false, true} {
		name := "closed"
		if killed {
			name = "killed"
		}
		t.Run(name, func(t *testing.T) {
			dir, want := readOnlyStore(t, in, killed)
			testReadOnly(t, dir, in, want)
			// It is as it was for those who write, too.
			l := Start(t, in(dir, false))
			if got := readOnlyContent(t, l); got != want {
				t.Errorf("afterwards there is\n%.500s, expected\n%.500s", got, want)
			}
			MustRefuse(t, in(dir, true), "in use")
		})
		t.Run(name+", on a disk that is read-only", func(t *testing.T) {
			dir, want := readOnlyStore(t, in, killed)
			if mounted, ok := mountReadOnly(t, dir); ok {
				testReadOnly(t, mounted, in, want)
			}
		})
	}
}

// readOnlyStore makes a store, with writes that are in its log only, and returns what is in it.
func readOnlyStore(t *testing.T, in func(dir string, readOnly bool) ReadOnlyLayer, killed bool) (dir, want string) {
	t.Helper()
	dir = t.TempDir()
	l := Start(t, in(dir, false))
	for round := range 2 {
		SetAll(t, l, Numbered(fmt.Sprint("d", round), 300)...)
		large := fmt.Sprintf("%q", strings.Repeat("x", 200<<10))
		if err := l.Commit([]storage.Change{{Key: "large", Object: Object("large", 1, large), Revision: uint64(round + 1)}}); err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			l.Close()
			Start(t, l)
		}
	}
	if err := l.Del("d1/000007"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.ID(); err != nil {
		t.Fatal(err)
	}
	want = readOnlyContent(t, l)
	if killed {
		return Copy(t, dir), want
	}
	l.Close()
	return dir, want
}

// readOnlyContent is all that a layer holds, as a text.
func readOnlyContent(t *testing.T, l ReadOnlyLayer) string {
	t.Helper()
	objects, err := l.Load()
	if err != nil {
		t.Fatal(err)
	}
	revision, err := l.LastRevision()
	if err != nil {
		t.Fatal(err)
	}
	id, err := l.ID()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(id, revision, len(objects), contentOf(objects))
}

func contentOf(objects map[string]*meta.Object) string {
	var b strings.Builder
	paths := make([]string, 0, len(objects))
	for path := range objects {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range paths {
		fmt.Fprintf(&b, "%s %d %.40s\n", path, len(objects[path].Data), objects[path].Data)
	}
	return b.String()
}

// testReadOnly tests a store that is opened to read only.
func testReadOnly(t *testing.T, dir string, in func(dir string, readOnly bool) ReadOnlyLayer, want string) {
	t.Helper()
	before := Digest(t, dir)
	defer func() {
		if after := Digest(t, dir); after != before {
			t.Errorf("the files were\n%s and are\n%s", before, after)
		}
	}()
	l := in(dir, true)
	if !l.ReadOnly() {
		t.Error("the layer does not say that it is read-only")
	}
	Start(t, l)
	if got := readOnlyContent(t, l); got != want {
		t.Errorf("there is\n%.500s, expected\n%.500s", got, want)
	}
	if n, got := CheckSound(t, l), Keys(t, l); n != len(got) || n == 0 {
		t.Errorf("the check counts %d objects of %d", n, len(got))
	}
	if got, err := l.GetList("d1/*"); err != nil || len(got) != 299 {
		t.Errorf("a list has %d objects, %v, expected 299", len(got), err)
	}
	if obj, err := l.Get("large"); err != nil || len(obj.Data) < 200<<10 {
		t.Errorf("a large object has %d bytes, %v", len(obj.Data), err)
	}
	obj := Object("new", 1, "1")
	for what, write := range map[string]func() error{
		"Set":            func() error { return l.Set("new", obj) },
		"Del":            func() error { return l.Del("large") },
		"Commit":         func() error { return l.Commit([]storage.Change{{Key: "new", Object: obj}}) },
		"MarkIncomplete": func() error { return l.MarkIncomplete("a test") },
		"Compact":        func() error { return l.Compact(context.Background()) },
	} {
		if err := write(); !errors.Is(err, storage.ErrReadOnly) {
			t.Errorf("%s: %v, expected ErrReadOnly", what, err)
		}
	}
	l.Clear()
	if got := readOnlyContent(t, l); got != want {
		t.Error("the writes that were refused changed what is read")
	}
	Start(t, in(dir, true)).Close() // beside others
	MustRefuse(t, in(dir, false), dir)
	l.Close()
}
