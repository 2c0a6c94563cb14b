package pathtree

import (
	"encoding/json"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/oolith-db/oolith/meta"
)

// Version is one version of an object: what it says, in 80 bytes instead of the 88 of a meta.Object alone. All but extra
// and entry is immutable. A million of them are what the garbage collector has to look at, and each write makes one.
//
// Nothing here leads to a directory, which is found by its path, nor from an old version to a newer one: whoever keeps
// a version keeps nothing but it.
type Version struct {
	path string
	// data is the object's data, which shares the memory of the slice that it was stored as.
	data             string
	created, updated int64
	revision         uint64
	// extra is what few versions have, and none of them for long but a time to live; nil mostly.
	extra atomic.Pointer[extra]
	index uint16 // where the last segment of path begins; a path has at most 1,024 bytes
	// entry is nil once the version is replaced or removed. Only the writer uses it.
	entry *entry
}

// extra is the end of a version's time to live, and its part in a change of several keys that is under way. It is
// immutable.
type extra struct {
	expires int64 // Unix nanoseconds; 0 for never
	// turn is nil while no change of several keys is under way.
	turn *turn
}

// newVersion makes the version of an object that has a place, and keeps its Path and Data.
func newVersion(obj *meta.Object, place *entry) *Version {
	n := &Version{
		path: obj.Path, data: unsafe.String(unsafe.SliceData(obj.Data), len(obj.Data)),
		created: obj.Created, updated: obj.Updated, revision: obj.Revision,
		entry: place, index: uint16(strings.LastIndexByte(obj.Path, '/') + 1),
	}
	if obj.Expires != 0 {
		n.extra.Store(&extra{expires: obj.Expires})
	}
	return n
}

// placed makes the version of an object with a place of its own.
func placed(obj *meta.Object) *Version {
	place := &entry{created: obj.Created}
	place.node = newVersion(obj, place)
	return place.node
}

// Object returns the object. Its Data is shared and read-only.
func (n *Version) Object() meta.Object {
	return meta.Object{
		Created: n.created, Updated: n.updated, Index: n.path[n.index:], Path: n.path,
		Data: n.Data(), Revision: n.revision, Expires: n.Expires(),
	}
}

// PlainObject is Object of a version that is Plain.
func (n *Version) PlainObject() meta.Object {
	return meta.Object{
		Created: n.created, Updated: n.updated, Index: n.path[n.index:], Path: n.path, Data: n.Data(), Revision: n.revision,
	}
}

// Data returns the data of the object, shared and read-only; nil for none.
func (n *Version) Data() json.RawMessage {
	if n.data == "" {
		return nil
	}
	return unsafe.Slice(unsafe.StringData(n.data), len(n.data))
}

// Path returns the path of the object.
func (n *Version) Path() string { return n.path }

// Index returns the last segment of the path.
func (n *Version) Index() string { return n.path[n.index:] }

// parent returns the path without its last segment.
func (n *Version) parent() string { return n.path[:max(int(n.index), 1)-1] }

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

// Position returns the object's place in the order of lists.
func (n *Version) Position() Position { return Position{n.created, n.path} }

// Plain reports whether there is a version that has no time to live and no change of several keys under way.
func (n *Version) Plain() bool { return n != nil && n.extra.Load() == nil }

// now returns what readers see of a version that is in the index, nil for nothing.
func (n *Version) now() *Version {
	if e := n.extra.Load(); e != nil && e.turn != nil {
		return e.turn.now()
	}
	return n
}

// turning reports whether a change of several keys is under way.
func (n *Version) turning() bool {
	e := n.extra.Load()
	return e != nil && e.turn != nil
}

// setTurn begins or, with nil, ends the part of the version in a change of several keys.
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
	return comparePlaces(a.created, a.path, b.created, b.path)
}

// entry is the stable place of a key in its directory. It stays the same while the
// key is overwritten, so that no overwrite costs a change of the tree.
type entry struct {
	created int64
	// node is the current version, guarded by the directory's mu.
	node *Version
}

// successor makes the version of an object that is to take the place of old, or that is new
// where old is nil. It needs Tree.write.
func successor(old *Version, obj *meta.Object) *Version {
	if old == nil {
		// The caller's path may be a piece of something larger: keep a copy.
		copied := *obj
		copied.Path = strings.Clone(obj.Path)
		return placed(&copied)
	}
	place := old.entry
	if obj.Created != old.created {
		place = &entry{created: obj.Created}
	}
	n := newVersion(obj, place)
	n.path, n.index = old.path, old.index
	if place != old.entry {
		place.node = n
	}
	return n
}

// home returns the directory of a version, made where it is missing. It needs Tree.write.
func (s *state) home(n *Version) *directory { return s.directory(n.parent()) }
