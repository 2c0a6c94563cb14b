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

// The first revision of a run, and the revisions of objects without one. Such objects come from other software, or
// from a caller that filled a layer directly. Every object that a store returns has a revision, for conditional
// writes.

// Revision returns the revision of the last commit that is visible to readers. Every read that begins now sees each
// change up to it, so a subscription with this revision as SubscribeOptions.From continues a later read without a
// gap. It is 0 for a store that is not active. Revision takes no lock and may be called concurrently.
func (l *Layered) Revision() uint64 {
	if r := l.run.Load(); r != nil {
		return r.visible()
	}
	return 0
}

// visible is the revision of the last commit that readers see.
func (r *run) visible() uint64 { return r.pipeline.revision.Load() }

// lastRevision returns a revision that no earlier run has exceeded. For a layer that does not record it, this is the
// time in microseconds. That stays below the limit of exact JSON numbers for two more centuries. It exceeds all
// earlier revisions unless a run commits more than a million changes a second for its whole lifetime, or the clock is
// set back between two runs and no loaded object shows how far they were.
func (r *run) lastRevision() (uint64, error) {
	if r.batch == nil {
		return revisionOfNow(), nil
	}
	last, err := r.batch.LastRevision()
	if err == nil && last == 0 && r.memory == nil && r.holdsSomething() {
		// No existing object has a revision: leave room for those that revisionOf derives.
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
		return found || err != nil // an entry that cannot be decoded counts
	}
	keys, err := r.layer.Keys()
	return err != nil || len(keys) > 0
}

func revisionOfNow() uint64 { return uint64(time.Now().UnixMicro()) }

// firstRoom is the first revision of a store that reads its layer, if no object in the layer has one.
const firstRoom = 1 << 48

// complete turns an object of the layer into one that a store returns.
func (r *run) complete(obj *meta.Object) {
	obj.Revision = r.revisionOf(obj)
	obj.Expires = r.expiryOf(obj)
}

// revisionOf is the revision of an object of the layer if nothing is loaded.
func (r *run) revisionOf(obj *meta.Object) uint64 { return revisionOf(obj, r.pipeline.first) }

// revisionOf returns an object's revision. For an object without one it is a hash of its times, path and data
// (FNV-1a, 64 bits), below every revision of a run that began at begin. Any change of the object changes it.
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
	// A power of two, so the result is stable until the revisions double.
	room := uint64(1) << max(0, bits.Len64(begin)-1)
	return (hash^hash>>32)%room + 1
}

const (
	// keptAtOnce and keptBytes limit the number of objects and the bytes of data in one batch.
	keptAtOnce = 1000
	keptBytes  = 4 << 20
)

// keepRevisions stores the revisions that objects got when they were loaded, if the layer has batches. Such revisions
// begin from the time. Those that are not stored differ at the next start, which is all of them if the store is
// read-only.
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

// keeping returns the changes that store the first objects, as many as fit into a batch.
func (r *run) keeping(objects []*pathtree.Version) (changes []Change) {
	bytes := 0
	for _, numbered := range objects {
		if len(changes) == keptAtOnce || bytes >= keptBytes {
			break
		}
		obj := numbered.Object()
		if obj.Expires != 0 {
			obj.Expires = r.expirer.own(obj.Path) // memory's end includes retention rules
		}
		bytes += len(obj.Data)
		changes = append(changes, Change{Key: obj.Path, Object: &obj, Revision: obj.Revision})
	}
	return changes
}
