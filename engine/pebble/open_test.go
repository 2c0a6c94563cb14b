package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

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
		if l.Active() {
			t.Error("the layer is active after a failed start")
		}
	}
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Run("an empty path", func(t *testing.T) {
		mustRefuse(t, New("", Options{}), "empty")
	})
	t.Run("a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		writeFile(t, file, "text")
		mustRefuse(t, New(file, Options{}), "is a file, expected a directory")
	})
	t.Run("a parent that is a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		writeFile(t, file, "text")
		mustRefuse(t, New(file+"/store", Options{}), file)
	})
	t.Run("a directory of other files", func(t *testing.T) {
		dir := t.TempDir()
		writeFile(t, dir+"/letter.txt", "text")
		mustRefuse(t, New(dir, Options{}), "letter.txt", "choose an empty or new directory")
	})
	t.Run("a database of someone else", func(t *testing.T) {
		dir := t.TempDir()
		db, err := pebble.Open(dir, &pebble.Options{Logger: logger{to: slog.New(slog.DiscardHandler)}})
		if err == nil {
			err = errors.Join(db.Set([]byte("k"), []byte("v"), pebble.Sync), db.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		before := listing(t, dir)
		mustRefuse(t, New(dir, Options{}), "no store of this kind")
		if after := listing(t, dir); after != before {
			t.Errorf("the refused directory changed from\n%s to\n%s", before, after)
		}
	})
	for _, c := range []struct{ name, format, text string }{
		{"a newer format", "oolith-pebble 2\n", "use a newer build"},
		{"another format", "oolith-other 1\n", "oolith-other"},
		{"an empty format", "", "no store of this kind"},
		{"a broken version", "oolith-pebble one\n", "oolith-pebble one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, dir+"/"+enginekit.FormatFile, c.format)
			mustRefuse(t, New(dir, Options{}), c.text)
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
	start(t, dir, Options{})
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, dir + "/", filepath.Dir(dir) + "/./store", link} {
		mustRefuse(t, New(name, Options{}), "in use")
	}
}

// The test runs itself as a second process, which holds the store until its input ends.
func TestOpenInUseByAnotherProcess(t *testing.T) {
	const variable = "OOLITH_TEST_HOLD"
	if dir := os.Getenv(variable); dir != "" {
		start(t, dir, Options{})
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
	mustRefuse(t, New(dir, Options{}), "in use by another process")
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Fatal(err)
	}
	if err := other.Wait(); err != nil {
		t.Fatal(err)
	}
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

// corrupt changes bytes in the middle of the files that match.
func corrupt(t *testing.T, dir, pattern string) {
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
		writeFile(t, name, string(content))
	}
}

func TestCorruptFiles(t *testing.T) {
	filled := func(t *testing.T) (dir string) {
		dir = t.TempDir()
		l := start(t, dir, Options{})
		for i := range 10 {
			for k := range 20 {
				set(t, l, fmt.Sprintf("d/%d-%d", i, k))
			}
			if err := l.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		set(t, l, "late")
		l.Close()
		return dir
	}
	t.Run("manifest", func(t *testing.T) {
		dir := filled(t)
		corrupt(t, dir, "MANIFEST-*")
		mustRefuse(t, New(dir, Options{}), "corrupt", "backup")
	})
	t.Run("log", func(t *testing.T) {
		dir := t.TempDir()
		l := start(t, dir, Options{})
		for i := range 200 {
			set(t, l, "d/"+strings.Repeat("x", i+1))
		}
		l.Close()
		corrupt(t, dir, "*.log")
		mustRefuse(t, New(dir, Options{}), "corrupt", "backup")
	})
	t.Run("table", func(t *testing.T) {
		dir := filled(t)
		corrupt(t, dir, "*.sst")
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

// A store says nothing on the terminal, whatever happens to it.
func TestSilent(t *testing.T) {
	const variable = "OOLITH_TEST_SILENT"
	if dir := os.Getenv(variable); dir != "" {
		l := New(dir, Options{})
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
	dir := t.TempDir()
	l := start(t, dir, Options{})
	set(t, l, "a", "b")
	if err := l.db.Flush(); err != nil {
		t.Fatal(err)
	}
	l.Close()
	corrupt(t, dir, "*.sst")
	command := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], "-test.run=^TestSilent$")
	command.Env = append(os.Environ(), variable+"="+dir)
	output, err := command.CombinedOutput()
	if err != nil || len(output) > 0 {
		t.Errorf("a process with a corrupt store ended with %v and printed %q", err, output)
	}
}

func TestDamage(t *testing.T) {
	var sound []byte
	chunk := func(payload string) {
		body := append([]byte{1}, payload...)
		sum := crc32.Checksum(body, castagnoli)
		sound = binary.LittleEndian.AppendUint32(sound, (sum>>15|sum<<17)+0xa282ead8)
		sound = binary.LittleEndian.AppendUint16(sound, uint16(len(payload)))
		sound = append(sound, body...)
	}
	for range 3 {
		chunk(strings.Repeat("record", 10))
	}
	size := len(sound) / 3
	flipped := func(at int) []byte {
		b := bytes.Clone(sound)
		b[at] ^= 1
		return b
	}
	for _, c := range []struct {
		name    string
		content []byte
		want    int
	}{
		{"nothing", nil, -1},
		{"sound", sound, -1},
		{"cut short", sound[:len(sound)-5], -1},
		{"cut in a header", sound[:2*size+3], -1},
		{"zeros at the end", append(bytes.Clone(sound), make([]byte, 100)...), -1},
		{"the first record", flipped(20), 0},
		{"the second record", flipped(size + 20), size},
		{"the length of the second record", flipped(size + 5), size},
		{"the last record, as a crash may leave it", flipped(2*size + 20), -1},
	} {
		if got := damage(c.content); got != c.want {
			t.Errorf("%s: damage at %d, expected %d", c.name, got, c.want)
		}
	}
}
