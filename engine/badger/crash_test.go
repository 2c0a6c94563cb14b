package badger

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// copyOf copies the directory of a store as a crash of the process would leave it: what was written
// is in the memory of the operating system. The tables that are being made or removed at this
// moment may be missing.
func copyOf(t testing.TB, dir string) (copied string) {
	t.Helper()
	copied = t.TempDir()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if err := copyFile(filepath.Join(copied, entry.Name()), filepath.Join(dir, entry.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return copied
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
	return firstError(err, file.Truncate(int64(len(content))), file.Close())
}
