package ko

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
)

func TestReadOnly(t *testing.T) {
	dir := several(t)
	closed := enginetest.Copy(t, dir)
	unlocked := enginetest.Copy(t, dir)
	if err := os.Remove(filepath.Join(unlocked, "LOCK")); err != nil {
		t.Fatal(err)
	}
	l := start(t, dir, Options{})
	enginetest.SetAll(t, l, enginetest.Numbered("last", 100)...)
	enginetest.TestReadOnly(t, func(dir string, readOnly bool) enginetest.ReadOnlyLayer {
		return New(dir, Options{ReadOnly: readOnly})
	}, map[string]string{"closed": closed, "killed": enginetest.Copy(t, dir), "without a lock": unlocked})
}

func TestReadOnlyRecovers(t *testing.T) {
	mustRefuse(t, New(several(t), Options{ReadOnly: true, Recover: true}), "one of the two")
}
