package badger

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/engine/internal/enginekit"
	"github.com/oolith-db/oolith/storage"
)

// mustRefuse checks that a start fails with all of the texts, twice, so that the first
// held nothing.
func mustRefuse(t *testing.T, l *Layer, texts ...string) {
	t.Helper()
	for range 2 {
		err := l.Start(storage.LayerOptions{})
		if err == nil {
			l.Close()
			t.Fatal("the start succeeded")
		}
		for _, text := range append(texts, l.dir) {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("the error is %q, expected %q in it", err, text)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("the error has several lines: %q", err)
		}
		if l.Active() {
			t.Error("the layer is active after a failed start")
		}
	}
}

func writeFile(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
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
	t.Run("an empty path", func(t *testing.T) {
		mustRefuse(t, New("", small()), "empty")
	})
	t.Run("a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		writeFile(t, file, "text")
		mustRefuse(t, New(file, small()), "is a file, expected a directory")
	})
	t.Run("a parent that is a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		writeFile(t, file, "text")
		mustRefuse(t, New(file+"/store", small()), file)
	})
	t.Run("a directory of other files", func(t *testing.T) {
		dir := t.TempDir()
		writeFile(t, dir+"/letter.txt", "text")
		mustRefuse(t, New(dir, small()), "letter.txt", "choose an empty or new directory")
	})
	t.Run("a database of someone else", func(t *testing.T) {
		dir := t.TempDir()
		foreign(t, dir)
		before := listing(t, dir)
		mustRefuse(t, New(dir, small()), "no store of this kind")
		if after := listing(t, dir); after != before {
			t.Errorf("the refused directory changed from\n%s to\n%s", before, after)
		}
	})
	for _, c := range []struct{ name, format, text string }{
		{"a newer format", "oolith-badger 2\n", "use a newer build"},
		{"another format", "oolith-pebble 1\n", "oolith-pebble"},
		{"an empty format", "", "no store of this kind"},
		{"a broken version", "oolith-badger one\n", "oolith-badger one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, dir+"/"+enginekit.FormatFile, c.format)
			mustRefuse(t, New(dir, small()), c.text)
		})
	}
}

// listing is the names and times of a directory's files, but for the lock, which a
// start takes.
func listing(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Name() != lockFile {
			fmt.Fprintln(&b, info.Name(), info.Size(), info.ModTime())
		}
	}
	return b.String()
}

func TestOpenInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	start(t, dir, small())
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, dir + "/", filepath.Dir(dir) + "/./store", link} {
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
	s := newStore(dir, small().withDefaults(), nil)
	defer s.stop()
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

// The test runs itself as a second process, which holds the store until its input ends.
func TestOpenInUseByAnotherProcess(t *testing.T) {
	const variable = "OOLITH_TEST_HOLD"
	if dir := os.Getenv(variable); dir != "" {
		start(t, dir, small())
		os.Stdout.WriteString("held\n")
		io.Copy(io.Discard, os.Stdin)
		return
	}
	dir := t.TempDir()
	other := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOpenInUseByAnotherProcess$")
	other.Env = append(os.Environ(), variable+"="+dir)
	in, inErr := other.StdinPipe()
	out, outErr := other.StdoutPipe()
	if err := errors.Join(inErr, outErr, other.Start()); err != nil {
		t.Fatal(err)
	}
	held := make([]byte, len("held\n"))
	if _, err := io.ReadFull(out, held); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, New(dir, small()), "in use by another process")
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Fatal(err)
	}
	if err := other.Wait(); err != nil {
		t.Fatal(err)
	}
	start(t, dir, small())
}

// A start that fails ends all that it began.
func TestOpenRefusedHoldsNothing(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, encrypted(small()))
	set(t, l, "a")
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

// A store says nothing on the terminal, whatever happens to it.
func TestSilent(t *testing.T) {
	const variable = "OOLITH_TEST_SILENT"
	if dir := os.Getenv(variable); dir != "" {
		l := New(dir, small())
		err := l.Start(storage.LayerOptions{})
		if err == nil {
			_, err = l.Load()
			l.Clear()
			l.Close()
		}
		if err == nil {
			os.Exit(3)
		}
		os.Exit(0)
	}
	dir := filled(t)
	corrupt(t, dir, "*.sst")
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSilent$")
	command.Env = append(os.Environ(), variable+"="+dir)
	output, err := command.CombinedOutput()
	if err != nil || len(output) > 0 {
		t.Errorf("a process with a corrupt store ended with %v and printed %q", err, output)
	}
}

// What Badger tells goes to the logger that was given.
func TestLogger(t *testing.T) {
	var logged strings.Builder
	options := small()
	options.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	l := start(t, t.TempDir(), options)
	set(t, l, "a")
	l.Close()
	if !strings.Contains(logged.String(), "level=DEBUG") || strings.Contains(logged.String(), "level=ERROR") {
		t.Errorf("logged is %q", logged.String())
	}
}

// layerOptions are the options of most starts.
var layerOptions storage.LayerOptions
