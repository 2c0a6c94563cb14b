package sqlite

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
)

// mustRefuse checks that a start fails with all of the texts and the file.
func mustRefuse(t *testing.T, l *Layer, texts ...string) {
	t.Helper()
	enginetest.MustRefuse(t, l, append(texts, l.file)...)
}

// execute runs SQL on a file, as another program.
func execute(t testing.TB, file string, sql ...string) {
	t.Helper()
	c, err := sqlite3.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sql {
		err = cmp.Or(err, c.Exec(s))
	}
	if err := cmp.Or(err, c.Close()); err != nil {
		t.Fatalf("%q: %v", sql, err)
	}
}

func TestOpenRefusesAndTouchesNothing(t *testing.T) {
	for _, c := range []struct {
		name  string
		make  func(t *testing.T, file string)
		texts []string
	}{
		{"a text", func(t *testing.T, file string) { enginetest.WriteFile(t, file, "text") }, []string{"no SQLite database", "choose another name"}},
		{"a long text", func(t *testing.T, file string) { enginetest.WriteFile(t, file, strings.Repeat("text", 1000)) }, []string{"no SQLite database"}},
		{"a database of someone else", func(t *testing.T, file string) {
			execute(t, file, `CREATE TABLE objects (path TEXT PRIMARY KEY, data TEXT)`)
		}, []string{"SQLite database of another program", "choose another name"}},
		{"a database with a log of someone else", func(t *testing.T, file string) {
			execute(t, file, `PRAGMA application_id = 7; PRAGMA journal_mode = WAL; CREATE TABLE a (b)`)
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			enginetest.WriteFile(t, file+"-wal", string(content)) // whatever is in it
		}, []string{"application_id 7"}},
		{"a directory", func(t *testing.T, file string) {
			if err := os.Mkdir(file, 0o755); err != nil {
				t.Fatal(err)
			}
		}, []string{"is a directory, expected a file"}},
		{"a device", func(t *testing.T, file string) {
			if err := os.Symlink(os.DevNull, file); err != nil {
				t.Fatal(err)
			}
		}, []string{"no regular file"}},
		{"a link to nothing", func(t *testing.T, file string) {
			if err := os.Symlink("nothing", file); err != nil {
				t.Fatal(err)
			}
		}, []string{"symbolic link to nothing, which is not there"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := in(t.TempDir())
			c.make(t, file)
			before := enginetest.Listing(t, filepath.Dir(file))
			mustRefuse(t, New(file, Options{}), c.texts...)
			if after := enginetest.Listing(t, filepath.Dir(file)); after != before {
				t.Errorf("what was refused changed from\n%s to\n%s", before, after)
			}
		})
	}
	t.Run("an empty path", func(t *testing.T) { mustRefuse(t, New("", Options{}), "empty") })
	t.Run("a parent that is a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		enginetest.WriteFile(t, file, "text")
		mustRefuse(t, New(file+"/store.db", Options{}), file)
	})
}

func TestOpenRefusesOtherLayouts(t *testing.T) {
	for _, c := range []struct{ name, sql, text string }{
		{"a newer version", `UPDATE oolith SET value = 2 WHERE name = 'schema'`, "has version 2, this build knows up to 1; use a newer build"},
		{"no version", `DELETE FROM oolith WHERE name = 'schema'`, "says no version"},
		{"a version that is none", `UPDATE oolith SET value = 'one' WHERE name = 'schema'`, `"schema" of the table oolith is "one"`},
		{"a revision that is none", `INSERT INTO oolith VALUES ('revision', 'x')`, `"revision" of the table oolith is "x"`},
		{"no table of objects", `DROP TABLE objects`, "its tables are not those of a store: sqlite3: SQL logic error: no such table: objects"},
		{"no index", `DROP INDEX objects_place`, "no such index: objects_place"},
		{"no table of its own", `DROP TABLE oolith`, "no such table: oolith"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := in(t.TempDir())
			start(t, file, Options{}).Close()
			execute(t, file, c.sql)
			mustRefuse(t, New(file, Options{}), c.text)
		})
	}
}

// What another program may change of a store's settings is set again, and its own tables,
// indexes and views are left alone.
func TestOpenTakesWhatOthersAdd(t *testing.T) {
	file := in(t.TempDir())
	l := start(t, file, Options{})
	enginetest.Set(t, l, "a/1", "a/2")
	l.Close()
	execute(t, file, `PRAGMA journal_mode = DELETE`, `PRAGMA user_version = 9`, `CREATE TABLE mine (x)`,
		`CREATE INDEX by_time ON objects (directory, created)`, `CREATE VIEW names AS SELECT data ->> '$.name' AS name FROM objects`, `VACUUM`)
	l = start(t, file, Options{})
	enginetest.Set(t, l, "a/3")
	if n := enginetest.CheckSound(t, l); n != 3 {
		t.Errorf("the check counts %d objects, expected 3", n)
	}
	l.Close()
	header, _, err := readBeginning(file)
	if err != nil || header[18] != 2 {
		t.Errorf("the file has format %d, %v, expected 2, that with a log", header[18], err)
	}
	execute(t, file, `INSERT INTO mine SELECT name FROM names`)
}

