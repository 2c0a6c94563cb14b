package badger

import (
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// mustRefuse checks that a start fails with all of the texts and the directory.
func mustRefuse(t *testing.T, l *Layer, texts ...string) {
	t.Helper()
	enginetest.MustRefuse(t, l, append(texts, l.dir)...)
}

// foreign makes a database of Badger that is none of this layer.
func foreign(t *testing.T, dir string) {
	t.Helper()
	o := badger.DefaultOptions(dir).WithLogger(nil).WithMemTableSize(1 << 20).WithValueLogFileSize(1 << 20).WithValueThreshold(1 << 10)
	db, err := badger.Open(o)
	if err == nil {
		err = errors.Join(db.Update(func(txn *badger.Txn) error { return txn.Set([]byte("k"), []byte("v")) }), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	in := func(dir string) storage.Layer { return New(dir, small()) }
	enginetest.TestNoDirectory(t, in)
	enginetest.TestFormat(t, in, formatName, lockFile, foreign)
}

func TestOpenInUse(t *testing.T) {
	dir, others := enginetest.OtherNames(t)
	start(t, dir, small())
	for _, name := range append(others, dir) {
		mustRefuse(t, New(name, small()), "in use")
	}
	if err := RotateKey(dir, make([]byte, 16), make([]byte, 16)); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("the key of a store in use: %v", err)
	}
}

// Somebody who uses Badger itself on the directory is noticed too.
func TestOpenInUseByBadger(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, small()).Close()
	s := New(dir, small()).newStore(dir, nil)
	db, err := badger.OpenManaged(s.badgerOptions(nil, 0))
	if err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, New(dir, small()), "in use")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	start(t, dir, small())
}

func TestOpenInUseByAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	hold := func(dir string) { start(t, dir, small()) }
	enginetest.InAnotherProcess(t, dir, hold, func(int) {
		mustRefuse(t, New(dir, small()), "in use by another process")
	})
	start(t, dir, small())
}

// A start that fails ends all that it began.
func TestOpenRefusedHoldsNothing(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, encrypted(small()))
	enginetest.SetAll(t, l, "a")
	if err := l.MarkIncomplete("a copy"); err != nil {
		t.Fatal(err)
	}
	l.Close()
	wrong := encrypted(small())
	wrong.Key = make([]byte, 32)
	before := runtime.NumGoroutine()
	for range 5 {
		for name, o := range map[string]Options{"wrong key": wrong, "no key": small(), "incomplete": encrypted(small())} {
			if err := New(dir, o).Start(storage.LayerOptions{}); err == nil {
				t.Fatalf("%s: the start succeeded", name)
			}
		}
	}
	// Some of Badger's goroutines end a moment after Close.
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines are left of %d before\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

func TestSilent(t *testing.T) {
	damaged := func() string {
		dir := filled(t)
		enginetest.Corrupt(t, dir, "*.sst")
		return dir
	}
	enginetest.TestSilent(t, damaged, func(dir string) error { return enginetest.UseAll(New(dir, small())) })
}

// What Badger tells goes to the logger that was given.
func TestLogger(t *testing.T) {
	var logged strings.Builder
	options := small()
	options.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	l := start(t, t.TempDir(), options)
	enginetest.SetAll(t, l, "a")
	l.Close()
	enginekit.Drain(l.life.Log())
	if !strings.Contains(logged.String(), "level=DEBUG") || strings.Contains(logged.String(), "level=ERROR") {
		t.Errorf("logged is %q", logged.String())
	}
}

// layerOptions are the options of most starts.
var layerOptions storage.LayerOptions
