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
	var records []record
	if fed {
		records = make([]record, 0, len(leaves))
	}
	for i, w := range leaves {
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
			records = append(records, record{
				path: event.Key, revision: w.revision, object: event.Object, removed: !w.stores(),
				more: w.whole != nil && i+1 < len(leaves) && leaves[i+1].whole == w.whole && !w.whole.lenient,
			})
		}
	}
	if logged {
		r.log.flush()
	}
	if fed {
		r.feed.append(records)
	}
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
	records := make([]record, 0, len(removed))
	for _, obj := range removed {
		if !key.Contains(r.options.NoBroadcastKeys, obj.Path) {
			records = append(records, record{
				path: obj.Path, revision: w.revision, object: obj, removed: true, more: true,
			})
		}
	}
	if len(records) > 0 {
		records[len(records)-1].more = false
	}
	r.feed.append(records)
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
