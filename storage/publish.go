package storage

import (
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// publish publishes the committed changes of a group, in their order.
func (r *run) publish(leaves []*write) {
	sharded, logged, fed := r.sharded.Load(), r.log.watched(), r.feed.on()
	if sharded == nil && !logged && !fed {
		return
	}
	for _, w := range leaves {
		if w.err != nil || w.silent {
			continue
		}
		event := w.event()
		if key.Contains(r.options.NoBroadcastKeys, event.Key) {
			continue
		}
		if logged {
			r.log.append(event)
		}
		if sharded != nil {
			sharded.Send(event)
		}
		if fed {
			r.feed.stage(record{
				object: event.Object, revision: w.revision, change: w.change(), removed: !w.stores(),
			})
		}
	}
	if logged {
		r.log.flush()
	}
	r.feed.flush()
}

// change is what the parts of a batch have in common, the revision of the first.
func (w *write) change() uint64 {
	if w.whole == nil || w.whole.lenient {
		return w.revision
	}
	return w.whole.parts[0].revision
}

// publishGlob publishes a glob delete or a clear, which removed objects.
func (r *run) publishGlob(w *write, removed []*meta.Object) {
	if w.silent {
		return
	}
	if event := w.event(); !key.Contains(r.options.NoBroadcastKeys, event.Key) {
		if r.log.watched() {
			r.log.append(event)
			r.log.flush()
		}
		if sharded := r.sharded.Load(); sharded != nil {
			sharded.Send(event)
		}
	}
	if !r.feed.on() {
		return
	}
	for _, obj := range removed {
		if !key.Contains(r.options.NoBroadcastKeys, obj.Path) {
			r.feed.stage(record{object: obj, revision: w.revision, change: w.revision, removed: true})
		}
	}
	r.feed.flush()
}

// event is what a committed write publishes.
func (w *write) event() Event {
	switch w.op {
	case opClear:
		return Event{Operation: OperationClear}
	case opDelGlob:
		return Event{Key: w.path, Operation: OperationDel}
	case opDel, opExpire, opTrim:
		removed := w.found.object
		if removed == nil {
			removed = w.found.by.shared() // without memory no groups overlap: it is of this one
		}
		return Event{Key: w.path, Operation: OperationDel, Object: removed}
	default:
		stored := w.shared()
		return Event{Key: stored.Path, Operation: OperationSet, Object: stored}
	}
}

// shared returns the object that a committed write stored, to be kept by anybody.
func (w *write) shared() *meta.Object {
	if w.stored == nil {
		stored := w.object
		w.stored = &stored
	}
	return w.stored
}
