package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/oolith-db/oolith/meta"
)

// SetOptions are the conditions and times of a write. The zero value is a plain Set.
type SetOptions struct {
	// IfRevision makes the write fail with a *ConflictError unless the object at the path has this revision; 0 for no
	// condition.
	IfRevision uint64
	// IfAbsent makes the write fail with a *ConflictError if there is an object at the path.
	IfAbsent bool
	// TTL is how long the object lives after its commit; 0 for unlimited. Reads never return an expired object, even
	// after a restart. Its removal is an ordinary change: durable, in the commit order, with an event "del" and the
	// object. A write without TTL ends an earlier time to live.
	TTL time.Duration
	// Expires is the end of the object's time to live in Unix nanoseconds, as an alternative to TTL; 0 for never.
	Expires int64
	// KeepTTL keeps the time to live of the existing object, as Update does. A new object has none.
	KeepTTL bool
	// Times are stored as given; nil for the present time.
	Times *Times
	// Lease binds the write to a lease; nil for no lease. The write fails with ErrLeaseLost unless the lease holds its
	// lock when the write takes its position in the commit order. So a write of a holder that lost its lease is never
	// committed after a write that is bound to a later lease of the same path. A read by the later holder may still
	// miss the last write of the earlier one. A holder that writes a value computed from a read must therefore also set
	// IfRevision.
	//
	// The path of the lease may differ from the path of the write. In a batch, all changes fail if a bound one fails. A
	// lease that holds its lock in another store fails with ErrInvalidOptions.
	Lease *Lease
}

// Times are the times of an object, in Unix nanoseconds.
type Times struct{ Created, Updated int64 }

// DelOptions are the conditions of a delete. The zero value is a plain Del.
type DelOptions struct {
	// IfRevision makes the delete fail with a *ConflictError unless the object has this revision; 0 for no condition.
	IfRevision uint64
	// Lease binds the delete to a lease, as SetOptions.Lease binds a write.
	Lease *Lease
}

// Batch gathers changes for Commit. The zero value is empty and ready to use. A batch may be committed any number of
// times. A copy is independent of the original. A batch must not be used concurrently.
type Batch struct {
	parts []write
	owner *Batch // the Batch that owns parts; a copy is not the owner and clones parts before it adds
	err   error  // of the first invalid change
}

// Set adds a Set. The data is copied.
func (b *Batch) Set(path string, data json.RawMessage) { b.SetWith(path, data, SetOptions{}) }

// SetWith adds a Set with conditions and times. The data is copied.
func (b *Batch) SetWith(path string, data json.RawMessage, opt SetOptions) {
	var w write
	err := w.fill(opSet, path, data, &opt)
	b.add("set", w, err)
}

// Push adds a Push. The data is copied. The path is known after the commit.
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

// DelWith adds the delete of a key with conditions.
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

// BatchChange is one change of a Batch.
type BatchChange struct {
	// Operation is "set", "push", "del" or "touch".
	Operation string
	// Path is the key, or the pattern of a push.
	Path string
	// Data is the data of a set or a push, shared and read-only.
	Data json.RawMessage
	// Options are the options of the change; for a del, only IfRevision and Lease.
	Options SetOptions
}

// Changes returns the gathered changes in order, for callers that commit them elsewhere, for example over a network.
// The error is that of the first invalid change.
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
		b.err = fmt.Errorf("change %d of the batch, %s, %w", len(b.parts), named(op, w.path), err)
	}
	if b.owner != b {
		b.parts, b.owner = slices.Clone(b.parts), b
	}
	w.data = copyData(w.data)
	b.parts = append(b.parts, w)
}

// Commit makes all changes of a batch or none: on disk, in memory, for readers and for watchers. It returns the stored
// objects in the order of the batch. Their Data is shared and read-only. For a delete, it returns an object with only
// Path and Revision.
//
// The changes have consecutive revisions, in the order of the batch. A reader that sees one of them sees all. The
// exception is a list over several directories, which reads one directory after the other (Snapshot is exact). A
// watcher receives their events one after another, without other changes in between.
//
// A condition that does not hold fails the batch with a *ConflictError, and a Del of an absent key with ErrNotFound.
// Two changes of the same key fail with ErrDuplicateKey. An empty batch succeeds. AfterWrite runs for each change.
//
// On a persistent layer without atomic batches (Batcher), a batch of more than one change fails with
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
			return nil, fmt.Errorf("%w, %q in changes %d and %d", ErrDuplicateKey, part.path, first, i)
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
	// Not from the pool, because its parts point to it.
	whole := &batch
	whole.wake = make(chan bool, 1)
	for _, part := range whole.parts {
		part.whole = whole
	}
	return r.pass(ctx, whole)
}

// SetWith is Set with conditions and times. It returns the stored object, with its Data shared and read-only.
func (l *Layered) SetWith(path string, data json.RawMessage, opt SetOptions) (meta.Object, error) {
	return l.store(context.Background(), "set", opSet, path, data, opt)
}

