//go:build unix

package enginetest

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/oolith-db/oolith/storage"
)

// oddPaths are valid paths with a special meaning in a file system or a shell.
var oddPaths = []string{"...", "a/..b", "a/...", "CON", "NUL", "etc/passwd", "-rf", ".hidden"}

// TestFiles tests the location and the permissions of a store's files: no file is created outside the given place, no
// file has its name from a path, and permissions follow the umask of the process. The function makes a layer in a
// place. The test must not run in parallel with others.
func TestFiles(t *testing.T, layer func(place string) Layer) {
	for _, mask := range []int{0o022, 0o077} {
		before := syscall.Umask(mask)
		t.Cleanup(func() { syscall.Umask(before) })
		parent := t.TempDir()
		const name = "the-store"
		l := layer(filepath.Join(parent, name))
		for range 2 { // a new store and an existing one
			if err := l.Start(storage.LayerOptions{}); err != nil {
				t.Fatal(err)
			}
			SetAll(t, l, oddPaths...)
			if got := Keys(t, l); len(got) != len(oddPaths) {
				t.Errorf("%d keys, want the %d that were set: %q", len(got), len(oddPaths), got)
			}
			l.Close()
		}
		files := 0
		err := filepath.WalkDir(parent, func(file string, entry fs.DirEntry, err error) error {
			if err != nil || file == parent {
				return err
			}
			inside, err := filepath.Rel(parent, file)
			if err != nil {
				return err
			}
			if !strings.HasPrefix(inside, name) {
				t.Errorf("%s was made beside the store", inside)
			}
			for _, path := range oddPaths {
				if strings.Contains(inside, path) {
					t.Errorf("the file %s has its name from the path %q", inside, path)
				}
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			files++
			if open := info.Mode().Perm() & os.FileMode(mask); open != 0 {
				t.Errorf("%s has the permissions %v, with a umask of %04o", inside, info.Mode(), mask)
			}
			return nil
		})
		if err != nil || files == 0 {
			t.Fatalf("%d files below %s, %v", files, parent, err)
		}
	}
}
