package storage

import (
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/oolith-db/oolith/key"
)

// Every write has the same shape: check the input without side effects, copy it, commit it in the pipeline (commit.go),
// and run the hook without a lock.

// Set stores data, one JSON value, at a path and returns the path's index. A new object has Created set to now and
// Updated 0. An existing one keeps Created and has Updated set to now. The data is copied.
func (l *Layered) Set(path string, data json.RawMessage) (string, error) {
	return l.put("set", opSet, path, data, &SetOptions{})
}

// SetWithMeta stores data with the given times, in Unix nanoseconds, and returns the path's index. The data is copied.
func (l *Layered) SetWithMeta(path string, data json.RawMessage, created, updated int64) (string, error) {
	times := Times{Created: created, Updated: updated}
	opt := SetOptions{Times: &times}
	return l.put("set with meta", opSet, path, data, &opt)
}

// Push stores data under a new index, which replaces the pattern's '*', and returns the index. The '*' must be the
// whole last segment. The index is the creation time of the object, in the format of key.Build. No two pushes get the
// same index. The data is copied.
func (l *Layered) Push(path string, data json.RawMessage) (string, error) {
	return l.put("push", opPush, path, data, &SetOptions{})
}

// SetAndUnlock stores data like Set at a locked path, and releases the lock even if the write fails. If the path is not
// locked, it returns ErrLockNotFound and writes nothing.
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
	// Release before the hook, because the hook may take the lock.
	r.locks.release(path)
	if err != nil {
		return "", failed(op, path, err)
	}
	r.afterWrite(path, opSet)
	return key.LastIndex(path), nil
}

// Del removes the object at a path, or returns ErrNotFound. A glob atomically removes all matching objects, and
// succeeds even if there are none.
func (l *Layered) Del(path string) error { return l.del("del", path, false) }

// DelSilent is Del without event and hook.
func (l *Layered) DelSilent(path string) error { return l.del("del silent", path, true) }

// Clear atomically removes everything. It returns no error: an error goes to Options.Logger. The store is then
// unchanged, or rejects further writes if the layer cannot tell whether it changed. Truncate is Clear with an error
// result.
func (l *Layered) Clear() {
	if r := l.run.Load(); r != nil {
		if err := r.truncate(); err != nil {
			r.options.Logger.Error("oolith: clear failed", slog.Any("error", err))
		}
	}
}

// Truncate atomically removes everything. After an error nothing was removed, unless the error is ErrWritesStopped.
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

// afterWrite runs the hooks of a write of one kind, or of a glob delete. The caller holds no lock.
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
