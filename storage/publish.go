package storage

import (
	"cmp"

	"github.com/oolith-db/oolith/key"
)

// publish publishes the committed changes of a group, in their order.
func (r *run) publish(o orderedGroup) {
	if !r.watched() {
		return
	}
	var whole uint64 // the group shared by all changes; 0 for none
	for _, w := range o.leaves {
		if w.err != nil {
			continue
		}
		group := w.group()
		if o.trimmed {
			whole = cmp.Or(whole, group)
			group = whole
		}
		r.publishWrite(w, group)
	}
	r.feed.flush()
}

// publishOne is publish of a single change.
func (r *run) publishOne(w *write) {
	if r.watched() {
		r.publishWrite(w, w.revision)
		r.feed.flush()
	}
}

// watched reports whether there is a consumer.
func (r *run) watched() bool { return r.sharded.Load() != nil || r.feed.wanted.Load() }

func (r *run) publishWrite(w *write, group uint64) {
	if !r.broadcasts(w.target()) || w.silent && !r.tellsParts() {
		return
	}
	r.tell(w.committed(group))
}

// broadcasts reports whether changes of a path or pattern are published.
func (r *run) broadcasts(path string) bool { return !key.Contains(r.options.NoBroadcastKeys, path) }

// tellsParts reports whether changes without an event are published. Subscriptions need them. Consumers that lag need
// them too, to drop keys that were created and deleted before delivery.
func (r *run) tellsParts() bool {
	return r.feed.keeping.Load() || r.feed.lagged.Load() || r.sharded.Load() != nil
}

// tell sends a change to the sharded channels, and stages it in the feed until the next flush.
func (r *run) tell(c *change) {
	if sharded := r.sharded.Load(); sharded != nil {
		sharded.tell(c)
	}
	if r.feed.wanted.Load() {
		r.feed.stage(c)
	}
}

// group identifies the group of a write in events. The parts of a batch share the revision of its first part. Any other
// write, and a part of a lenient batch, has its own revision.
func (w *write) group() uint64 {
	if w.whole == nil || w.whole.lenient {
		return w.revision
	}
	return w.whole.parts[0].revision
}

// publishGlob publishes a glob delete or a clear, with the objects that it removed.
func (r *run) publishGlob(w *write, removed []removal) {
	if !r.watched() {
		return
	}
	kind := changePart
	if w.silent {
		kind = changeSilent
	}
	if r.tellsParts() {
		for i := range removed {
			if r.broadcasts(removed[i].path) {
				part := &change{Event: Event{Key: removed[i].path}, revision: w.revision, group: w.revision, kind: kind, reason: w.op.reason()}
				if r.feed.keeping.Load() && !w.silent {
					part.Object = removed[i].removed()
				}
				r.tell(part)
			}
		}
	}
	if !w.silent && r.broadcasts(w.path) {
		c := &change{Event: Event{Key: w.path, Operation: OperationDel}, kind: changePattern, revision: w.revision, group: w.revision}
		if w.op == opClear {
			c.Operation, c.kind = OperationClear, changeClear
		}
		r.tell(c)
	}
	r.feed.flush()
}
