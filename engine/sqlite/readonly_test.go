package sqlite

import (
	"os"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
)

func TestReadOnly(t *testing.T) {
	enginetest.TestReadOnly(t, func(dir string, readOnly bool) enginetest.ReadOnlyLayer {
		return New(in(dir), Options{ReadOnly: readOnly})
	}, nil)
}

// A transaction of another program that was cut off is for one who writes to take back.
func TestReadOnlyWithAJournal(t *testing.T) {
	file := in(t.TempDir())
	start(t, file, Options{}).Close()
	enginetest.WriteFile(t, file+journalSuffix, "half")
	mustRefuse(t, New(file, Options{ReadOnly: true}), journalSuffix, "open the file once to write")
}

func TestLostFiles(t *testing.T) {
	layer := func(dir string) enginetest.Layer { return New(in(dir), Options{}) }
	for name, killed := range map[string]bool{"closed": false, "killed": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := start(t, in(dir), Options{})
			enginetest.SetAll(t, l, enginetest.Numbered("d", 300)...)
			if killed {
				dir = enginetest.Copy(t, dir)
			} else {
				l.Close()
			}
			enginetest.TestLostFiles(t, dir, layer, func(how, kind string) bool {
				// Who removes the file begins anew; the lock stays beside it.
				return !killed && how == "removed" && strings.HasSuffix(kind, mainFile)
			})
		})
	}
}

// What is left of a database without its file is no place for a new one.
func TestLostFile(t *testing.T) {
	for _, suffix := range []string{logSuffix, indexSuffix, journalSuffix} {
		file := in(t.TempDir())
		enginetest.WriteFile(t, file+suffix, "something")
		mustRefuse(t, New(file, Options{}), "the file is missing", file+suffix)
		if _, err := os.Stat(file); !os.IsNotExist(err) {
			t.Errorf("beside %s a file was made: %v", suffix, err)
		}
	}
}
