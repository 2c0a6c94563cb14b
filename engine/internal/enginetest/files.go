package enginetest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Copy copies the files of a directory into a new one. For an open store, these are the files that it leaves when its
// process is killed: the copy starts over if the store's own upkeep removes a file during the copy.
func Copy(t testing.TB, dir string) (copied string) {
	t.Helper()
	for {
		copied = filepath.Join(t.TempDir(), "store")
		err := os.CopyFS(copied, os.DirFS(dir))
		if err == nil {
			return copied
		}
		if _, gone := os.Stat(dir); gone != nil || !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// Digest returns the names of a directory's files with a hash of each content; empty if the directory does not exist.
func Digest(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %d %x\n", entry.Name(), len(content), sha256.Sum256(content))
	}
	return b.String()
}

// Edit changes the content of a file.
func Edit(t testing.TB, name string, edit func(content []byte) []byte) {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	WriteFile(t, name, string(edit(content)))
}
