package ko

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
)

// several is a closed store in a directory with tables, and some records in its log.
func several(t *testing.T) (dir string) {
	dir = t.TempDir()
	l := start(t, dir, Options{WriteBuffer: 16 << 10})
	for _, part := range []string{"a", "b", "c"} {
		enginetest.SetAll(t, l, enginetest.Numbered(part, 300)...)
	}
	if err := l.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	enginetest.SetAll(t, l, enginetest.Numbered("late", 100)...)
	l.Close()
	return dir
}

func TestLostFiles(t *testing.T) {
	in := func(dir string) enginetest.Layer { return New(dir, Options{}) }
	dir := several(t)
	t.Run("closed", func(t *testing.T) {
		enginetest.TestLostFiles(t, dir, in, func(how, name string) bool {
			// Without its note it is a store that was not closed, or one of other software.
			return strings.Contains(name, revisionFile) && how != "removed"
		})
	})
	l := start(t, dir, Options{})
	enginetest.SetAll(t, l, enginetest.Numbered("last", 100)...)
	killed := enginetest.Copy(t, dir)
	t.Run("killed", func(t *testing.T) {
		enginetest.TestLostFiles(t, killed, in, func(how, name string) bool {
			// A crash may leave the like; and the inside of tables is read when the log is in a table of its own.
			return how != "removed" && strings.HasSuffix(name, ".log") || how == "zeroed" && strings.HasSuffix(name, ".ldb")
		})
	})
}

// A store is what its notes say it was, also where all files of LevelDB are gone.
func TestDatabaseLostBesideItsNotes(t *testing.T) {
	dir := several(t)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.Name() != revisionFile {
			if err := os.Remove(filepath.Join(dir, entry.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := enginetest.Digest(t, dir)
	mustRefuse(t, New(dir, Options{}), revisionFile, "missing", "backup")
	if after := enginetest.Digest(t, dir); after != before {
		t.Errorf("the files were\n%s and are\n%s", before, after)
	}
}

// What was in the log when the store was closed is not lost in silence when it is cut short afterwards.
func TestClosedLogCutShort(t *testing.T) {
	dir := several(t)
	logs, err := filepath.Glob(dir + "/*.log")
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	enginetest.Edit(t, logs[len(logs)-1], func(content []byte) []byte { return content[:len(content)-1] })
	mustRefuse(t, New(dir, Options{}), "not as it was when the store was closed", "recover=on")
	l := start(t, dir, Options{Recover: true})
	if l.Recovery() == nil || len(enginetest.Keys(t, l)) != 900 {
		t.Errorf("the recovery is %+v and left %d keys", l.Recovery(), len(enginetest.Keys(t, l)))
	}
}

// The older software may open the store in between: that changes everything, and is no damage.
func TestClosedLogTouchedByOthers(t *testing.T) {
	dir := several(t)
	o := openOlder(t, dir)
	o.close()
	if n := len(enginetest.Keys(t, start(t, dir, Options{}))); n != 1000 {
		t.Errorf("%d objects are there, want 1000", n)
	}
}
