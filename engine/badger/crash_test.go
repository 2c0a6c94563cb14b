package badger

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// copyOf copies the directory of a store as a crash of the process would leave it at one moment:
// what was written by then is in the memory of the operating system. No commit may be under way.
// Badger may be making tables meanwhile: the copy is made anew until its files and their list are
// of one moment.
func copyOf(t testing.TB, dir string) (copied string) {
	t.Helper()
	for range 100 {
		copied = t.TempDir()
		before := moment(t, dir)
		err := copyFiles(copied, dir)
		if err == nil && moment(t, dir) == before {
			return copied
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	t.Fatal("the files of the store change all the time")
	return ""
}

// moment is the names of the files of a store and what their list says.
func moment(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(filepath.Join(dir, "MANIFEST"))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(entries, list)
}

func copyFiles(to, from string) error {
	entries, err := os.ReadDir(from)
	for _, entry := range entries {
		err = cmp.Or(err, copyFile(filepath.Join(to, entry.Name()), filepath.Join(from, entry.Name())))
	}
	return err
}

// copyFile copies a file and keeps its holes at the end.
func copyFile(to, from string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	file, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.WriteString(file, strings.TrimRight(string(content), "\x00"))
	return cmp.Or(err, file.Truncate(int64(len(content))), file.Close())
}
