package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/oolith-db/oolith/meta"
)

// SetOptions are the conditions and times of a write. The zero value is a plain Set.
type SetOptions struct {
	// IfRevision makes the write fail with a *ConflictError unless the object at the path has
	// this revision; 0 for no condition.
	IfRevision uint64
	// IfAbsent makes the write fail with a *ConflictError if there is an object at the path.
	IfAbsent bool
	// TTL is how long the object lives from its commit on; 0 for ever. From its end on no read returns
	// the object, also not after a restart, and its removal is a change like any other: durable,
	// in the commit order, an event "del" with the object. A write without TTL ends an earlier one.
	TTL time.Duration
	// Expires is the end of the object's time to live in Unix nanoseconds, instead of TTL; 0 for never.
	Expires int64
	// KeepTTL leaves the time to live of the object that is there as it is, as Update does. A new object has none.
	KeepTTL bool
	// Times are stored as given, instead of now; nil for now.
	Times *Times
	// Lease binds the write to a lease: it fails with ErrLeaseLost unless the lease holds its lock when
	// the write takes its place in the commit order; nil for no lease. So no write of a holder that lost its lease is
	// committed behind one that is bound to a later lease of the same path. A read by the later holder can come before
	// the last write of the earlier one is visible: a later holder that writes what it computed from a read demands
	// IfRevision too.
	//
	// The path of the lease may be another one than that of the write. In a batch, all changes fail with the one
	// that is bound. A lease of another store that holds its lock there is ErrInvalidOptions.
	Lease *Lease
}

// Times are those of an object, in Unix nanoseconds.
type Times struct{ Created, Updated int64 }

// DelOptions are the conditions of a delete. The zero value is a plain Del.
type DelOptions struct {
	// IfRevision makes the delete fail with a *ConflictError unless the object has this
	// revision; 0 for no condition.
	IfRevision uint64
	// Lease binds the delete to a lease, as SetOptions.Lease does a write.
	Lease *Lease
}

// Batch gathers changes for Commit. The zero value is empty and ready. A batch may be committed
// any number of times, and a copy of it goes its own way. It must not be used by two goroutines at once.
type Batch struct {
	parts []write
	owner *Batch // whose parts they are: a copy, which is none, makes its own before it adds to them
	err   error  // of the first change that cannot be
}

// Set adds a Set. The data is copied.
func (b *Batch) Set(path string, data json.RawMessage) { b.SetWith(path, data, SetOptions{}) }

// SetWith adds a Set with conditions and times. The data is copied.
func (b *Batch) SetWith(path string, data json.RawMessage, opt SetOptions) {
	var w write
	err := w.fill(opSet, path, data, &opt)
	b.add("set", w, err)
}

// Push adds a Push. The data is copied. The path is known once the batch is committed.
func (b *Batch) Push(pattern string, data json.RawMessage) {
	b.PushWith(pattern, data, SetOptions{})
}

// PushWith adds a Push with a time to live, or bound to a lease. The data is copied.
func (b *Batch) PushWith(pattern string, data json.RawMessage, opt SetOptions) {
	var w write
	err := w.fill(opPush, pattern, data, &opt)
	b.add("push", w, err)
}

// Del adds the delete of a key. The batch fails with ErrNotFound if it is absent.
func (b *Batch) Del(path string) { b.DelWith(path, DelOptions{}) }

// DelWith adds the delete of a key with a condition.
func (b *Batch) DelWith(path string, opt DelOptions) {
	w, err := newDel(path, opt)
	b.add("del", w, err)
}

// Touch adds a Touch. The batch fails with ErrNotFound if there is no object.
func (b *Batch) Touch(path string, ttl time.Duration) { b.TouchWith(path, SetOptions{TTL: ttl}) }

// TouchWith adds a Touch with conditions. The batch fails with ErrNotFound if there is no object.
func (b *Batch) TouchWith(path string, opt SetOptions) {
	w, err := newTouch(path, opt)
	b.add("touch", w, err)
}

// Len returns the number of changes.
func (b *Batch) Len() int { return len(b.parts) }

// BatchChange is one change that a Batch has gathered.
type BatchChange struct {
	// Operation is "set", "push", "del" or "touch".
	Operation string
	// Path is the key, or the pattern of a push.
	Path string
	// Data is that of a set or a push, shared and read-only.
	Data json.RawMessage
	// Options are those of the change; of a del, IfRevision and Lease.
	Options SetOptions
}

// Changes returns what the batch has gathered, in order: for who commits it elsewhere, over a network, say. The error is
// that of the first change that cannot be.
func (b *Batch) Changes() ([]BatchChange, error) {
	if b.err != nil {
		return nil, b.err
	}
	changes := make([]BatchChange, len(b.parts))
	for i := range b.parts {
		w := &b.parts[i]
		ch := BatchChange{Operation: "set", Path: w.path, Data: w.data}
		ch.Options = SetOptions{
			IfAbsent: w.condition.kind == ifAbsent, TTL: w.ttl, Expires: w.expires, KeepTTL: w.keepsExpiry, Lease: w.condition.lease,
		}
		if w.condition.kind == ifRevision {
			ch.Options.IfRevision = w.condition.revision
		}
		switch w.op {
		case opSetMeta:
			ch.Options.Times = &Times{w.created, w.updated}
		case opPush:
			ch.Operation = "push"
		case opDel:
			ch.Operation = "del"
		case opTouch:
			ch.Operation = "touch"
		}
		changes[i] = ch
	}
	return changes, nil
}

