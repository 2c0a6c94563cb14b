package enginetest

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// MustRefuse checks that a start fails with a one-line error that contains all of the texts. It starts twice, to
// check that the first attempt held nothing.
func MustRefuse(t testing.TB, l storage.Layer, texts ...string) {
	t.Helper()
	for range 2 {
		err := l.Start(storage.LayerOptions{})
		if err == nil {
			l.Close()
			t.Fatal("the start succeeded")
		}
		for _, text := range texts {
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

// TestNoDirectory tests that an engine that stores in a directory rejects a place that cannot be one, with its path.
func TestNoDirectory(t *testing.T, in func(dir string) storage.Layer) {
	t.Run("an empty path", func(t *testing.T) {
		MustRefuse(t, in(""), "empty")
	})
	file := filepath.Join(t.TempDir(), "file")
	WriteFile(t, file, "text")
	t.Run("a file", func(t *testing.T) {
		MustRefuse(t, in(file), file, "is a file, expected a directory")
	})
	t.Run("a parent that is a file", func(t *testing.T) {
		MustRefuse(t, in(file+"/store"), file)
	})
}

// TestFormat tests that an engine with a format file rejects directories of something else, and leaves them unchanged
// except for its lock. A foreign directory is one of the engine's database as others use it.
func TestFormat(t *testing.T, in func(dir string) storage.Layer, format, lock string, foreign func(t *testing.T, dir string)) {
	t.Run("a directory of other files", func(t *testing.T) {
		dir := t.TempDir()
		WriteFile(t, dir+"/letter.txt", "text")
		MustRefuse(t, in(dir), dir, "letter.txt", "choose an empty or new directory")
	})
	t.Run("a database of someone else", func(t *testing.T) {
		dir := t.TempDir()
		foreign(t, dir)
		before := Listing(t, dir, lock)
		MustRefuse(t, in(dir), dir, "no store of this kind")
		if after := Listing(t, dir, lock); after != before {
			t.Errorf("the refused directory changed from\n%s to\n%s", before, after)
		}
	})
	for _, c := range []struct{ name, content, text string }{
		{"a newer format", format + " 99\n", "use a newer build"},
		{"another format", "oolith-other 1\n", "oolith-other"},
		{"an empty format", "", "no store of this kind"},
		{"a broken version", format + " one\n", format + " one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			WriteFile(t, filepath.Join(dir, enginekit.FormatFile), c.content)
			MustRefuse(t, in(dir), dir, c.text)
		})
	}
}

// OtherNames returns a directory that does not exist yet, and other names that lead to it, one of them a link.
func OtherNames(t testing.TB) (dir string, others []string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "store")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	return dir, []string{dir + "/", filepath.Dir(dir) + "/./store", link}
}

// The variables by which a test that runs itself as another process recognizes that process.
const (
	heldVariable   = "OOLITH_TEST_HOLD"
	silentVariable = "OOLITH_TEST_SILENT"
)

// InAnotherProcess runs the test, which must not be a subtest, once more as another process. There hold is called
// with the place, and what it started stays open. Meanwhile, during is called in this process with the id of the
// other process, which has ended when InAnotherProcess returns.
func InAnotherProcess(t *testing.T, place string, hold func(place string), during func(process int)) {
	t.Helper()
	if place := os.Getenv(heldVariable); place != "" {
		hold(place)
		os.Stdout.WriteString("held\n")
		io.Copy(io.Discard, os.Stdin)
		t.SkipNow() // closes everything that is open
	}
	other := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	other.Env = append(os.Environ(), heldVariable+"="+place)
	in, inErr := other.StdinPipe()
	out, outErr := other.StdoutPipe()
	if err := errors.Join(inErr, outErr, other.Start()); err != nil {
		t.Fatal(err)
	}
	held := make([]byte, len("held\n"))
	if _, err := io.ReadFull(out, held); err != nil {
		t.Fatal(err)
	}
	during(other.Process.Pid)
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Fatal(err)
	}
	if err := other.Wait(); err != nil {
		t.Fatal(err)
	}
}

// TestSilent tests that a store never writes to the terminal. The test, which must not be a subtest, runs itself as
// another process, which uses the store that damaged has made and must get an error.
func TestSilent(t *testing.T, damaged func() (place string), use func(place string) error) {
	if place := os.Getenv(silentVariable); place != "" {
		if use(place) == nil {
			os.Exit(3)
		}
		os.Exit(0)
	}
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	command.Env = append(os.Environ(), silentVariable+"="+damaged())
	output, err := command.CombinedOutput()
	if err != nil || len(output) > 0 {
		t.Errorf("a process with a corrupt store ended with %v and printed %q", err, output)
	}
}

// UseAll starts a layer, reads and clears it and closes it. It returns the error of the start or of the read.
func UseAll(l storage.EmbeddedLayer) error {
	if err := l.Start(storage.LayerOptions{}); err != nil {
		return err
	}
	_, err := l.Load()
	l.Clear()
	l.Close()
	return err
}
