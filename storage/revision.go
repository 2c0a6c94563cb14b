package storage

import (
	"errors"
	"log/slog"
	"math/bits"
	"slices"
	"time"

	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/meta"
)

// Where revisions begin, and those of objects that come without one: from software that knows none, or from who
// filled a layer by its plain interface. Every object that a store returns has one, for who changes it
// on a condition.

// Revision returns the revision of the last commit that readers see: every read that begins now sees each change up to it.
// So what was read after it can be followed by a subscription with it as SubscribeOptions.From without a gap. It is 0 for a store that is not
// active. It takes no lock, and may be called from any goroutine.
func (l *Layered) Revision() uint64 {
	if r := l.run.Load(); r != nil {
		return r.visible()
	}
	return 0
}

// visible is the revision of the last commit that readers see.
func (r *run) visible() uint64 { return r.pipeline.revision.Load() }

// lastRevision is a revision that no earlier run has gone beyond. A layer that does not
// record it gets the time in microseconds: below the limit of exact numbers in JSON for
// two more centuries, and more than was ever used unless a run commits more than
// a million changes a second for as long as it lasts, or the clock is set back between two
// runs and nothing is loaded that says how far they were.
func (r *run) lastRevision() (uint64, error) {
	if r.batch == nil {
		return revisionOfNow(), nil
	}
	last, err := r.batch.LastRevision()
	if err == nil && last == 0 && r.memory == nil && r.holdsSomething() {
		// None of what is there has a revision: room for those that revisionOf makes.
		last = firstRoom
	}
	return last, err
}

// holdsSomething reports whether the layer may hold an object.
func (r *run) holdsSomething() bool {
	if _, ok := As[Scanner](r.layer); ok {
		found := false
		err := r.eachInLayer("", func(*meta.Object) bool {
			found = true
			return false
		})
		return found || err != nil // what cannot be decoded is something
	}
	keys, err := r.layer.Keys()
	return err != nil || len(keys) > 0
}

func revisionOfNow() uint64 { return uint64(time.Now().UnixMicro()) }

// firstRoom is where revisions go on in a store that reads its layer when nothing in that has one.
const firstRoom = 1 << 48

// complete makes an object of the layer one that a store returns.
func (r *run) complete(obj *meta.Object) {
	obj.Revision = r.revisionOf(obj)
	obj.Expires = r.expiryOf(obj)
}

// revisionOf is the revision of an object of the layer where nothing is loaded.
func (r *run) revisionOf(obj *meta.Object) uint64 { return revisionOf(obj, r.pipeline.first) }

// revisionOf is an object's revision. Of one that has none it is a hash of its times, path and data (FNV-1a, 64 bits), below
// all that a run gives out that began at a revision: whoever changes the object changes it.
func revisionOf(obj *meta.Object, begin uint64) uint64 {
	if obj.Revision != 0 {
		return obj.Revision
	}
	hash := uint64(14695981039346656037)
	add := func(b byte) {
		hash ^= uint64(b)
		hash *= 1099511628211
	}
	for _, t := range []int64{obj.Created, obj.Updated} {
		for shift := 0; shift < 64; shift += 8 {
			add(byte(t >> shift))
		}
	}
	for i := range len(obj.Path) {
		add(obj.Path[i])
	}
	for _, b := range obj.Data {
		add(b)
	}
	// A power of two, so that it is the same for as long as the revisions do not double.
	room := uint64(1) << max(0, bits.Len64(begin)-1)
	return (hash^hash>>32)%room + 1
}

const (
	// keptAtOnce and keptBytes are how many objects, and how much of their data, are written in one batch.
	keptAtOnce = 1000
	keptBytes  = 4 << 20
)

// keepRevisions writes objects that got a revision as they were loaded, if the layer has batches. Their revisions begin
// from the time: those that it does not keep, all of them where nothing may be written, are others at the next start.
func (r *run) keepRevisions(numbered []*pathtree.Version) {
	if r.batch == nil || r.readOnly || len(numbered) == 0 {
		return
	}
	kept := 0
	var failed error // the first
	for left := numbered; len(left) > 0; {
		changes := r.keeping(left)
		err := r.batch.Commit(changes)
		left = left[len(changes):]
		for err != nil && len(changes) > 0 {
			if failed == nil {
				failed = err
			}
			entry, refused := errors.AsType[*EntryError](err)
			if !refused || entry.Index < 0 || entry.Index >= len(changes) {
				left, changes = nil, nil
				break
			}
			if changes = slices.Delete(changes, entry.Index, entry.Index+1); len(changes) > 0 {
				err = r.batch.Commit(changes)
			}
		}
		kept += len(changes)
	}
	if failed != nil {
		r.options.Logger.Warn("oolith: objects without a revision have one for this run only: the persistent layer does not keep it",
			slog.Int("objects", len(numbered)-kept), slog.Any("error", failed))
	}
	if kept > 0 {
		r.options.Logger.Info("oolith: objects without a revision have one now", slog.Int("objects", kept))
	}
}

// keeping returns the changes that write the first of some objects, as many as make a batch.
func (r *run) keeping(objects []*pathtree.Version) (changes []Change) {
	bytes := 0
	for _, numbered := range objects {
		if len(changes) == keptAtOnce || bytes >= keptBytes {
			break
		}
		obj := numbered.Object()
		if obj.Expires != 0 {
			obj.Expires = r.expirer.own(obj.Path) // memory's is the end that a rule sets, too
		}
		bytes += len(obj.Data)
		changes = append(changes, Change{Key: obj.Path, Object: &obj, Revision: obj.Revision})
	}
	return changes
}
