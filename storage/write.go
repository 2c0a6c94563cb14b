package storage

import (
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/oolith-db/oolith/key"
)

// Every write has the same shape: check the input, touching nothing; copy it; commit it
// in the pipeline (commit.go); run the hook, with no lock held.

// Set stores data, one JSON value, at a path and returns the path's index. A new object
// has Created now and Updated 0; an existing one keeps Created and has Updated now. The
// data is copied.
func (l *Layered) Set(path string, data json.RawMessage) (string, error) {
	return l.put("set", opSet, path, data, &SetOptions{})
}

// SetWithMeta stores data with both times, in Unix nanoseconds, as given, and returns the path's
// index. The data is copied.
func (l *Layered) SetWithMeta(path string, data json.RawMessage, created, updated int64) (string, error) {
	times := Times{Created: created, Updated: updated}
	opt := SetOptions{Times: &times}
	return l.put("set with meta", opSet, path, data, &opt)
}

// Push stores data under a new index in place of the pattern's '*', which must be the
// whole last segment, and returns that index: the time of the object's creation, as key.Build makes it. No two
// pushes get the same. The data is copied.
func (l *Layered) Push(path string, data json.RawMessage) (string, error) {
	return l.put("push", opPush, path, data, &SetOptions{})
}

// SetAndUnlock stores data like Set at a path that is locked, and releases the lock, also
// when the write fails. It returns ErrLockNotFound, and writes nothing, when the path is not locked.
func (l *Layered) SetAndUnlock(path string, data json.RawMessage) (string, error) {
	const op = "set and unlock"
	r, err := l.active()
	if err == nil {
		err = checkLock(path)
	}
	if err == nil {
		err = r.locks.claim(path)
	}
	if err != nil {
		return "", failed(op, path, err)
	}
	var w write
	err = w.fill(opSet, path, data, &SetOptions{})
	if err == nil {
		err = r.commit(&w)
	}
	// Released before the hook, which may want the lock.
	r.locks.release(path)
	if err != nil {
		return "", failed(op, path, err)
	}
	r.afterWrite(path, opSet)
	return key.LastIndex(path), nil
}

// Del removes the object at a path, or returns ErrNotFound. For a glob it removes all that
// match, atomically, and succeeds when there is none.
func (l *Layered) Del(path string) error { return l.del("del", path, false) }

// DelSilent is Del without event and hook.
func (l *Layered) DelSilent(path string) error { return l.del("del silent", path, true) }

// Clear removes everything, atomically. It cannot return an error: one goes to
// Options.Logger, and the store is then unchanged or, when the layer cannot tell whether it is, takes
// no more writes. Truncate is Clear that returns its error.
func (l *Layered) Clear() {
	if r := l.run.Load(); r != nil {
		if err := r.truncate(); err != nil {
			r.options.Logger.Error("oolith: clear failed", slog.Any("error", err))
		}
	}
}

// Truncate removes everything, atomically. After an error nothing was removed, unless it
// is ErrWritesStopped.
func (l *Layered) Truncate() error {
	r, err := l.active()
	if err == nil {
		err = r.truncate()
	}
	if err != nil {
		return fmt.Errorf("truncate: %w", err)
	}
	return nil
}

func (r *run) truncate() error {
	return r.commit(&write{op: opClear})
}

func (l *Layered) del(op, path string, silent bool) error {
	r, err := l.active()
	if err != nil {
		return failed(op, path, err)
	}
	w := write{op: opDel, path: path, silent: silent}
	switch err := checkKey(path); err {
	case nil:
	case ErrGlobNotAllowed:
		w.op = opDelGlob
	default:
		return failed(op, path, err)
	}
	if err := r.commit(&w); err != nil {
		return failed(op, path, err)
	}
	if !silent {
		r.afterWrite(path, w.op)
	}
	return nil
}

// afterWrite runs the hooks of a write of one kind, or of a glob delete. No lock is held.
func (r *run) afterWrite(path string, op operation) {
	if r.options.AfterWrite != nil {
		r.options.AfterWrite(path)
	}
	if r.options.AfterOperation != nil {
		operation := OperationSet
		if op.reason() != ReasonNone {
			operation = OperationDel
		}
		r.options.AfterOperation(path, operation)
	}
}
