package pathtree

import (
	"encoding/json"
	"unsafe"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// Version is one version of an object, with its path and data in one piece of memory (block.go). All fields except cell
// are immutable once it is in a tree. Its size matters, because each write makes one.
//
// Unless it is large, a version has no pointers, so the garbage collector does not look into it. A caller that keeps a
// version, or its path or data, keeps nothing else in memory.
type Version struct {
	created, updated int64
	expires          int64 // Unix nanoseconds; 0 for never
	revision         uint64
	// cell is the version's cell in its directory, which is found by its path. It is 0 after the version was replaced
	// or removed, and before it is in a tree. Clear and Load leave it as it is. Only the writer uses it.
	cell uint

	// The fields below describe where in the block the path and the data are.
	size     uint32 // of the data in bytes; or outside
	pathSize uint16 // or isTurn
	index    uint16 // where the last segment of the path begins
}

// set makes n the version of an object, whose path and data it already has. The version is not shared yet.
func (n *Version) set(obj *meta.Object) {
	n.created, n.updated, n.expires, n.revision = obj.Created, obj.Updated, obj.Expires, obj.Revision
}

// Object returns the object. Its Data is shared and read-only.
func (n *Version) Object() (obj meta.Object) {
	n.CopyTo(&obj)
	return obj
}

// CopyTo is Object without a copy on the way: the processor waits for the fields before it can copy them in larger
// pieces than they were written in.
func (n *Version) CopyTo(obj *meta.Object) {
	obj.Created, obj.Updated, obj.Expires, obj.Revision = n.created, n.updated, n.expires, n.revision
	path := n.Path()
	obj.Path, obj.Index, obj.Data = path, n.indexIn(path), n.Data()
}

// Data returns the data of the object, shared and read-only; nil for none.
func (n *Version) Data() json.RawMessage {
	switch {
	case n.bytes() == 0:
		return nil
	case n.size == outside:
		data := n.large().data
		return unsafe.Slice(unsafe.StringData(data), len(data))
	}
	return unsafe.Slice(n.inside(int(n.pathSize)), n.size)
}

// bytes returns the length of the data.
func (n *Version) bytes() int {
	if n.size == outside {
		return len(n.large().data)
	}
	return int(n.size)
}

// Path returns the path of the object. Keeping it keeps an object of up to a kilobyte in memory.
func (n *Version) Path() string {
	if n.size == outside {
		return n.large().path
	}
	return unsafe.String(n.inside(0), n.pathSize)
}

// Index returns the last segment of the path.
func (n *Version) Index() string { return n.indexIn(n.Path()) }

// indexIn is Index for a version whose path is known.
func (n *Version) indexIn(path string) string {
	if n.size == outside {
		return key.LastIndex(path)
	}
	return path[n.index:]
}

// parent returns the path without its last segment.
func (n *Version) parent() string {
	if n.size == outside {
		return key.Parent(n.large().path)
	}
	return n.Path()[:max(int(n.index), 1)-1]
}

// Created returns when the object was created, in Unix nanoseconds.
func (n *Version) Created() int64 { return n.created }

// Revision returns the revision of the object.
func (n *Version) Revision() uint64 { return n.revision }

// Expires returns when the object ends, in Unix nanoseconds; 0 for never.
func (n *Version) Expires() int64 { return n.expires }

// Expired reports whether the object has ended at a time in Unix nanoseconds.
func (n *Version) Expired(at int64) bool { return n.expires != 0 && n.expires <= at }

// Position returns the object's position in the order of lists.
func (n *Version) Position() Position { return Position{n.created, n.Path()} }

// Plain reports whether n is a version without a time to live and not part of a running change of several keys.
func (n *Version) Plain() bool { return n != nil && n.expires == 0 }

// now returns what readers see of a version in the index, nil for nothing.
func (n *Version) now() *Version {
	if n.turning() {
		return n.turn().now()
	}
	return n
}

// CompareVersions orders versions by Created, ties by Path: the order of all lists.
func CompareVersions(a, b *Version) int {
	return comparePlaces(a.created, a.Path(), b.created, b.Path())
}

// versionOf returns made, as the version of an object, or a new version if made is nil.
func versionOf(made *Version, obj *meta.Object) *Version {
	if made == nil {
		made = newVersion(obj.Path, obj.Data)
	}
	made.set(obj)
	return made
}

// home returns the directory of a version, and creates it if it is missing. It requires Tree.write.
func (s *state) home(n *Version) *directory { return s.directory(n.parent()) }
