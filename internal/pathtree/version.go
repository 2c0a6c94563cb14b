package pathtree

import (
	"encoding/json"
	"sync/atomic"
	"unsafe"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// Version is one version of an object, with its path and data in one piece of memory (block.go). All fields except
// extra and entry are immutable once it is in a tree. Its size matters: the garbage collector scans all of them, and
// each write makes one.
//
// A version references neither a directory, which is found by its path, nor a newer version. So a caller that keeps a
// version, or its path or data, keeps nothing else in memory.
type Version struct {
	created, updated int64
	revision         uint64
	// extra is state that few versions have, and only temporarily except for a time to live; nil mostly.
	extra atomic.Pointer[extra]
	// entry is nil after the version was replaced or removed, and before it is in a tree. Only the writer uses it.
	entry *entry

	// The fields below describe where in the block the path and the data are.
	size     uint32 // of the data in bytes; or outside
	pathSize uint16
	index    uint16 // where the last segment of the path begins
}

// extra is the end of a version's time to live, and its state in a running change of several keys. It is immutable.
type extra struct {
	expires int64 // Unix nanoseconds; 0 for never
	// turn is nil unless a change of several keys is in progress.
	turn *turn
}

// set makes n the version of an object, whose path and data it already has. The version is not shared yet.
func (n *Version) set(obj *meta.Object, place *entry) {
	n.created, n.updated, n.revision, n.entry = obj.Created, obj.Updated, obj.Revision, place
	if obj.Expires != 0 {
		n.extra.Store(&extra{expires: obj.Expires})
	}
}

// place makes n the version of an object, with a new entry.
func (n *Version) place(obj *meta.Object) {
	place := &entry{created: obj.Created, node: n}
	n.set(obj, place)
}

// Object returns the object. Its Data is shared and read-only.
func (n *Version) Object() meta.Object {
	return meta.Object{
		Created: n.created, Updated: n.updated, Index: n.Index(), Path: n.Path(),
		Data: n.Data(), Revision: n.revision, Expires: n.Expires(),
	}
}

// PlainObject is Object for a version that is Plain.
func (n *Version) PlainObject() meta.Object {
	return meta.Object{
		Created: n.created, Updated: n.updated, Index: n.Index(), Path: n.Path(), Data: n.Data(), Revision: n.revision,
	}
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
func (n *Version) Index() string {
	if n.size == outside {
		return key.LastIndex(n.large().path)
	}
	return n.Path()[n.index:]
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
func (n *Version) Expires() int64 {
	if e := n.extra.Load(); e != nil {
		return e.expires
	}
	return 0
}

// Expired reports whether the object has ended at a time in Unix nanoseconds.
func (n *Version) Expired(at int64) bool {
	end := n.Expires()
	return end != 0 && end <= at
}

// Position returns the object's position in the order of lists.
func (n *Version) Position() Position { return Position{n.created, n.Path()} }

// Plain reports whether n is a version without a time to live and not part of a running change of several keys.
func (n *Version) Plain() bool { return n != nil && n.extra.Load() == nil }

// now returns what readers see of a version in the index, nil for nothing.
func (n *Version) now() *Version {
	if e := n.extra.Load(); e != nil && e.turn != nil {
		return e.turn.now()
	}
	return n
}

// turning reports whether a change of several keys is in progress.
func (n *Version) turning() bool {
	e := n.extra.Load()
	return e != nil && e.turn != nil
}

// setTurn sets the state of the version in a change of several keys, or removes it with nil.
func (n *Version) setTurn(t *turn) {
	expires := n.Expires()
	if expires == 0 && t == nil {
		n.extra.Store(nil)
		return
	}
	n.extra.Store(&extra{expires, t})
}

// CompareVersions orders versions by Created, ties by Path: the order of all lists.
func CompareVersions(a, b *Version) int {
	return comparePlaces(a.created, a.Path(), b.created, b.Path())
}

// entry is the stable entry of a key in its directory. It does not change when the key is overwritten, so an overwrite
// does not change the tree.
type entry struct {
	created int64
	// node is the current version, guarded by the directory's mu.
	node *Version
}

// succeed makes n the version of an object, whose path and data it already has. It replaces old, or is new if old is
// nil. It requires Tree.write.
func (n *Version) succeed(old *Version, obj *meta.Object) {
	if old == nil || obj.Created != old.created {
		n.place(obj)
		return
	}
	n.set(obj, old.entry)
}

// versionOf returns made, as the version of an object, or a new version if made is nil.
func versionOf(made *Version, obj *meta.Object) *Version {
	if made == nil {
		made = newVersion(obj.Path, obj.Data)
	}
	return made
}

// home returns the directory of a version, and creates it if it is missing. It requires Tree.write.
func (s *state) home(n *Version) *directory { return s.directory(n.parent()) }