// PushWith is Push with a time to live, or bound to a lease. It returns the stored object, with its Data shared and
// read-only. IfRevision, IfAbsent and Times fail with ErrInvalidOptions, because a push has no existing object.
func (l *Layered) PushWith(pattern string, data json.RawMessage, opt SetOptions) (meta.Object, error) {
	return l.store(context.Background(), "push", opPush, pattern, data, opt)
}

// commitOne commits a write, unless its input was rejected.
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

// Touch gives the object at a path a new time to live, which starts now; 0 removes the present one. Data, Created and
// Updated do not change. A touch is an ordinary change: it is durable, the object gets a new revision, watchers receive
// a "set" with it, and AfterWrite runs. It applies to the result of the writes before it and undoes none of them. An
// absent or expired object fails with ErrNotFound, a negative ttl with ErrInvalidTTL. Touch returns the stored object,
// with its Data shared and read-only. Retention.Age still counts from Created.
func (l *Layered) Touch(path string, ttl time.Duration) (meta.Object, error) {
	return l.TouchWith(path, SetOptions{TTL: ttl})
}

// TouchWith is Touch with the TTL or Expires of the options, and with their IfRevision and Lease. IfAbsent and Times
// fail with ErrInvalidOptions.
func (l *Layered) TouchWith(path string, opt SetOptions) (meta.Object, error) {
	w, err := newTouch(path, opt)
	if err = l.commitOne(context.Background(), "touch", &w, err); err != nil {
		return meta.Object{}, err
	}
	return w.result(), nil
}

// DelWith is Del of one key with conditions. A glob fails with ErrGlobNotAllowed.
func (l *Layered) DelWith(path string, opt DelOptions) error {
	w, err := newDel(path, opt)
	return l.commitOne(context.Background(), "del", &w, err)
}

// put stores an object and returns its index. Every Set and Push uses it.
func (l *Layered) put(op string, kind operation, path string, data json.RawMessage, opt *SetOptions) (index string, err error) {
	var w write
	if err := l.commitOne(context.Background(), op, &w, w.fill(kind, path, data, opt)); err != nil {
		return "", err
	}
	if kind == opPush {
		return strings.Clone(w.object.Index), nil // else it keeps the object in memory
	}
	return w.object.Index, nil
}

// store is put with a context, and returns the object.
func (l *Layered) store(ctx context.Context, op string, kind operation, path string, data json.RawMessage, opt SetOptions) (meta.Object, error) {
	var w write
	if err := l.commitOne(ctx, op, &w, w.fill(kind, path, data, &opt)); err != nil {
		return meta.Object{}, err
	}
	return w.result(), nil
}

// fill checks the input of a set or a push and makes w its write. The data still belongs to the caller.
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
		return fmt.Errorf("%w, a push makes a new path, so conditions and times have no meaning", ErrInvalidOptions)
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

// newTouch checks the input of a touch and returns its write.
func newTouch(path string, opt SetOptions) (w write, err error) {
	w = write{op: opTouch, path: path, ttl: opt.TTL, expires: opt.Expires}
	if err := checkKey(path); err != nil {
		return w, err
	}
	if opt.IfAbsent || opt.Times != nil {
		return w, fmt.Errorf("%w, a touch changes no other times, so IfAbsent and Times have no meaning", ErrInvalidOptions)
	}
	if w.condition, err = conditionOf(opt.IfRevision, false, opt.Lease); err != nil {
		return w, err
	}
	return w, opt.checkExpiry()
}

// newDel checks the input of a delete of one key and returns its write.
func newDel(path string, opt DelOptions) (w write, err error) {
	w = write{op: opDel, path: path}
	if err := checkKey(path); err != nil {
		return w, err
	}
	w.condition, err = conditionOf(opt.IfRevision, false, opt.Lease)
	return w, err
}

// checkExpiry validates the time to live.
func (o *SetOptions) checkExpiry() error {
	switch {
	case o.TTL < 0:
		return fmt.Errorf("%w, a TTL of %v, expected 0 or more", ErrInvalidTTL, o.TTL)
	case o.Expires < 0:
		return fmt.Errorf("%w, Expires is %d, expected Unix nanoseconds or 0", ErrInvalidTTL, o.Expires)
	case o.TTL > 0 && o.Expires != 0:
		return fmt.Errorf("%w, both TTL and Expires are set, expected one of them", ErrInvalidOptions)
	case o.KeepTTL && (o.TTL > 0 || o.Expires != 0):
		return fmt.Errorf("%w, both KeepTTL and a TTL or Expires are set, expected one of them", ErrInvalidOptions)
	}
	return nil
}

// endOf returns when a time to live that starts now ends; 0 for never.
func endOf(ttl time.Duration) int64 {
	now := time.Now().UnixNano()
	if now > math.MaxInt64-int64(ttl) {
		return 0 // later than the greatest representable time
	}
	return now + int64(ttl)
}
