package enginekit

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// PrepareDir creates a directory and missing parents. sync makes each of them durable; it is SyncDir or an engine's own
// function. PrepareDir returns the canonical name of the directory, which identifies it if a second store in this
// process opens it.
func PrepareDir(dir string, sync func(dir string) error) (string, error) {
	if dir == "" {
		return "", errors.New("the path of the directory is empty")
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := MakeDir(absolute, sync); err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(absolute)
}

// FindDir returns the canonical name of a directory whose store is opened read-only. It creates nothing.
func FindDir(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("the path of the directory is empty")
	}
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", NoStore(err)
	}
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s is a file, expected a directory", dir)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}

// NoStore is the error for a place without a store that is opened read-only.
func NoStore(err error) error {
	return fmt.Errorf("there is no store, and none is made where one is opened to read only: %w", err)
}

// MakeDir creates a directory, parents first, and syncs the parent of each created one. It returns an error that says
// so if a file is in its place.
func MakeDir(dir string, sync func(dir string) error) error {
	info, err := os.Stat(dir)
	if err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s is a file, expected a directory", dir)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := MakeDir(parent, sync); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return sync(parent)
}

// SyncDir syncs the entries of a directory to the disk. On Windows, which has no such call, it does nothing.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	return cmp.Or(file.Sync(), file.Close())
}

// ReplaceFile creates or replaces a file. It first writes a file next to it, whose name ends in ".new". After a crash
// the file has either the new content or the old one. After ReplaceFile returned nil it has the new one. sync makes the
// directory durable, as in PrepareDir.
func ReplaceFile(name string, content []byte, sync func(dir string) error) error {
	temporary := name + ".new"
	if err := WriteSynced(temporary, content); err != nil {
		return err
	}
	if err := os.Rename(temporary, name); err != nil {
		return err
	}
	return sync(filepath.Dir(name))
}

// WriteSynced creates or overwrites a file. The content is on the disk when it returns.
func WriteSynced(name string, content []byte) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if _, err = file.Write(content); err == nil {
		err = file.Sync()
	}
	return cmp.Or(err, file.Close())
}

// FormatFile marks a directory as a store. Its only line is the name and the version of a layout.
const FormatFile = "FORMAT"

// FormatLine returns the content of a FormatFile.
func FormatLine(name string, version int) string { return fmt.Sprintf("%s %d\n", name, version) }

// CheckFormat accepts the content of a FormatFile with the layout name and a version up to newest. It returns an error
// that says so for another layout or a newer version.
func CheckFormat(content, name string, newest int) error {
	found, number, _ := strings.Cut(strings.TrimSuffix(content, "\n"), " ")
	version, err := strconv.Atoi(number)
	if found != name || err != nil || version < 1 {
		return fmt.Errorf("its file %s says %q, expected %q; this is no store of this kind",
			FormatFile, content, fmt.Sprint(name, " ", newest))
	}
	if version > newest {
		return fmt.Errorf("the store has format version %d, this build knows up to %d; use a newer build",
			version, newest)
	}
	return nil
}
