package pebble

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/storage"
)

func TestLostFiles(t *testing.T) {
	in := func(dir string) enginetest.Layer { return New(dir, Options{}) }
	dir := t.TempDir()
	for _, part := range []string{"a", "b"} {
		l := start(t, dir, Options{})
		enginetest.SetAll(t, l, enginetest.Numbered(part, 1000)...)
		l.Close()
	}
	t.Run("closed", func(t *testing.T) {
		enginetest.TestLostFiles(t, dir, in, func(string, string) bool { return false })
	})
	l := start(t, dir, Options{})
	enginetest.SetAll(t, l, enginetest.Numbered("c", 1000)...)
	killed := enginetest.Copy(t, dir)
	t.Run("killed", func(t *testing.T) {
		enginetest.TestLostFiles(t, killed, in, func(how, name string) bool {
			return how != "removed" && strings.HasSuffix(name, ".log") // a crash may leave the like
		})
	})
}

// However far the making of a store came when the power went, the next start makes it.
func TestCrashInTheMaking(t *testing.T) {
	rng := testrand.New(t)
	disk := vfs.NewCrashableMem()
	var mu sync.Mutex // guards what follows: Pebble works in several goroutines
	var crashed []*vfs.MemFS
	ops := 0
	watched := &eachOperation{FS: disk, before: func() {
		mu.Lock()
		defer mu.Unlock()
		for _, percent := range []int{0, 50, 100} {
			crashed = append(crashed, disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}))
		}
		ops++
	}}
	l := New("store", Options{FS: watched})
	if err := l.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if ops < 30 {
		t.Fatalf("only %d operations were seen", ops)
	}
	for i, disk := range crashed {
		l := New("store", Options{FS: disk})
		if err := l.Start(storage.LayerOptions{}); err != nil {
			names, _ := disk.List("store")
			t.Fatalf("operation %d of %d: %v, with the files %q", i/3, ops, err, names)
		}
		enginetest.Set(t, l, "a")
		l.Close()
		if n := len(enginetest.Keys(t, start(t, "store", Options{FS: disk}))); n != 1 {
			t.Fatalf("operation %d of %d: %d objects", i/3, ops, n)
		}
	}
}

// A store without its FORMAT is not taken for one whose making was cut off, whatever else is there.
func TestFormatLost(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, Options{})
	enginetest.Set(t, l, "a")
	for name, from := range map[string]func() string{
		"killed": func() string { return enginetest.Copy(t, dir) },
		"closed": func() string { l.Close(); return enginetest.Copy(t, dir) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := from()
			if err := vfs.Default.Rename(filepath.Join(dir, "FORMAT"), filepath.Join(dir, newFormat)); err != nil {
				t.Fatal(err)
			}
			before := enginetest.Digest(t, dir)
			mustRefuse(t, New(dir, Options{}), "no file FORMAT", "backup")
			if after := enginetest.Digest(t, dir); after != before {
				t.Errorf("the files were\n%s and are\n%s", before, after)
			}
		})
	}
}

// eachOperation calls a function before each operation that changes a file system.
type eachOperation struct {
	vfs.FS
	before func()
}

func (f *eachOperation) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f.before()
	file, err := f.FS.Create(name, category)
	return &eachFileOperation{file, f.before}, err
}

func (f *eachOperation) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	return &eachFileOperation{file, f.before}, err
}

func (f *eachOperation) Rename(from, to string) error { f.before(); return f.FS.Rename(from, to) }
func (f *eachOperation) Remove(name string) error     { f.before(); return f.FS.Remove(name) }

type eachFileOperation struct {
	vfs.File
	before func()
}

func (f *eachFileOperation) Write(p []byte) (int, error) { f.before(); return f.File.Write(p) }
func (f *eachFileOperation) Sync() error                 { f.before(); return f.File.Sync() }
func (f *eachFileOperation) SyncData() error             { f.before(); return f.File.SyncData() }