func (b *Batch) add(op string, w write, err error) {
	if err != nil && b.err == nil {
		b.err = fmt.Errorf("change %d of the batch: %w", len(b.parts), failed(op, w.path, err))
	}
	if b.owner != b {
		b.parts, b.owner = slices.Clone(b.parts), b
	}
	w.data = copyData(w.data)
	b.parts = append(b.parts, w)
}

// Commit makes all changes of a batch, or none: on disk, in memory, for readers and for
// watchers. It returns the objects as they were stored, in the order of the batch, their
// Data shared and read-only; for a delete, an object with Path and Revision only.
//
// The changes have revisions that follow each other, in the order of the batch. A reader that
// sees one of them sees all; a list over several directories, which reads one after the other, may
// not (Snapshot does). A watcher gets their events one behind the other, with
// none of other changes between them. A condition that does not hold fails the batch with a
// *ConflictError, a Del of an absent key with ErrNotFound; a key that two of its changes
// name is ErrDuplicateKey. An empty batch succeeds. AfterWrite runs for each change.
//
// On a persistent layer without atomic batches (Batcher) a batch of more than one change is
// ErrBatchUnsupported.
func (l *Layered) Commit(batch *Batch) ([]meta.Object, error) {
	return l.commitAll(context.Background(), batch)
}

func (l *Layered) commitAll(ctx context.Context, batch *Batch) ([]meta.Object, error) {
	objects, err := l.commitBatch(ctx, batch)
	if err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	return objects, nil
}

func (l *Layered) commitBatch(ctx context.Context, batch *Batch) ([]meta.Object, error) {
	r, err := l.active()
	switch {
	case err != nil:
		return nil, err
	case batch == nil || len(batch.parts) == 0:
		return nil, nil
	case batch.err != nil:
		return nil, batch.err
	case len(batch.parts) > 1 && !r.atomic():
		return nil, ErrBatchUnsupported
	}
	whole := write{op: opBatch}
	seen := make(map[string]int, len(batch.parts))
	copies := make([]write, len(batch.parts))
	copy(copies, batch.parts)
	for i := range copies {
		part := &copies[i]
		r.keep(part)
		if first, twice := seen[part.path]; twice && part.op != opPush {
			return nil, fmt.Errorf("changes %d and %d: %w: %q", first, i, ErrDuplicateKey, part.path)
		}
		if part.op != opPush {
			seen[part.path] = i
		}
		whole.parts = append(whole.parts, part)
	}
	if err := r.commitParts(ctx, whole); err != nil {
		return nil, err
	}
	objects := make([]meta.Object, len(copies))
	for i := range copies {
		objects[i] = copies[i].result()
	}
	for i := range objects {
		r.afterWrite(objects[i].Path, copies[i].op)
	}
	return objects, nil
}

// commitParts passes a batch through the pipeline.
func (r *run) commitParts(ctx context.Context, batch write) error {
	if !r.atomic() && len(batch.parts) == 1 {
		part := batch.parts[0]
		err := r.commitContext(ctx, part)
		if batch.lenient && errorIsNothing(err) {
			return nil
		}
		return err
	}
	// Not from the pool: its parts point to it.
	whole := &batch
	whole.wake = make(chan bool, 1)
	for _, part := range whole.parts {
		part.whole = whole
	}
	return r.pass(ctx, whole)
}

// SetWith is Set with conditions and times. It returns the object as it was stored, its Data
// shared and read-only.
func (l *Layered) SetWith(path string, data json.RawMessage, opt SetOptions) (meta.Object, error) {
	return l.store(context.Background(), "set", opSet, path, data, opt)
}

// PushWith is Push with a time to live, or bound to a lease. It returns the object as it was stored, its Data shared
// and read-only. IfRevision, IfAbsent and Times make no sense here and are ErrInvalidOptions.
func (l *Layered) PushWith(pattern string, data json.RawMessage, opt SetOptions) (meta.Object, error) {
	return l.store(context.Background(), "push", opPush, pattern, data, opt)
}

// commitOne commits a write, unless its input was refused.
func (l *Layered) commitOne(ctx context.Context, op string, w *write, refused error) error {
	r, err := l.active()
	if err == nil {
		err = refused
	}
	if err == nil {
		err = r.commitContext(ctx, w)
	}
	if err != nil {
		return failed(op, w.path, err)
	}
	r.afterWrite(w.target(), w.op)
	return nil
}

