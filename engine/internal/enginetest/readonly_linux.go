package enginetest

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/oolith-db/oolith/storage"
)

// TestReadOnly tests a layer that is opened to read only, over copies of stores as a Close, a kill and a loss of
// the lock's file leave them. The function makes a layer in a directory; a store holds some objects.
func TestReadOnly(t *testing.T, in func(dir string, readOnly bool) Layer, stores map[string]string) {
	for name, store := range stores {
		t.Run(name, func(t *testing.T) {
			dir := Copy(t, store)
			want := testReadOnly(t, dir, func() Layer { return in(dir, true) })
			if l := Start(t, in(dir, false)); !slices.Equal(Keys(t, l), want) {
				t.Errorf("opened to read only it had %d objects, and it has %d", len(want), len(Keys(t, l)))
			}
		})
		t.Run(name+" on a file system that is read only", func(t *testing.T) {
			dir := Copy(t, store)
			if err := syscall.Mount(dir, dir, "", syscall.MS_BIND, ""); err != nil {
				t.Log("nothing can be mounted here, so that this says nothing: ", err)
				return
			}
			t.Cleanup(func() {
				if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
					t.Error(err)
				}
			})
			if err := syscall.Mount("", dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o644); !errors.Is(err, syscall.EROFS) {
				t.Fatalf("a write to the mounted directory: %v", err)
			}
			testReadOnly(t, dir, func() Layer { return in(dir, true) })
		})
	}
	t.Run("no directory", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "store")
		MustRefuse(t, in(dir, true), dir, "there is no store")
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("afterwards the directory is there, %v", err)
		}
	})
	t.Run("an empty directory", func(t *testing.T) {
		dir := t.TempDir()
		MustRefuse(t, in(dir, true), dir, "there is no store")
		if files := Digest(t, dir); files != "" {
			t.Errorf("afterwards it holds %s", files)
		}
	})
	t.Run("in use by a writer", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "store")
		writer := Start(t, in(dir, false))
		Set(t, writer, "a")
		MustRefuse(t, in(dir, true), "in use")
		MustRefuse(t, in(dir, false), "in use") // the attempt has not let the lock go
		writer.Close()
		reader, other := Start(t, in(dir, true)), Start(t, in(dir, true))
		MustRefuse(t, in(dir, false), "in use")
		reader.Close()
		MustRefuse(t, in(dir, false), "in use") // by the other
		other.Close()
		Set(t, Start(t, in(dir, false)), "b")
	})
}

// testReadOnly reads and tries to write a store, and returns its keys.
func testReadOnly(t *testing.T, dir string, layer func() Layer) (keys []string) {
	t.Helper()
	before := Digest(t, dir)
	for range 2 {
		l := Start(t, layer())
		if r, ok := l.(storage.ReadOnlyLayer); !ok || !r.ReadOnly() {
			t.Error("the layer does not say that it is opened to read only")
		}
		keys = Keys(t, l)
		testReads(t, l, keys)
		testNoWrites(t, l, keys[0])
		l.Close()
		if after := Digest(t, dir); after != before {
			t.Fatalf("the files were\n%s and are\n%s", before, after)
		}
	}
	return keys
}

func testReads(t *testing.T, l Layer, keys []string) {
	t.Helper()
	objects, err := l.Load()
	if err != nil || !slices.Equal(slices.Sorted(maps.Keys(objects)), keys) || len(keys) == 0 {
		t.Errorf("%d objects and %d keys, %v", len(objects), len(keys), err)
	}
	if _, err := l.Get(keys[0]); err != nil {
		t.Error(err)
	}
	if n := CheckSound(t, l); n != len(keys) {
		t.Errorf("the check finds %d objects of %d", n, len(keys))
	}
	if _, err := l.LastRevision(); err != nil {
		t.Error(err)
	}
	if l, ok := l.(storage.Identified); ok {
		if id, err := l.ID(); err != nil || id == 0 {
			t.Errorf("the id is %d, %v", id, err)
		}
	}
	l.SizeHint()
}

func testNoWrites(t *testing.T, l Layer, path string) {
	t.Helper()
	set := storage.Change{Key: path, Object: Object(path, 1, "1"), Revision: 9}
	for name, write := range map[string]func() error{
		"Set":            func() error { return l.Set(path, Object(path, 1, "1")) },
		"Set of another": func() error { return l.Set("another", Object("another", 1, "1")) },
		"Del":            func() error { return l.Del(path) },
		"Commit":         func() error { return l.Commit([]storage.Change{set}) },
		"a clear":        func() error { return l.Commit([]storage.Change{{}}) },
		"Compact":        func() error { return l.Compact(t.Context()) },
		"MarkIncomplete": func() error { return l.MarkIncomplete("a test") },
		"CommitAsync": func() error {
			async, ok := l.(storage.AsyncBatcher)
			if !ok {
				return storage.ErrReadOnly
			}
			wait, err := async.CommitAsync([]storage.Change{set})
			if err != nil {
				return err
			}
			return wait()
		},
	} {
		if err := write(); !errors.Is(err, storage.ErrReadOnly) {
			t.Errorf("%s: %v, want ErrReadOnly", name, err)
		}
	}
	l.Clear()
}
