package pebble

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/storage"
)

// mustRefuse checks that a start fails with all of the texts and the directory.
func mustRefuse(t *testing.T, l *Layer, texts ...string) {
	t.Helper()
	enginetest.MustRefuse(t, l, append(texts, l.dir)...)
}

func TestOpenRefuses(t *testing.T) {
	in := func(dir string) storage.Layer { return New(dir, Options{}) }
	enginetest.TestNoDirectory(t, in)
	enginetest.TestFormat(t, in, formatName, lockFile, func(t *testing.T, dir string) {
		db, err := pebble.Open(dir, &pebble.Options{Logger: logger{to: slog.New(slog.DiscardHandler)}})
		if err == nil {
			err = errors.Join(db.Set([]byte("k"), []byte("v"), pebble.Sync), db.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestOpenInUse(t *testing.T) {
	dir, others := enginetest.OtherNames(t)
	start(t, dir, Options{})
	for _, name := range append(others, dir) {
		mustRefuse(t, New(name, Options{}), "in use")
	}
}

func TestOpenInUseByAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	hold := func(dir string) { start(t, dir, Options{}) }
	enginetest.InAnotherProcess(t, dir, hold, func(int) {
		mustRefuse(t, New(dir, Options{}), "in use by another process")
		mustRefuse(t, New(dir, Options{ReadOnly: true}), "in use by another process")
	})
	start(t, dir, Options{})
}

// A disk that refuses to be written, from the first operation on or from a later one.
func TestOpenReadOnly(t *testing.T) {
	for _, cause := range []error{syscall.EROFS, syscall.EACCES} {
		for _, kind := range []errorfs.OpKind{
			errorfs.OpMkdirAll, errorfs.OpLock, errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileSync,
		} {
			disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind == kind {
					return cause
				}
				return nil
			}))
			mustRefuse(t, New("store", Options{FS: disk}), "cannot be written")
		}
	}
	if os.Getuid() == 0 {
		t.Log("permissions bind no superuser: the part on a real directory says nothing here")
		return
	}
	dir := t.TempDir()
	start(t, dir, Options{}).Close()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, New(dir, Options{}), "cannot be written")
}

func TestOpenFullDisk(t *testing.T) {
	disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite {
			return syscall.ENOSPC
		}
		return nil
	}))
	mustRefuse(t, New("store", Options{FS: disk}), "disk is full")
}

func TestCorruptFiles(t *testing.T) {
	filled := func(t *testing.T) (dir string) {
		dir = t.TempDir()
		l := start(t, dir, Options{})
		for i := range 10 {
			for k := range 20 {
				enginetest.Set(t, l, fmt.Sprintf("d/%d-%d", i, k))
			}
			if err := opened(l).db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		enginetest.Set(t, l, "late")
		l.Close()
		return dir
	}
	t.Run("manifest", func(t *testing.T) {
		dir := filled(t)
		enginetest.Corrupt(t, dir, "MANIFEST-*")
		mustRefuse(t, New(dir, Options{}), "corrupt", "backup")
	})
	t.Run("log", func(t *testing.T) {
		dir := t.TempDir()
		l := start(t, dir, Options{})
		for i := range 200 {
			enginetest.Set(t, l, "d/"+strings.Repeat("x", i+1))
		}
		dir = enginetest.Copy(t, dir)
		enginetest.Corrupt(t, dir, "*.log")
		mustRefuse(t, New(dir, Options{}), "corrupt", "backup")
	})
	t.Run("table", func(t *testing.T) {
		dir := filled(t)
		enginetest.Corrupt(t, dir, "*.sst")
		var logged bytes.Buffer
		l := New(dir, Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		err := l.Start(storage.LayerOptions{})
		if err == nil {
			defer l.Close()
			_, err = l.Load()
		}
		if err == nil || !strings.Contains(err.Error(), "corrupt") || !strings.Contains(err.Error(), dir) {
			t.Errorf("read of a corrupt table: %v", err)
		}
	})
	t.Run("missing table", func(t *testing.T) {
		dir := filled(t)
		files, err := filepath.Glob(dir + "/*.sst")
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, file := range files {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
		l := New(dir, Options{})
		err = l.Start(storage.LayerOptions{})
		if err == nil {
			defer l.Close()
			_, err = l.Load()
		}
		if err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("read without the table: %v", err)
		}
	})
}

func TestSilent(t *testing.T) {
	damaged := func() string {
		dir := t.TempDir()
		l := start(t, dir, Options{})
		enginetest.Set(t, l, "a", "b")
		if err := opened(l).db.Flush(); err != nil {
			t.Fatal(err)
		}
		l.Close()
		enginetest.Corrupt(t, dir, "*.sst")
		return dir
	}
	enginetest.TestSilent(t, damaged, func(dir string) error { return enginetest.UseAll(New(dir, Options{})) })
}
