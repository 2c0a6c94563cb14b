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

// ReadOnlyLayer is the layer of an engine that can be opened read-only.
type ReadOnlyLayer interface {
	Layer
	storage.ReadOnlyLayer
}

// TestReadOnly tests that a store opened read-only is read completely, answers all writes with storage.ErrReadOnly,
// excludes writers, and leaves each file unchanged. It uses a store that was closed, one that a killed process left,
// and the engine's own stores in more, by name. The function in makes a layer on a store in a directory.
func TestReadOnly(t *testing.T, in func(dir string, readOnly bool) ReadOnlyLayer, stores map[string]string) {
	t.Run("no directory", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "not", "there")
		MustRefuse(t, in(dir, true), dir, "there is no store")
		if _, err := os.Stat(filepath.Dir(dir)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the directory was made: %v", err)
		}
	})
	t.Run("an empty directory", func(t *testing.T) {
		dir := t.TempDir()
		MustRefuse(t, in(dir, true), dir, "there is no store")
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("the directory has %v, %v", entries, err)
		}
	})
	t.Run("in use", func(t *testing.T) {
		dir, _ := readOnlyStore(t, in, false)
		writer := Start(t, in(dir, false))
		MustRefuse(t, in(dir, true), "in use")
		MustRefuse(t, in(dir, false), "in use") // the attempt has not released the lock
		writer.Close()
		reader, other := Start(t, in(dir, true)), Start(t, in(dir, true))
		MustRefuse(t, in(dir, false), "in use")
		reader.Close()
		MustRefuse(t, in(dir, false), "in use") // by the other
		other.Close()
		Set(t, Start(t, in(dir, false)), "b")
	})
	for name, store := range stores {
		t.Run(name, func(t *testing.T) {
			dir := Copy(t, store)
			l := Start(t, in(dir, true))
			want := readOnlyContent(t, l)
			l.Close()
			testReadOnly(t, dir, in, want)
			if mounted, ok := mountReadOnly(t, dir); ok {
				testReadOnly(t, mounted, in, want)
			}
			if got := readOnlyContent(t, Start(t, in(dir, false))); got != want {
				t.Errorf("afterwards there is\n%.500s, expected\n%.500s", got, want)
			}
		})
	}
	for _, killed := range []bool{false, true} {
		name := "closed"
		if killed {
			name = "killed"
		}
		t.Run(name, func(t *testing.T) {
			dir, want := readOnlyStore(t, in, killed)
			testReadOnly(t, dir, in, want)
			// It is unchanged for writers too.
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

// readOnlyStore makes a store with writes that are only in its log, and returns its content.
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
	want = readOnlyContent(t, l)
	if killed {
		return Copy(t, dir), want
	}
	l.Close()
	return dir, want
}

// readOnlyContent returns the whole content of a layer as a text.
func readOnlyContent(t *testing.T, l ReadOnlyLayer) string {
	t.Helper()
	objects, err := l.Load()
	if err != nil {
		t.Fatal(err)
	}
	// After a kill it may be a reserved revision, above the last used one.
	if revision, err := l.LastRevision(); err != nil {
		t.Fatalf("the last revision is %d, %v", revision, err)
	}
	// A store created before ids existed has one for as long as it is open.
	if identified, ok := storage.As[storage.Identified](l); ok {
		id, err := identified.ID()
		again, errAgain := identified.ID()
		if err != nil || errAgain != nil || id == 0 || again != id {
			t.Fatalf("the id is %d, %v, and then %d, %v", id, err, again, errAgain)
		}
	}
	return fmt.Sprint(len(objects), "\n", contentOf(objects))
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

// testReadOnly tests a store that is opened read-only.
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
	keys := Keys(t, l)
	if obj, err := l.Get(keys[0]); err != nil || len(obj.Data) == 0 {
		t.Errorf("%s has %d bytes, %v", keys[0], len(obj.Data), err)
	}
	if got, err := l.GetList("*/*"); err != nil || len(got) == 0 {
		t.Errorf("a list has %d objects, %v", len(got), err)
	}
	l.SizeHint()
	obj := Object("new", 1, "1")
	change := storage.Change{Key: "new", Object: obj, Revision: 1 << 40}
	for what, write := range map[string]func() error{
		"Set":    func() error { return l.Set("new", obj) },
		"Del":    func() error { return l.Del(keys[0]) },
		"Commit": func() error { return l.Commit([]storage.Change{change}) },
		"CommitAsync": func() error {
			async, ok := l.(storage.AsyncBatcher)
			if !ok {
				return storage.ErrReadOnly
			}
			wait, err := async.CommitAsync([]storage.Change{change})
			if err != nil {
				return err
			}
			return wait()
		},
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
	Start(t, in(dir, true)).Close() // together with others
	l.Close()
}
