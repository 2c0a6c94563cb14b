package pebble

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
)

const (
	objectKind = 'o'
	metaKind   = 'm'
	// separator ends the directory in an object's key. It is below every byte of a path.
	separator = 0x00
	// afterSeparator begins right after all children of a directory.
	afterSeparator = separator + 1
	// afterSlash begins right after all directories below one.
	afterSlash = '/' + 1
)

var (
	// firstObject and lastObject bound the objects: [firstObject, lastObject).
	firstObject = []byte{objectKind}
	lastObject  = []byte{objectKind + 1}
	// revisionKey holds the last revision, 8 bytes little-endian.
	revisionKey = []byte{metaKind, 'r', 'e', 'v'}
	// idKey holds what tells the store from others, 8 bytes little-endian.
	idKey = []byte{metaKind, 'i', 'd'}
	// incompleteKey holds why the content is only a part; it is absent when it is whole.
	incompleteKey = []byte{metaKind, 'i', 'n', 'c'}
	// firstKey and lastKey bound all keys.
	firstKey = []byte{0x00}
	lastKey  = []byte{0xff}
)

// keySize is the length of the key of an object.
func keySize(path string) int {
	if strings.IndexByte(path, '/') < 0 {
		return len(path) + 2 // the kind and the separator of an empty directory
	}
	return len(path) + 1 // the kind; the separator stands for the last slash
}

// appendKey appends the key of the object at path.
func appendKey(dst []byte, path string) []byte {
	slash := strings.LastIndexByte(path, '/')
	dst = append(dst, objectKind)
	dst = append(dst, path[:max(slash, 0)]...)
	dst = append(dst, separator)
	return append(dst, path[slash+1:]...)
}

// splitKey returns the directory and the index in an object's key.
func splitKey(raw []byte) (dir, index []byte, ok bool) {
	at := bytes.IndexByte(raw, separator)
	if at < 1 || raw[0] != objectKind {
		return nil, nil, false
	}
	return raw[1:at], raw[at+1:], true
}

// pathOf returns the path whose key is raw. The scratch buffer is returned for reuse.
func pathOf(raw, scratch []byte) (string, []byte, error) {
	dir, index, ok := splitKey(raw)
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

// checkPath accepts what an object can be stored at.
func checkPath(path string) error {
	if key.HasGlob(path) {
		return fmt.Errorf("path %q: %w", path, storage.ErrGlobNotAllowed)
	}
	if !key.IsValid(path) {
		return fmt.Errorf("path %q: %w", path, storage.ErrInvalidPath)
	}
	return nil
}

// checkPattern accepts what GetList takes.
func checkPattern(pattern string) error {
	if !key.IsValid(pattern) {
		return fmt.Errorf("pattern %q: %w", pattern, storage.ErrInvalidPath)
	}
	if !key.HasGlob(pattern) {
		return fmt.Errorf("pattern %q: %w", pattern, storage.ErrInvalidPattern)
	}
	return nil
}
