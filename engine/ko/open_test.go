package ko

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/comparer"
	"github.com/syndtr/goleveldb/leveldb/opt"
	ldbstorage "github.com/syndtr/goleveldb/leveldb/storage"

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

func writeFile(t testing.TB, name, content string) {
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
	t.Run("a newer note", func(t *testing.T) {
		dir := t.TempDir()
		start(t, dir, Options{}).Close()
		writeFile(t, filepath.Join(dir, revisionFile), "oolith-ko 2\n")
		mustRefuse(t, New(dir, Options{}), revisionFile, "use a newer build")
	})
	t.Run("a damaged note", func(t *testing.T) {
		dir := t.TempDir()
		start(t, dir, Options{}).Close()
		writeFile(t, filepath.Join(dir, revisionFile), "oolith-ko 1\nrevision 5\n")
		mustRefuse(t, New(dir, Options{}), revisionFile, "restore it from a backup, or remove it")
	})
	t.Run("a database in another order", func(t *testing.T) {
		dir := t.TempDir()
		db, err := leveldb.OpenFile(dir, &opt.Options{Comparer: reversed{comparer.DefaultComparer}})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		mustRefuse(t, New(dir, Options{}), "LevelDB database of other software", "choose an empty or new directory")
		mustRefuse(t, New(dir, Options{Recover: true}), "LevelDB database of other software")
	})
}

type reversed struct{ comparer.Comparer }

func (reversed) Name() string              { return "reversed" }
func (r reversed) Compare(a, b []byte) int { return r.Comparer.Compare(b, a) }

// Directories of other things are refused before anything in them changes, also when a
// recovery is asked for.
func TestOpenRefusesOtherDirectories(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		texts []string
	}{
		{"other files", map[string]string{"letter.txt": "text"}, []string{"letter.txt", "choose an empty or new directory"}},
		{"another engine of ours", map[string]string{
			"FORMAT": "oolith-pebble 1\n", "CURRENT": "MANIFEST-000001\n", "MANIFEST-000001": "x", "000002.sst": "x",
		}, []string{"store of another kind", `"oolith-pebble 1"`}},
		{"a Pebble database", map[string]string{
			"marker.manifest.000001.MANIFEST-000001": "", "MANIFEST-000001": "x", "OPTIONS-000003": "x", "000002.log": "x",
		}, []string{"store of another kind", "OPTIONS-000003"}},
		{"a RocksDB database", map[string]string{
			"CURRENT": "MANIFEST-000001\n", "IDENTITY": "x", "MANIFEST-000001": "x", "000002.log": "x",
		}, []string{"store of another kind", "IDENTITY"}},
		{"a Badger database", map[string]string{
			"MANIFEST": "x", "KEYREGISTRY": "x", "000001.vlog": "x", "00001.mem": "x",
		}, []string{"store of another kind"}},
		{"an SQLite database", map[string]string{"store.db": "SQLite format 3"}, []string{"store.db", "no LevelDB database"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range c.files {
				writeFile(t, filepath.Join(dir, name), content)
			}
			before := listing(t, dir)
			mustRefuse(t, New(dir, Options{}), c.texts...)
			mustRefuse(t, New(dir, Options{Recover: true}), c.texts...)
			if after := listing(t, dir); after != before {
				t.Errorf("the refused directory changed from\n%s to\n%s", before, after)
			}
		})
	}
}

// A database may have stray files in its directory, and a new one what LevelDB or a file system leaves.
func TestOpenAmongStrayFiles(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/LOG", "x")
	if err := os.Mkdir(dir+"/lost+found", 0o755); err != nil {
		t.Fatal(err)
	}
	l := start(t, dir, Options{})
	set(t, l, "a")
	l.Close()
	writeFile(t, dir+"/notes.txt", "x")
	writeFile(t, dir+"/"+revisionFile+".new", "cut short")
	l = start(t, dir, Options{})
	if got := keys(t, l); len(got) != 1 {
		t.Errorf("the keys are %q", got)
	}
}

