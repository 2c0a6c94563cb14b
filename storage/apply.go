package storage

import "github.com/oolith-db/oolith/internal/pathtree"

// Applying makes committed changes visible in memory. Nothing here can fail.

// apply makes the changes of a group visible to readers, and records expiring objects.
func (r *run) apply(g orderedGroup) {
	r.view.apply(g)
	r.note(g.leaves)
}

// keep copies the data of a write from the caller's memory to its final location. This is the version in memory, next
// to the path, if there is one.
func (r *run) keep(w *write) {
	switch {
	case w.op > opPush || w.op == opTouch:
	case r.memory == nil || r.mirror != nil:
		w.data = copyData(w.data)
	case w.op == opPush:
		w.made = pathtree.NewPush(w.path, w.data)
		w.data = w.made.Data()
	default:
		w.made = pathtree.NewVersion(w.path, w.data)
		w.data = w.made.Data()
	}
}

// applyOne applies one change to memory.
func (r *run) applyOne(w *write) {
	if w.stores() {
		w.version = r.memory.PutAt(w.found.spot, w.made, &w.object)
		return
	}
	// Memory now holds the complete result of the earlier writes.
	if n, ok := r.memory.Stored(w.path); ok {
		w.found.spot.Version = n
		r.memory.Delete(w.path)
	}
}

// applyAtOnce applies changes to memory in one instant. Of several changes of one key only the last is visible.
func (v memoryView) applyAtOnce(leaves []*write) {
	changes := make([]pathtree.Mutation, 0, len(leaves))
	last := make(map[string]int, len(leaves)) // the index in changes by path
	writers := make([]*write, 0, len(leaves))
	for _, w := range leaves {
		if w.err != nil {
			continue
		}
		path := w.target()
		at, again := last[path]
		change := pathtree.Mutation{Path: path}
		if w.stores() {
			change.Object, change.Made = &w.object, w.made
		} else if again {
			w.found.object = writers[at].shared()
		} else if n, ok := v.r.memory.Stored(path); ok {
			w.found.spot.Version = n
		}
		if again {
			changes[at], writers[at] = change, w
			continue
		}
		last[path] = len(changes)
		changes, writers = append(changes, change), append(writers, w)
	}
	for i, version := range v.r.memory.Apply(changes) {
		writers[i].version = version
	}
}
