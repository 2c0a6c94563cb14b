package enginekit

import (
	"bytes"
	"fmt"
	"strings"
)

const (
	// separator ends the directory in a key. It is below every byte of a path.
	separator = 0x00
	// afterSeparator is the first byte after all children of a directory.
	afterSeparator = separator + 1
	// afterSlash is the first byte after all directories below one.
	afterSlash = '/' + 1
)

// Space maps paths to the keys of an ordered key-value store. A pattern is then answered by reading its matches and
// little else. The key of the object at a path is
//
//	prefix directory 0x00 index
//
// where the directory is all but the last segment of the path, the index is the last one, and the prefix separates the
// engine's objects from its other keys. The direct children of a directory are neighbors. The levels below it are
// elsewhere, because 0x00 sorts before every byte of a path. So keys are in the order of (Parent, Index), both compared
// as bytes, which is the order of storage.Scanner. A [Walk] finds the matches of a pattern.
//
// A Space is immutable and can be shared.
type Space struct {
	prefix, end []byte
}

// NewSpace returns the space of a prefix, which must not be empty and must not consist only of bytes 0xff. Two spaces
// overlap if the prefix of one begins with the prefix of the other.
func NewSpace(prefix []byte) Space {
	return Space{prefix: bytes.Clone(prefix), end: successor(prefix)}
}

// Bounds returns the bounds of all keys: [first, end).
func (s Space) Bounds() (first, end []byte) { return s.prefix, s.end }

// Size returns the length of the key of the object at path.
func (s Space) Size(path string) int {
	if strings.IndexByte(path, '/') < 0 {
		return len(s.prefix) + 1 + len(path) // the separator of an empty directory
	}
	return len(s.prefix) + len(path) // the separator replaces the last slash
}

// Append appends the key of the object at a valid path to dst.
func (s Space) Append(dst []byte, path string) []byte {
	slash := strings.LastIndexByte(path, '/')
	dst = append(dst, s.prefix...)
	dst = append(dst, path[:max(slash, 0)]...)
	dst = append(dst, separator)
	return append(dst, path[slash+1:]...)
}

// Path returns the path of the key raw. It returns the scratch buffer, which may be nil, for reuse.
func (s Space) Path(raw, scratch []byte) (string, []byte, error) {
	dir, index, ok := s.split(raw)
	if !ok {
		return "", scratch, fmt.Errorf("stored key %q is not the key of an object", raw)
	}
	scratch = append(scratch[:0], dir...)
	if len(dir) > 0 {
		scratch = append(scratch, '/')
	}
	scratch = append(scratch, index...)
	return string(scratch), scratch, nil
}

// split returns the directory and the index in a key.
func (s Space) split(raw []byte) (dir, index []byte, ok bool) {
	if !bytes.HasPrefix(raw, s.prefix) {
		return nil, nil, false
	}
	rest := raw[len(s.prefix):]
	at := bytes.IndexByte(rest, separator)
	if at < 0 {
		return nil, nil, false
	}
	return rest[:at], rest[at+1:], true
}

// successor returns the first key after all keys that begin with prefix.
func successor(prefix []byte) []byte {
	after := bytes.TrimRight(prefix, "\xff")
	after = bytes.Clone(after)
	after[len(after)-1]++
	return after
}
