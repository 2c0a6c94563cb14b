package storage

import (
	"cmp"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// publish publishes the committed changes of a group, in their order.
func (r *run) publish(o ordered) {
	if !r.watched() {
		return
	}
	var whole uint64 // the change that all are a part of; 0 for none
	for _, w := range o.leaves {
		if w.err != nil {
			continue
		}
		change := w.change()
		if o.trimmed {
			whole = cmp.Or(whole, change)
			change = whole
		}
		r.stageNews(w, change)
	}
	r.log.flush()
	r.feed.flush()
}

// publishOne is publish of a single change.
func (r *run) publishOne(w *write) {
	if r.watched() {
		r.stageNews(w, w.revision)
		r.log.flush()
		r.feed.flush()
	}
}

// watched reports whether anybody consumes what is published.
func (r *run) watched() bool {
	return r.sharded.Load() != nil || r.log.watched() || r.feed.on()
}

// stageNews gives a change to the channels, and to the log and the feed until they are flushed.
func (r *run) stageNews(w *write, change uint64) {
	if key.Contains(r.options.NoBroadcastKeys, w.target()) {
		return
	}
	if w.silent {
		r.publishGone(w.path, newsSilent, w.revision, change)
		return
	}
	object := w.published()
	fresh := w.stores() && !w.found.exists && !w.found.past
	event := news{Event: w.event(object)}
	if fresh {
		event.kind = newsCreation
	}
	r.tell(event)
	if r.feed.on() {
		r.feed.stage(record{object: object, revision: w.revision, change: change, removed: !w.stores(), reason: w.op.reason(), fresh: fresh})
	}
}

// change is what the parts of a batch have in common, the revision of the first.
func (w *write) change() uint64 {
	if w.whole == nil || w.whole.lenient {
		return w.revision
	}
	return w.whole.parts[0].revision
}

// publishGlob publishes a glob delete or a clear, which removed objects.
func (r *run) publishGlob(w *write, removed []removal) {
	kind := newsGone
	if w.silent {
		kind = newsSilent
	}
	if w.op == opClear {
		r.tell(news{kind: newsClearing})
	} else {
		for _, d := range removed {
			if !key.Contains(r.options.NoBroadcastKeys, d.path) {
				r.publishGone(d.path, kind, w.revision, w.revision)
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
	for i := range removed {
		if !key.Contains(r.options.NoBroadcastKeys, removed[i].path) {
			r.feed.stage(record{object: removed[i].removed(), revision: w.revision, change: w.revision, removed: true, reason: w.op.reason()})
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
	case w.found.spot.Version != nil:
		obj := w.found.spot.Version.Object()
		return &obj
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
		if w.version != nil {
			stored = w.version.Object() // whose path is not a piece of the caller's
		}
		w.stored = &stored
	}
	return w.stored
}
