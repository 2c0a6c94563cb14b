package pebble

import "github.com/oolith-db/oolith/storage/enginekit"

const (
	objectKind = 'o'
	metaKind   = 'm'
)

// objectKeys are the keys of objects.
var objectKeys = enginekit.NewSpace([]byte{objectKind})

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
