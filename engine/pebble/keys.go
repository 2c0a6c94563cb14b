package pebble

import "github.com/oolith-db/oolith/storage/enginekit"

const (
	objectKind = 'o'
	metaKind   = 'm'
)

// objectKeys are the keys of objects.
var objectKeys = enginekit.NewSpace([]byte{objectKind})

var (
	// firstObject and lastObject are the limits of the objects: [firstObject, lastObject).
	firstObject, lastObject = objectKeys.Bounds()
	// revisionKey holds the last revision, 8 bytes little-endian.
	revisionKey = []byte{metaKind, 'r', 'e', 'v'}
	// idKey holds the identity of the store, 8 bytes little-endian.
	idKey = []byte{metaKind, 'i', 'd'}
	// incompleteKey holds the reason why the content is incomplete; it is absent if the content is complete.
	incompleteKey = []byte{metaKind, 'i', 'n', 'c'}
	// firstKey and lastKey are the limits of all keys.
	firstKey = []byte{0x00}
	lastKey  = []byte{0xff}
)
