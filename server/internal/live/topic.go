package live

import (
	"cmp"
	"slices"
	"strings"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// topicKey identifies a topic: a pattern as seen by an identity.
type topicKey struct {
	pattern string
	viewer  any // nil without View
}

// topic is the state of a pattern and its followers. The hub's mu guards it. Only the hub's goroutine changes the
// state.
type topic struct {
	topicKey
	list     bool // the pattern is a glob
	versions versions
	stats    *counters

	// settled is closed once the topic is live, or has failed with err.
	settled chan struct{}
	err     error
	live    bool
	loaded  bool     // the state of the revision last is there, and waits for the hub to come so far
	early   []commit // commits that the hub saw before that

	objects []*meta.Object // by (Created, Path)
	byPath  map[string]*meta.Object
	last    uint64    // the revision of the last change, or the one of the first state
	state   *snapshot // of last; nil until requested

	members []*member
	changed chan struct{} // closed with the next change; nil if no poll waits
	pending []change      // what the present commit has for the topic
	sweeps  int           // of the keeper that found no member

	asking    chan struct{} // a semaphore for asking the store what has not changed
	unchanged *unchanged    // what it told last, until the next sweep
}

// change is the change of one object by a commit: it was stored, or it was removed, with the reason and the revision
// of the removal, if the viewer could see it.
type change struct {
	object   *meta.Object
	removed  bool
	reason   storage.Reason
	revision uint64
}

// commit contains the changes of a topic's objects by one commit.
type commit struct {
	revision uint64
	changes  []change
}

// member is a connection that follows a topic.
type member struct {
	topic *topic
	conn  *conn
	id    string // in JSON, for our own protocols
	at    int    // in topic.members
}

// enroll adds a member.
func (t *topic) enroll(m *member) {
	m.topic, m.at = t, len(t.members)
	t.members = append(t.members, m)
	t.sweeps = 0
}

// dismiss removes a member.
func (t *topic) dismiss(m *member) {
	last := len(t.members) - 1
	t.members[m.at] = t.members[last]
	t.members[m.at].at = m.at
	t.members[last] = nil
	t.members = t.members[:last]
	if last == 0 {
		t.members = nil
	}
}

func byAge(a, b *meta.Object) int {
	return cmp.Or(cmp.Compare(a.Created, b.Created), strings.Compare(a.Path, b.Path))
}

// fill sets the state.
func (t *topic) fill(objects []*meta.Object, revision uint64) {
	slices.SortFunc(objects, byAge)
	t.objects, t.last, t.state = objects, revision, nil
	t.byPath = make(map[string]*meta.Object, len(objects))
	for _, obj := range objects {
		t.byPath[strings.Clone(obj.Path)] = obj // a key outlives its first object
	}
}

// opKind is the kind of an op.
type opKind uint8

const (
	opRemove opKind = iota
	opAdd
	opReplace
)

// op is a step between two states. Its place is the index in the list, newest first, at the time of the step.
type op struct {
	kind   opKind
	place  int
	object *meta.Object // the new or the removed one
	before *meta.Object // of a replacement
	// Of a removal, as in change.
	reason   storage.Reason
	revision uint64
}

// apply applies a commit to the state and returns the steps, removals first. It also returns removals of objects that
// the state lacks because they had expired when it was read.
func (t *topic) apply(c commit) (ops []op, unknown []change) {
	for _, ch := range c.changes {
		switch {
		case !ch.removed:
		case t.byPath[ch.object.Path] != nil:
			ops = t.remove(ops, ch.object.Path, ch)
		case ch.reason != storage.ReasonNone:
			unknown = append(unknown, ch)
		}
	}
	for _, ch := range c.changes {
		if !ch.removed {
			ops = t.store(ops, ch.object)
		}
	}
	if len(ops) > 0 {
		t.last, t.state = c.revision, nil
		t.notify()
	}
	return ops, unknown
}

// notify wakes the polls that wait for a change.
func (t *topic) notify() {
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

// place returns the index of an object in objects, or where it would be.
func (t *topic) place(obj *meta.Object) int {
	at, _ := slices.BinarySearchFunc(t.objects, obj, byAge)
	return at
}

func (t *topic) remove(ops []op, path string, why change) []op {
	old := t.byPath[path]
	at := t.place(old)
	delete(t.byPath, path)
	ops = append(ops, op{kind: opRemove, place: len(t.objects) - 1 - at, object: old, reason: why.reason, revision: why.revision})
	if at == 0 { // the oldest object, of a list with a limit
		t.objects[0] = nil
		t.objects = t.objects[1:]
	} else {
		t.objects = slices.Delete(t.objects, at, at+1)
	}
	return ops
}

func (t *topic) store(ops []op, obj *meta.Object) []op {
	if old := t.byPath[obj.Path]; old != nil {
		if old.Created == obj.Created {
			at := t.place(old)
			t.objects[at], t.byPath[obj.Path] = obj, obj
			return append(ops, op{kind: opReplace, place: len(t.objects) - 1 - at, object: obj, before: old})
		}
		ops = t.remove(ops, obj.Path, change{})
	}
	at := t.place(obj)
	t.objects = slices.Insert(t.objects, at, obj)
	t.byPath[strings.Clone(obj.Path)] = obj
	return append(ops, op{kind: opAdd, place: len(t.objects) - 1 - at, object: obj})
}

// snapshot is the state of a topic at a revision, newest first. It is immutable.
type snapshot struct {
	objects []*meta.Object
	wire    *frame
	part    *frame // the member "objects" of our own protocols, without the envelope

	caughtUp map[uint64]*frame // results of whatExists by since; guarded by the hub's mu
}

// snapshot returns the state, which is shared until it changes.
func (t *topic) snapshot() *snapshot {
	if t.state != nil {
		return t.state
	}
	s := &snapshot{objects: slices.Clone(t.objects)}
	slices.Reverse(s.objects)
	size := sizeOf(s.objects...)
	version, list := t.versions.of(t.pattern, t.last), t.list
	s.wire = newFrame(t.stats, size, func() [][]byte {
		return wireMessage(true, version, func(dst []byte) []byte { return appendState(dst, list, s.objects) })
	})
	s.part = newFrame(t.stats, size, func() [][]byte {
		part := append([]byte(`"pattern":`), appendText(nil, t.pattern)...)
		return [][]byte{appendArray(append(part, `,"objects":`...), s.objects, appendObject)}
	})
	t.state = s
	return s
}

// appendState appends the state for a subscriber of the older protocol.
func appendState(dst []byte, list bool, objects []*meta.Object) []byte {
	switch {
	case list:
		return appendArray(dst, objects, appendWire)
	case len(objects) == 0:
		return appendWire(dst, nil)
	}
	return appendWire(dst, objects[0])
}

// isList reports whether a pattern is a list and not a single object.
func isList(pattern string) bool { return key.HasGlob(pattern) }