func TestOpenNewPlaces(t *testing.T) {
	t.Run("missing directories", func(t *testing.T) {
		dir := t.TempDir()
		l := start(t, filepath.Join(dir, "not/yet/there", "odd name?%41#&.db"), Options{})
		enginetest.Set(t, l, "a")
		l.Close()
		if _, err := os.Stat(filepath.Join(dir, "not/yet/there/odd name?%41#&.db")); err != nil {
			t.Error(err)
		}
	})
	t.Run("an empty file", func(t *testing.T) {
		file := in(t.TempDir())
		enginetest.WriteFile(t, file, "")
		before := enginetest.Digest(t, filepath.Dir(file))
		mustRefuse(t, New(file, Options{}), "the file is empty", "remove the file")
		if after := enginetest.Digest(t, filepath.Dir(file)); after != before {
			t.Errorf("the files were %s and are %s", before, after)
		}
	})
	t.Run("what a crash left in the making", func(t *testing.T) {
		file := in(t.TempDir())
		enginetest.WriteFile(t, file+newSuffix, "half")
		enginetest.WriteFile(t, file+newSuffix+"-journal", "half")
		l := start(t, file, Options{})
		enginetest.Set(t, l, "a")
		if _, err := os.Stat(file + newSuffix); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("it is still there: %v", err)
		}
	})
	t.Run("only the file and the lock after Close", func(t *testing.T) {
		file := in(t.TempDir())
		l := start(t, file, Options{})
		enginetest.Set(t, l, "a")
		l.Close()
		names, err := filepath.Glob(file + "*")
		if err != nil || len(names) != 2 {
			t.Errorf("there are %q, %v", names, err)
		}
	})
}

func TestOpenInUse(t *testing.T) {
	file := in(t.TempDir())
	start(t, file, Options{})
	link := filepath.Join(t.TempDir(), "link")
	dirLink := filepath.Join(t.TempDir(), "dir")
	if err := errors.Join(os.Symlink(file, link), os.Symlink(filepath.Dir(file), dirLink)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file, filepath.Dir(file) + "/./store.db", link, dirLink + "/store.db"} {
		mustRefuse(t, New(name, Options{}), "in use", fmt.Sprintf("process %d", os.Getpid()))
	}
}

func TestOpenInUseByAnotherProcess(t *testing.T) {
	file := in(t.TempDir())
	hold := func(file string) { enginetest.Set(t, start(t, file, Options{}), "held") }
	enginetest.InAnotherProcess(t, file, hold, func(process int) {
		mustRefuse(t, New(file, Options{}), "in use by another process", fmt.Sprintf("process %d", process))
		// Other programs can read meanwhile.
		if got := query(t, file, `SELECT path FROM objects`); got != "held" {
			t.Errorf("another program reads %q", got)
		}
	})
	if got := enginetest.Keys(t, start(t, file, Options{})); len(got) != 1 {
		t.Errorf("the keys are %q", got)
	}
}

func TestOpenReadOnly(t *testing.T) {
	for _, cause := range []error{syscall.EROFS, syscall.EACCES} {
		d := newDisk(t, func(op diskOp) error { return cause })
		mustRefuse(t, New(in(t.TempDir()), Options{vfs: d.name}), "cannot be written; change its permissions")
	}
	if os.Getuid() == 0 {
		t.Log("permissions bind no superuser: the part on a real directory says nothing here")
		return
	}
	for name, protect := range map[string]func(file string) error{
		"the file":      func(file string) error { return os.Chmod(file, 0o400) },
		"its directory": func(file string) error { return os.Chmod(filepath.Dir(file), 0o500) },
	} {
		t.Run(name, func(t *testing.T) {
			file := in(t.TempDir())
			start(t, file, Options{}).Close()
			if err := errors.Join(os.Remove(file+lockSuffix), protect(file)); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := os.Chmod(filepath.Dir(file), 0o700); err != nil {
					t.Error(err)
				}
			})
			mustRefuse(t, New(file, Options{}), "cannot be written")
		})
	}
}

func TestOpenFullDisk(t *testing.T) {
	d := newDisk(t, func(op diskOp) error {
		if op.kind == "write" {
			return syscall.ENOSPC
		}
		return nil
	})
	mustRefuse(t, New(in(t.TempDir()), Options{vfs: d.name}), "disk is full; make room", "no space left on device")
}

func TestMigrate(t *testing.T) {
	steps := append(migrations[:1:1],
		`ALTER TABLE objects ADD COLUMN second TEXT`,
		`CREATE TABLE third (x); INSERT INTO nowhere VALUES (1)`,
	)
	file := in(t.TempDir())
	l := start(t, file, Options{})
	enginetest.Set(t, l, "a")
	w := opened(l).writer
	err := migrate(w, steps, 1)
	if err == nil || !strings.Contains(err.Error(), "from version 2 to 3") || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("the third step fails with %v", err)
	}
	if version, _, err := w.intNote(noteSchema); err != nil || version != 2 {
		t.Errorf("the version is %d, %v, expected 2", version, err)
	}
	if got := query(t, file, `SELECT path, second IS NULL, (SELECT count(*) FROM sqlite_schema WHERE name = 'third') FROM objects`); got != "a|1|0" {
		t.Errorf("after the second step, and half of the third, there is %s", got)
	}
	if err := migrate(w, steps[:2], 2); err != nil {
		t.Errorf("nothing to do: %v", err)
	}
	l.Close()
	mustRefuse(t, New(file, Options{}), "version 2")
}
