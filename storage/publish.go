package storage

import (
	"cmp"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// publish publishes the committed changes of a group, in their order.
func (r *run) publish(o ordered) {
	sharded, logged, fed := r.sharded.Load(), r.log.watched(), r.feed.on()
	if sharded == nil && !logged && !fed {
		return
	}
	var whole uint64 // the change that all are a part of; 0 for none
	for _, w := range o.leaves {
		if w.err != nil || key.Contains(r.options.NoBroadcastKeys, w.target()) {
			continue
		}
		change := w.change()
		if o.trimmed {
			whole = cmp.Or(whole, change)
			change = whole
		}
		if w.silent {
			r.publishGone(w.path, newsSilent, w.revision, change)
			continue
		}
		object := w.published()
		fresh := w.stores() && !w.found.exists && !w.found.past
		if logged || sharded != nil {
			event := news{Event: w.event(object)}
			if fresh {
				event.kind = newsCreation
			}
			if logged {
				r.log.append(event)
			}
			if sharded != nil {
				sharded.tell(event)
			}
		}
		if fed {
			r.feed.stage(record{object: object, revision: w.revision, change: change, removed: !w.stores(), reason: w.op.reason(), fresh: fresh})
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
	kind := newsGone
	if w.silent {
		kind = newsSilent
	}
	if w.op == opClear {
		r.tell(news{kind: newsClearing})
	} else {
		for _, obj := range removed {
			if !key.Contains(r.options.NoBroadcastKeys, obj.Path) {
				r.publishGone(obj.Path, kind, w.revision, w.revision)
			}
		}
	}
	if event := w.event(nil); !w.silent && !key.Contains(r.options.NoBroadcastKeys, event.Key) {
		r.tell(news{Event: event})
	}
	r.log.flush()
	if w.silent || !r.feed.on() {
		r.feed.flush()
		return
	}
	for _, obj := range removed {
		if !key.Contains(r.options.NoBroadcastKeys, obj.Path) {
			r.feed.stage(record{object: obj, revision: w.revision, change: w.revision, removed: true, reason: w.op.reason()})
		}
	}
	r.feed.flush()
}

// tell gives news to the watchers and to the sharded channels.
func (r *run) tell(n news) {
	if r.log.watched() {
		r.log.append(n)
	}
	if sharded := r.sharded.Load(); sharded != nil {
		sharded.tell(n)
	}
}

// publishGone gives those who lag behind the news that an object is gone with no event of its own, so that they
// keep nothing of what was never there for their consumers. All others need it not.
func (r *run) publishGone(path string, kind newsKind, revision, change uint64) {
	n := news{Event: Event{Key: path}, kind: kind}
	if r.log.lagged.Load() {
		r.log.append(n)
	}
	if sharded := r.sharded.Load(); sharded != nil {
		sharded.tell(n)
	}
	if kind == newsSilent && r.feed.lagged.Load() {
		r.feed.stage(record{object: &meta.Object{Path: path}, revision: revision, change: change, removed: true, silent: true})
	}
}

// reason is why a write of this kind removes an object; ReasonNone where it stores one.
func (op operation) reason() Reason {
	switch op {
	case opDel:
		return ReasonDeleted
	case opExpire:
		return ReasonExpired
	case opTrim:
		return ReasonLimit
	case opClear:
		return ReasonCleared
	case opDelGlob:
		return ReasonPattern
	}
	return ReasonNone
}

// published is the object that a committed write of one key stored or removed.
func (w *write) published() *meta.Object {
	switch {
	case w.stores():
		return w.shared()
	case w.found.object != nil:
		return w.found.object
	}
	return w.found.by.shared() // without memory no groups overlap: it is of this one
}

// event is what a committed write publishes with the object that it stored or removed.
func (w *write) event(object *meta.Object) Event {
	switch {
	case w.op == opClear:
		return Event{Operation: OperationClear}
	case w.stores():
		return Event{Key: object.Path, Operation: OperationSet, Object: object}
	default:
		return Event{Key: w.path, Operation: OperationDel, Object: object}
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
