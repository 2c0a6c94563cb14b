package storage

import (
	"encoding/json"
	"time"

	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/meta"
)

// A write on its way through the pipeline.

// operation is the kind of a write.
type operation uint8

const (
	opSet operation = iota
	opSetMeta
	opTouch // a set of the data that is there, with another end
	opPush
	opDel
	opExpire // a delete of what is past its time to live
	opTrim   // a delete of what is too many in a list; made by the leader
	opBatch
	// What follows commits alone.
	opDelGlob
	opClear
	opInstant // changes nothing: see run.instant
)

// single reports whether the operation is that of one key, made by a call and not by the store itself.
func (op operation) single() bool { return op <= opDel }

// write is one change on its way through the pipeline, or a batch of them.
type write struct {
	op               operation
	silent           bool
	path             string          // the pattern of a push or a glob delete
	data             json.RawMessage // owned by the store from run.keep on
	created, updated int64           // of opSetMeta; of opTouch when it is staged
	ttl              time.Duration   // of what is stored, from its staging on; 0 for expires
	expires          int64           // of what is stored; 0 for never
	keepsExpiry      bool            // what is stored has the time to live of what it replaces
	condition        condition
	// parts are the changes of a batch, each of another key; whole is their batch.
	parts []*write
	whole *write
	// lenient says that a part which comes to nothing is left out, and not an error of the batch.
	lenient bool
	instant func(revision uint64) // of opInstant

	made *pathtree.Version // by run.keep: what memory will have

	// What the leader sets.
	revision uint64            // staged: its place in the commit order
	object   meta.Object       // staged: the object to store; Expires also says what the rules say
	own      int64             // staged: the end of the object's own time to live; 0 for never
	found    found             // staged: what the write replaces or removes
	under    *write            // staged: what the overlay holds below it
	version  *pathtree.Version // applied: the object in memory
	stored   *meta.Object      // published: the object as consumers share it
	refused  bool              // by the persistent layer, for good
	cached   bool              // the cache held what was there
	err      error             // the answer; of a part, that of its batch
	wake     chan bool         // true: lead; false: answered
}

// result is what a committed write tells its caller.
func (w *write) result() meta.Object {
	if w.stores() {
		return w.object
	}
	return meta.Object{Path: w.path, Revision: w.revision}
}

// grouped reports whether the write can share a group with others.
func (w *write) grouped() bool { return w.op <= opBatch }

// stores reports whether the write, which is of one key, puts an object there.
func (w *write) stores() bool { return w.op <= opPush }

// durable is the object that a staged write stores, as the persistent layer keeps it: without
// the end that a rule sets, as another rule may hold after the next Start.
func (w *write) durable() *meta.Object {
	if w.object.Expires == w.own {
		return &w.object
	}
	obj := w.object
	obj.Expires = w.own
	return &obj
}

// size is the bytes of data of a write that is grouped.
func (w *write) size() int {
	size := len(w.data)
	for _, part := range w.parts {
		size += len(part.data)
	}
	return size
}

// target is the path that a staged write of one key changes.
func (w *write) target() string {
	if w.op == opPush {
		return w.object.Path
	}
	return w.path
}

// fail answers a write with an error. A batch fails with each of its parts.
func (w *write) fail(err error) {
	if w.whole != nil {
		w = w.whole
	}
	w.err = err
	for _, part := range w.parts {
		part.err = err
	}
}

// leaves returns the writes of single keys that a group is made of.
func leaves(group []*write) []*write {
	n := 0
	for _, w := range group {
		n += len(w.parts)
	}
	if n == 0 {
		return group
	}
	flat := make([]*write, 0, len(group)+n)
	for _, w := range group {
		if w.op == opBatch {
			flat = append(flat, w.parts...)
		} else {
			flat = append(flat, w)
		}
	}
	return flat
}
