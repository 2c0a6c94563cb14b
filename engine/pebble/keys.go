package pebble

import (
	"fmt"

	"github.com/oolith-db/oolith/internal/pathkey"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
)

const (
	objectKind = 'o'
	metaKind   = 'm'
)

// objectKeys are the keys of objects.
var objectKeys = pathkey.NewSpace([]byte{objectKind})

var (
	// firstObject and lastObject bound the objects: [firstObject, lastObject).
	firstObject, lastObject = objectKeys.Bounds()
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
