package enginekit

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Begins reports whether a file begins with the bytes of mark. It returns false for a file that is absent, shorter or
// not a regular file.
func Begins(name, mark string) (bool, error) {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || err == nil && !info.Mode().IsRegular() {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	file, err := os.Open(name)
	if err != nil {
		return false, err
	}
	head := make([]byte, len(mark))
	n, err := io.ReadFull(file, head)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return string(head[:n]) == mark, cmp.Or(err, file.Close())
}

// HasFormat reports whether a FormatFile marks a directory with a layout, in any version.
func HasFormat(directory, name string) (bool, error) {
	return Begins(filepath.Join(directory, FormatFile), strings.TrimSuffix(FormatLine(name, 1), "1\n"))
}
