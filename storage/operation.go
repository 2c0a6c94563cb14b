package storage

import (
	"encoding/json"
	"time"

	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/meta"
)

// The write and its way through the pipeline.

// operation is the kind of a write.
type operation uint8

const (
	opSet operation = iota
	opSetMeta
	opTouch // a set of the existing data, with another end
	opPush
	opDel
	opExpire // a delete of an expired object
	opTrim   // a delete of an object beyond the limit of a list; made by the leader
	opBatch
	// The operations below commit alone.
	opDelGlob
	opClear
	opInstant // changes nothing: see run.instant
)

// single reports whether the operation is of one key and made by a call, not by the store itself.
func (op operation) single() bool { return op <= opDel }

// write is one change in the pipeline, or a batch of them.
type write struct {
	op               operation
	silent           bool
	path             string          // the pattern of a push or a glob delete
	data             json.RawMessage // owned by the store after run.keep
	created, updated int64           // of opSetMeta; of opTouch once it is staged
	ttl              time.Duration   // of the stored object, starting when it is staged; 0 to use expires
	expires          int64           // of the stored object; 0 for never
	keepsExpiry      bool            // keep the time to live of the replaced object
	condition        condition
	// parts are the changes of a batch, each of a different key; whole is their batch.
	parts []*write
	whole *write
	// lenient means that a failed part is left out and does not fail the batch.
	lenient bool
	instant func(revision uint64) // of opInstant

	made *pathtree.Version // by run.keep: the version for memory

	// The leader sets the fields below.
	revision uint64            // staged: its position in the commit order
	object   meta.Object       // staged: the object to store; its Expires includes Retention
	own      int64             // staged: the end of the object's own time to live; 0 for never
	found    found             // staged: what the write replaces or removes
	under    *write            // staged: the earlier write of the key in the overlay
	version  *pathtree.Version // applied: the object in memory
	stored   *meta.Object      // published: the object, shared by consumers
	refused  bool              // by the persistent layer, permanently
	cached   bool              // the cache held the previous object
	err      error             // the answer; for a part, that of its batch
	wake     chan bool         // true: lead; false: answered
}

// result returns the result of a committed write for its caller.
func (w *write) result() meta.Object {
	if w.stores() {
		return w.object
	}
	return meta.Object{Path: w.path, Revision: w.revision}
}

// grouped reports whether the write can share a group with others.
func (w *write) grouped() bool { return w.op <= opBatch }

// stores reports whether the write, of one key, stores an object.
func (w *write) stores() bool { return w.op <= opPush }

// durable returns the object of a staged write for the persistent layer. Its Expires excludes Retention, because
// another Retention may apply after the next Start.
func (w *write) durable() *meta.Object {
	if w.object.Expires == w.own {
		return &w.object
	}
	obj := w.object
	obj.Expires = w.own
	return &obj
}

// size returns the bytes of data of a write that can share a group.
func (w *write) size() int {
	size := len(w.data)
	for _, part := range w.parts {
		size += len(part.data)
	}
	return size
}

// target returns the path that a staged write of one key changes.
func (w *write) target() string {
	if w.op == opPush {
		return w.object.Path
	}
	return w.path
}

// fail answers a write with an error. For a part, it fails the whole batch.
func (w *write) fail(err error) {
	if w.whole != nil {
		w = w.whole
	}
	w.err = err
	for _, part := range w.parts {
		part.err = err
	}
}

// leaves returns the writes of single keys in a group.
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
