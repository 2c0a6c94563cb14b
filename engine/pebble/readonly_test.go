package pebble

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
)

func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, Options{})
	enginetest.SetAll(t, l, enginetest.Numbered("a", 1000)...)
	if _, err := l.ID(); err != nil {
		t.Fatal(err)
	}
	l.Close()
	closed := enginetest.Copy(t, dir)
	unlocked := enginetest.Copy(t, dir)
	if err := os.Remove(filepath.Join(unlocked, lockFile)); err != nil {
		t.Fatal(err)
	}
	l = start(t, dir, Options{})
	enginetest.SetAll(t, l, enginetest.Numbered("b", 1000)...)
	killed := enginetest.Copy(t, dir)
	if err := opened(l).db.Delete(idKey, pebble.Sync); err != nil { // as in a store of before there were ids
		t.Fatal(err)
	}
	enginetest.TestReadOnly(t, func(dir string, readOnly bool) enginetest.ReadOnlyLayer {
		return New(dir, Options{ReadOnly: readOnly})
	}, map[string]string{"closed": closed, "killed": killed, "without an id": enginetest.Copy(t, dir), "without a lock": unlocked})
}

// A store that another process writes is not read, and one that another process reads is not written.
func TestReadOnlyInAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, Options{}).Close()
	hold := func(dir string) { start(t, dir, Options{ReadOnly: true}) }
	enginetest.InAnotherProcess(t, dir, hold, func(int) {
		mustRefuse(t, New(dir, Options{}), "in use by another process")
		start(t, dir, Options{ReadOnly: true}).Close()
		mustRefuse(t, New(dir, Options{}), "in use by another process")
	})
	start(t, dir, Options{})
}