// Touch gives the object at a path another time to live, which begins now; 0 ends the one that it has. Its data and
// both of its times stay. It is a change like any other: it is durable, the object has a new revision, watchers see a
// "set" with it, and AfterWrite runs. What is there is what the writes before it left: none of them is undone. An absent
// or expired object is ErrNotFound, a ttl below zero ErrInvalidTTL. It returns the object as it is stored, its Data
// shared and read-only. A Retention.Age counts from Created, and goes on.
func (l *Layered) Touch(path string, ttl time.Duration) (meta.Object, error) {
	return l.TouchWith(path, SetOptions{TTL: ttl})
}

// TouchWith is Touch with the TTL or Expires of the options, and with their IfRevision and Lease. IfAbsent and Times
// make no sense here and are ErrInvalidOptions.
func (l *Layered) TouchWith(path string, opt SetOptions) (meta.Object, error) {
	w, err := newTouch(path, opt)
	if err = l.commitOne(context.Background(), "touch", &w, err); err != nil {
		return meta.Object{}, err
	}
	return w.result(), nil
}

// DelWith is Del of one key with a condition. A glob is ErrGlobNotAllowed.
func (l *Layered) DelWith(path string, opt DelOptions) error {
	w, err := newDel(path, opt)
	return l.commitOne(context.Background(), "del", &w, err)
}

// put stores an object and returns its index: what every Set and every Push does.
func (l *Layered) put(op string, kind operation, path string, data json.RawMessage, opt *SetOptions) (index string, err error) {
	var w write
	if err := l.commitOne(context.Background(), op, &w, w.fill(kind, path, data, opt)); err != nil {
		return "", err
	}
	return w.object.Index, nil
}

// store is put that returns the object, and that a context can end.
func (l *Layered) store(ctx context.Context, op string, kind operation, path string, data json.RawMessage, opt SetOptions) (meta.Object, error) {
	var w write
	if err := l.commitOne(ctx, op, &w, w.fill(kind, path, data, &opt)); err != nil {
		return meta.Object{}, err
	}
	return w.result(), nil
}

// fill makes the write one of a set or a push, from its checked input. The data is still the caller's.
func (w *write) fill(op operation, path string, data json.RawMessage, opt *SetOptions) (err error) {
	w.op, w.path = op, path
	check := checkKey
	if op == opPush {
		check = checkPush
	}
	if err := check(path); err != nil {
		return err
	}
	if op == opPush && (opt.IfRevision != 0 || opt.IfAbsent || opt.Times != nil) {
		return fmt.Errorf("%w: a push makes a new path: conditions and times have no meaning", ErrInvalidOptions)
	}
	if w.condition, err = conditionOf(opt.IfRevision, opt.IfAbsent, opt.Lease); err != nil {
		return err
	}
	if err := opt.checkExpiry(); err != nil {
		return err
	}
	w.ttl, w.expires, w.keepsExpiry = opt.TTL, opt.Expires, opt.KeepTTL
	if opt.Times != nil {
		w.op, w.created, w.updated = opSetMeta, opt.Times.Created, opt.Times.Updated
	}
	if err := checkData(data); err != nil {
		return err
	}
	w.data = data
	return nil
}

// newTouch makes the write of a touch from its checked input.
func newTouch(path string, opt SetOptions) (w write, err error) {
	w = write{op: opTouch, path: path, ttl: opt.TTL, expires: opt.Expires}
	if err := checkKey(path); err != nil {
		return w, err
	}
	if opt.IfAbsent || opt.Times != nil {
		return w, fmt.Errorf("%w: a touch leaves an object its times: IfAbsent and Times have no meaning", ErrInvalidOptions)
	}
	if w.condition, err = conditionOf(opt.IfRevision, false, opt.Lease); err != nil {
		return w, err
	}
	return w, opt.checkExpiry()
}

// newDel makes the write of a delete of one key from its checked input.
func newDel(path string, opt DelOptions) (w write, err error) {
	w = write{op: opDel, path: path}
	if err := checkKey(path); err != nil {
		return w, err
	}
	w.condition, err = conditionOf(opt.IfRevision, false, opt.Lease)
	return w, err
}

// checkExpiry accepts a time to live.
func (o *SetOptions) checkExpiry() error {
	switch {
	case o.TTL < 0:
		return fmt.Errorf("%w: a TTL of %v, expected 0 or more", ErrInvalidTTL, o.TTL)
	case o.Expires < 0:
		return fmt.Errorf("%w: Expires is %d, expected Unix nanoseconds or 0", ErrInvalidTTL, o.Expires)
	case o.TTL > 0 && o.Expires != 0:
		return fmt.Errorf("%w: both TTL and Expires, expected one of them", ErrInvalidOptions)
	case o.KeepTTL && (o.TTL > 0 || o.Expires != 0):
		return fmt.Errorf("%w: KeepTTL beside TTL or Expires, expected one of them", ErrInvalidOptions)
	}
	return nil
}

// endOf is when a time to live that begins now ends; 0 for never.
func endOf(ttl time.Duration) int64 {
	now := time.Now().UnixNano()
	if now > math.MaxInt64-int64(ttl) {
		return 0 // later than any time that can be written
	}
	return now + int64(ttl)
}
