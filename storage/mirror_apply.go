package storage

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/monotonic"
)

// The follower. It applies and publishes transactions, those of its own store and of other stores alike.

// take applies a transaction.
func (m *mirror) take(commit SharedCommit) error {
	m.turn.Lock()
	defer m.turn.Unlock()
	changes := commit.Changes
	for len(changes) > 0 {
		if changes[0].Clear || changes[0].Pattern != "" {
			m.r.takePattern(&changes[0])
			changes = changes[1:]
			continue
		}
		n := 1
		for n < len(changes) && !changes[n].Clear && changes[n].Pattern == "" {
			n++
		}
		if err := m.r.takeWrites(changes[:n]); err != nil {
			return err
		}
		changes = changes[n:]
	}
	m.changes.Add(uint64(len(commit.Changes)))
	m.applied.Raise(commit.Revision)
	return nil
}

// seen makes a revision visible to readers.
func (r *run) seen(revision uint64) { r.pipeline.revision.Store(max(r.visible(), revision)) }

// show makes the revision of everything applied visible to readers. It can be later than that of the last change.
func (m *mirror) show() {
	m.turn.Lock()
	defer m.turn.Unlock()
	m.r.seen(m.applied.At())
}

// takeWrites applies changes of single keys atomically.
func (r *run) takeWrites(changes []SharedChange) error {
	all := make([]*write, 0, len(changes))
	var batch *write
	for i := range changes {
		w, err := r.takenWrite(&changes[i])
		if err != nil {
			return err
		}
		if w != nil {
			if batch == nil && changes[i].More {
				batch = &write{op: opBatch}
			}
			if batch != nil {
				w.whole, batch.parts = batch, append(batch.parts, w)
			}
			all = append(all, w)
		}
		if !changes[i].More {
			batch = nil
		}
	}
	if len(all) == 0 {
		return nil
	}
	g := orderedGroup{leaves: all, atOnce: len(all) > 1}
	r.apply(g)
	r.seen(lastRevisionOf(all))
	r.publish(g)
	return nil
}

// takenWrite builds a write from an ordered change; nil if the change has no effect here.
func (r *run) takenWrite(c *SharedChange) (w *write, err error) {
	w = &write{op: opDel, path: c.Key, silent: c.Silent, revision: c.Revision}
	spot := r.memory.Find(c.Key)
	if n := spot.Version; n != nil {
		w.found = found{exists: true, created: n.Created(), expires: n.Expires(), own: n.Expires(), revision: n.Revision()}.asOfNow()
	}
	w.found.spot = spot
	if c.Object == nil {
		switch c.Reason {
		case ReasonExpired:
			w.op = opExpire
		case ReasonLimit:
			w.op = opTrim
		}
		if spot.Version == nil {
			return nil, nil
		}
		return w, nil
	}
	if !key.IsValid(c.Key) || key.HasGlob(c.Key) {
		return nil, fmt.Errorf("%w, %w, key %q of the shared layer", ErrUndecodable, ErrInvalidPath, c.Key)
	}
	w.op, w.own = opSetMeta, c.Object.Expires
	w.object = placed(*c.Object, c.Key)
	w.object.Revision = c.Revision
	if w.object.Expires = r.expiryOf(&w.object); w.object.Expires != 0 {
		r.expiring.Store(true)
	}
	if c.Stamped {
		monotonic.Raise(cmp.Or(w.object.Updated, w.object.Created))
	}
	return w, nil
}

// takePattern applies a glob delete or a clear.
func (r *run) takePattern(c *SharedChange) {
	w := &write{op: opDelGlob, path: c.Pattern, silent: c.Silent, revision: c.Revision}
	if c.Clear {
		w.op, w.path = opClear, ""
	}
	removed := make([]removal, 0, len(c.Gone))
	paths := make([]string, 0, len(c.Gone))
	for _, path := range c.Gone {
		if n, ok := r.memory.Stored(path); ok {
			removed = append(removed, removal{path: path, version: n})
			paths = append(paths, path)
		}
	}
	if c.Clear && len(paths) == r.memory.Len() {
		r.memory.Clear()
		r.forgetAll()
	} else {
		r.memory.DeleteAll(paths)
		r.forget(paths)
	}
	r.seen(c.Revision)
	r.publishGlob(w, removed)
}

// renew brings the mirror to the engine's present content if the changes since then are gone or cannot be read. Some
// changes are missing. Watches receive the differences, and subscriptions start over with a reset.
func (m *mirror) renew() (err error) {
	defer panicAsError(&err)
	revision, objects, err := m.layer.Mirror(m.ctx)
	if err != nil {
		return err
	}
	there := make(map[string]bool)
	var changes []SharedChange
	for obj, err := range objects {
		if err != nil {
			return err
		}
		there[obj.Path] = true
		if n, ok := m.r.memory.Stored(obj.Path); !ok || n.Revision() != obj.Revision {
			kept := obj
			changes = append(changes, SharedChange{Key: obj.Path, Object: &kept, Revision: obj.Revision})
		}
	}
	slices.SortFunc(changes, func(a, b SharedChange) int { return cmp.Compare(a.Revision, b.Revision) })
	for _, path := range m.r.memory.Paths(pathtree.Always) {
		if !there[path] {
			changes = append(changes, SharedChange{Key: path, Revision: revision, Reason: ReasonDeleted})
		}
	}
	m.turn.Lock()
	defer m.turn.Unlock()
	if revision < m.applied.At() {
		return errors.New("storage: shared layer: its mirror is older than the followed order")
	}
	m.r.feed.lose(revision)
	if err := m.r.takeWrites(changes); err != nil {
		return err
	}
	m.r.seen(revision)
	m.applied.Raise(revision)
	return nil
}