// listing is the names, sizes and times of a directory's files.
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
		fmt.Fprintln(&b, info.Name(), info.Size(), info.ModTime())
	}
	return b.String()
}

func TestOpenInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	l := start(t, dir, Options{})
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, dir + "/", filepath.Dir(dir) + "/./store", link} {
		mustRefuse(t, New(name, Options{}), "in use")
		mustRefuse(t, New(name, Options{Recover: true}), "in use")
	}
	if _, err := leveldb.OpenFile(dir, nil); err == nil {
		t.Error("the older software opens a store in use")
	}
	set(t, l, "a")
	l.Close()
	o := openOlder(t, dir)
	mustRefuse(t, New(dir, Options{}), "in use")
	o.close()
	start(t, dir, Options{})
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

// A disk that refuses to be written, from the first operation of a kind on.
func TestOpenReadOnly(t *testing.T) {
	for _, cause := range []error{syscall.EROFS, syscall.EACCES} {
		for _, kind := range []string{"create", "write", "sync", "meta"} {
			disk := newMemDisk()
			disk.refuse = func(op operation) error {
				if op.kind == kind {
					return cause
				}
				return nil
			}
			mustRefuse(t, disk.layer(t, Options{}), "cannot be written")
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
	disk := newMemDisk()
	disk.refuse = func(op operation) error {
		if op.kind == "write" {
			return syscall.ENOSPC
		}
		return nil
	}
	mustRefuse(t, disk.layer(t, Options{}), "disk is full")
}

// A process that is killed while it makes a database leaves a part of it, which is no damage.
func TestOpenHalfMade(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		opens bool
	}{
		{"a manifest", map[string]string{"MANIFEST-000000": "x"}, true},
		{"an empty name of it", map[string]string{"MANIFEST-000000": "x", "CURRENT.0": ""}, true},
		{"its name on the way", map[string]string{"MANIFEST-000000": "x", "CURRENT.0": "MANIFEST-000000\n"}, true},
		{"a manifest that lists tables", map[string]string{"MANIFEST-000000": strings.Repeat("x", maxFirstManifest+1)}, false},
		{"a log", map[string]string{"MANIFEST-000000": "x", "000001.log": ""}, false},
		{"a table", map[string]string{"MANIFEST-000000": "x", "000001.ldb": ""}, false},
		{"a table alone", map[string]string{"000001.sst": ""}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range c.files {
				writeFile(t, filepath.Join(dir, name), content)
			}
			if !c.opens {
				mustRefuse(t, New(dir, Options{}), "corrupt")
				for name := range c.files {
					if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
						t.Error(err)
					}
				}
				return
			}
			l := start(t, dir, Options{})
			set(t, l, "a")
		})
	}
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
		if err = New(dir, Options{Recover: true}).Start(storage.LayerOptions{}); err != nil {
			os.Exit(4)
		}
		os.Exit(0)
	}
	dir := t.TempDir()
	l := start(t, dir, Options{})
	set(t, l, "a", "b")
	if err := l.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.Close()
	tables, err := filepath.Glob(dir + "/*.ldb")
	if err != nil || len(tables) == 0 {
		t.Fatal("no tables", err)
	}
	for _, name := range tables {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		content[5] ^= 0x55
		writeFile(t, name, string(content))
	}
	command := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], "-test.run=^TestSilent$")
	command.Env = append(os.Environ(), variable+"="+dir)
	output, err := command.CombinedOutput()
	if err != nil || len(output) > 0 {
		t.Errorf("a process with a corrupt store ended with %v and printed %q", err, output)
	}
}

// LevelDB takes the names of none of our files for its own.
func TestNotesAreNoFilesOfLevelDB(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{revisionFile, incompleteFile, revisionFile + ".new", incompleteFile + ".new"} {
		writeFile(t, filepath.Join(dir, name), "x")
	}
	d, err := openFileDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	list, err := d.List(ldbstorage.TypeAll)
	if err := errors.Join(err, d.Close()); err != nil || len(list) > 0 {
		t.Errorf("LevelDB finds %v, %v", list, err)
	}
}
