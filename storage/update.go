package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/oolith-db/oolith/meta"
)

// Update changes the object at a path with a function. It calls change with the present object and stores the result
// if no other write changed the path in the meantime; otherwise it calls change again with the newer object. If there
// is no object, change receives an Object with only Path and Index. A time to live is kept.
//
// An error from change ends the update without a write and is returned wrapped. Return ErrNoop to leave the object as
// it is. Update may call the function several times, without a lock. The Data it receives is read-only. Update
// returns the stored object.
func (l *Layered) Update(path string, change func(old meta.Object) (json.RawMessage, error)) (meta.Object, error) {
	return l.updateContext(context.Background(), path, change)
}

func (l *Layered) updateContext(ctx context.Context, path string, change func(old meta.Object) (json.RawMessage, error)) (meta.Object, error) {
	stored, err := l.update(ctx, path, change)
	if err != nil {
		return meta.Object{}, failed("update", path, err)
	}
	return stored, nil
}

func (l *Layered) update(ctx context.Context, path string, change func(old meta.Object) (json.RawMessage, error)) (meta.Object, error) {
	for first := true; ; first = false {
		r, err := l.active()
		if err != nil {
			return meta.Object{}, err
		}
		if err := checkKey(path); err != nil {
			return meta.Object{}, err
		}
		if change == nil {
			return meta.Object{}, fmt.Errorf("%w, the function is nil", ErrInvalidOptions)
		}
		if first {
			r.beforeRead(path)
		}
		if err := ctx.Err(); err != nil {
			return meta.Object{}, err
		}
		old, err := r.view.get(path)
		demand := condition{kind: ifRevision, revision: old.Revision}
		if errors.Is(err, ErrNotFound) {
			old, err = placed(meta.Object{}, path), nil
			demand = condition{kind: ifAbsent}
		}
		if err != nil {
			return meta.Object{}, err
		}
		data, err := change(old)
		if err != nil {
			return meta.Object{}, err
		}
		var w write
		err = w.fill(opSet, path, data, &SetOptions{})
		if err != nil {
			return meta.Object{}, err
		}
		w.condition, w.keepsExpiry = demand, true
		err = r.commitContext(ctx, &w)
		if errors.Is(err, ErrConflict) {
			continue // another writer was faster, so there is progress
		}
		if err != nil {
			return meta.Object{}, err
		}
		r.afterWrite(path, w.op)
		return w.result(), nil
	}
}
