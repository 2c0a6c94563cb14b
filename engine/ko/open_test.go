package ko

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/comparer"
	"github.com/syndtr/goleveldb/leveldb/opt"
	ldbstorage "github.com/syndtr/goleveldb/leveldb/storage"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/storage"
)

// mustRefuse checks that a start fails with all of the texts and the directory.
func mustRefuse(t *testing.T, l *Layer, texts ...string) {
	t.Helper()
	enginetest.MustRefuse(t, l, append(texts, l.dir)...)
}

func TestOpenRefuses(t *testing.T) {
	enginetest.TestNoDirectory(t, func(dir string) storage.Layer { return New(dir, Options{}) })
	t.Run("a newer note", func(t *testing.T) {
		dir := t.TempDir()
		start(t, dir, Options{}).Close()
		enginetest.WriteFile(t, filepath.Join(dir, revisionFile), "oolith-ko 2\n")
		mustRefuse(t, New(dir, Options{}), revisionFile, "use a newer build")
	})
	t.Run("a damaged note", func(t *testing.T) {
		dir := t.TempDir()
		start(t, dir, Options{}).Close()
		enginetest.WriteFile(t, filepath.Join(dir, revisionFile), "oolith-ko 1\nrevision 5\n")
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
				enginetest.WriteFile(t, filepath.Join(dir, name), content)
			}
			before := enginetest.Listing(t, dir)
			mustRefuse(t, New(dir, Options{}), c.texts...)
			mustRefuse(t, New(dir, Options{Recover: true}), c.texts...)
			if after := enginetest.Listing(t, dir); after != before {
				t.Errorf("the refused directory changed from\n%s to\n%s", before, after)
			}
		})
	}
}

// A database may have stray files in its directory, and a new one what LevelDB or a file system leaves.
func TestOpenAmongStrayFiles(t *testing.T) {
	dir := t.TempDir()
	enginetest.WriteFile(t, dir+"/LOG", "x")
	if err := os.Mkdir(dir+"/lost+found", 0o755); err != nil {
		t.Fatal(err)
	}
	l := start(t, dir, Options{})
	enginetest.Set(t, l, "a")
	l.Close()
	enginetest.WriteFile(t, dir+"/notes.txt", "x")
	enginetest.WriteFile(t, dir+"/"+revisionFile+".new", "cut short")
	l = start(t, dir, Options{})
	if got := enginetest.Keys(t, l); len(got) != 1 {
		t.Errorf("the keys are %q", got)
	}
}

func TestOpenInUse(t *testing.T) {
	dir, others := enginetest.OtherNames(t)
	l := start(t, dir, Options{})
	for _, name := range append(others, dir) {
		mustRefuse(t, New(name, Options{}), "in use")
		mustRefuse(t, New(name, Options{Recover: true}), "in use")
	}
	if _, err := leveldb.OpenFile(dir, nil); err == nil {
		t.Error("the older software opens a store in use")
	}
	enginetest.Set(t, l, "a")
	l.Close()
	o := openOlder(t, dir)
	mustRefuse(t, New(dir, Options{}), "in use")
	o.close()
	start(t, dir, Options{})
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
				enginetest.WriteFile(t, filepath.Join(dir, name), content)
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
			enginetest.Set(t, l, "a")
		})
	}
}

func TestSilent(t *testing.T) {
	damaged := func() string {
		dir := t.TempDir()
		l := start(t, dir, Options{})
		enginetest.Set(t, l, "a", "b")
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
			enginetest.WriteFile(t, name, string(content))
		}
		return dir
	}
	enginetest.TestSilent(t, damaged, func(dir string) error {
		err := enginetest.UseAll(New(dir, Options{}))
		if New(dir, Options{Recover: true}).Start(storage.LayerOptions{}) != nil {
			os.Exit(4)
		}
		return err
	})
}

// LevelDB takes the names of none of our files for its own.
func TestNotesAreNoFilesOfLevelDB(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{revisionFile, incompleteFile, revisionFile + ".new", incompleteFile + ".new"} {
		enginetest.WriteFile(t, filepath.Join(dir, name), "x")
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
