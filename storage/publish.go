package storage

import (
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// publish publishes the events of the committed writes of a group, in their order.
func (r *run) publish(group []*write) {
	sharded, logged := r.sharded.Load(), r.log.watched()
	if sharded == nil && !logged {
		return
	}
	for _, w := range group {
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
	}
	if logged {
		r.log.flush()
	}
}

// event is what a committed write publishes.
func (w *write) event() Event {
	switch w.op {
	case opClear:
		return Event{Operation: OperationClear}
	case opDelGlob:
		return Event{Key: w.path, Operation: OperationDel}
	case opDel:
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
