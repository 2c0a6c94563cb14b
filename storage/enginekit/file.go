package enginekit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// PrepareDir makes a directory with its parents where they are missing, each of them durable by sync,
// which is SyncDir or an engine's own. It returns the directory's one true name, by which a second store
// in this process is noticed.
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

// FindDir returns the one true name of a directory that holds a store which is opened to read only. It makes nothing.
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

// NoStore is the error of a place that holds no store and is opened to read only.
func NoStore(err error) error {
	return fmt.Errorf("there is no store, and none is made where one is opened to read only: %w", err)
}

// MakeDir makes a directory, parents first, and syncs the parent of each that it made. A file in its
// place is an error that says so.
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

// SyncDir puts the entries of a directory on the disk. On Windows, which has no such call, it does
// nothing.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	return FirstError(file.Sync(), file.Close())
}

// ReplaceFile makes or replaces a file by way of one beside it, whose name ends in ".new". After a crash
// there is the new content or the old one; when it returned nil, the new one. The directory is made
// durable by sync, as in PrepareDir.
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

// WriteSynced makes or overwrites a file, whose content is on the disk when it returns.
func WriteSynced(name string, content []byte) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if _, err = file.Write(content); err == nil {
		err = file.Sync()
	}
	return FirstError(err, file.Close())
}

// FormatFile marks a directory as a store. Its one line is the name of a layout and its version.
const FormatFile = "FORMAT"

// FormatLine is the content of a FormatFile.
func FormatLine(name string, version int) string { return fmt.Sprintf("%s %d\n", name, version) }

// CheckFormat accepts the content of a FormatFile that names a layout in a version up to newest. Another
// layout and a newer version are errors that say so.
func CheckFormat(content, name string, newest int) error {
	found, number, _ := strings.Cut(strings.TrimSuffix(content, "\n"), " ")
	version, err := strconv.Atoi(number)
	if found != name || err != nil || version < 1 {
		return fmt.Errorf("its file %s says %q, expected %q: this is no store of this kind",
			FormatFile, content, fmt.Sprint(name, " ", newest))
	}
	if version > newest {
		return fmt.Errorf("the store has format version %d, this build knows up to %d: use a newer build",
			version, newest)
	}
	return nil
}
