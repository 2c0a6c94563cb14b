package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// commit makes all entries or none in one commit of the store, together with the record of the request's idempotency
// key, if it has one. The body is the content of the request. commit returns an outcome for each entry, and whether
// an earlier request made them.
func (c *call) commit(entries []entry, body []byte) (outcomes []outcome, replayed bool, err error) {
	retried, err := c.idempotency(body)
	if err != nil {
		return nil, false, err
	}
	for {
		if retried != nil {
			if outcomes, err := c.earlier(retried, len(entries)); outcomes != nil || err != nil {
				return outcomes, true, err
			}
		}
		outcomes, err = c.attempt(entries, retried)
		// Another writer was faster, so there is progress. Decide again from its result.
		if !errors.Is(err, storage.ErrConflict) {
			return outcomes, false, err
		}
	}
}

// attempt makes all entries if the objects are unchanged when they are committed. Otherwise it returns a
// storage.ConflictError.
func (c *call) attempt(entries []entry, retried *retry) ([]outcome, error) {
	changes := make([]change, len(entries))
	for i := range entries {
		var err error
		// A record contains the outcomes, so they must be known before the commit.
		if changes[i], err = c.resolve(&entries[i], retried != nil); err != nil {
			if c.batch {
				return nil, atEntry(err, i)
			}
			return nil, err
		}
	}
	first := 0 // index of the first change in the batch
	if retried != nil {
		first = 1
	}
	objects, err := c.store(changes, retried)
	if errors.Is(err, storage.ErrNotFound) && len(entries) == 1 {
		return nil, notFound(entries[0].path).saying("storage: not found")
	}
	if errors.Is(err, context.Canceled) {
		return nil, problem(Unavailable, "the client is gone and nothing was written")
	}
	if err != nil {
		return nil, err
	}
	outcomes := make([]outcome, len(entries))
	for i := range outcomes {
		obj := &objects[first+i]
		outcomes[i] = outcome{Status: http.StatusNoContent, Path: obj.Path, revision: obj.Revision}
		if changes[i].operation != "delete" {
			outcomes[i].object = obj
			outcomes[i].Status = http.StatusOK
			switch {
			case changes[i].operation == "touch":
			case changes[i].opt.Times != nil: // and so in a batch, which has looked
				outcomes[i].Status = changes[i].status
			case obj.Updated == 0:
				outcomes[i].Status = http.StatusCreated
			}
		}
	}
	return outcomes, nil
}

// store makes the changes in one commit, after the record of a request that may be repeated.
func (c *call) store(changes []change, retried *retry) ([]meta.Object, error) {
	if ch := &changes[0]; retried == nil && len(changes) == 1 && ch.operation == "set" {
		// A single write is cheaper than a batch of one.
		obj, err := c.s.store.SetContext(c.r.Context(), ch.path, ch.data, ch.opt)
		return []meta.Object{obj}, err
	}
	var batch storage.Batch
	if retried != nil {
		record, err := retried.record(changes)
		if err != nil {
			return nil, err
		}
		batch.SetWith(retried.path, record, storage.SetOptions{IfAbsent: true, TTL: outcomesKept})
	}
	for _, ch := range changes {
		switch ch.operation {
		case "push":
			batch.PushWith(ch.path, ch.data, ch.opt)
		case "delete":
			batch.DelWith(ch.path, storage.DelOptions{IfRevision: ch.opt.IfRevision})
		case "touch":
			batch.TouchWith(ch.path, ch.opt)
		default:
			batch.SetWith(ch.path, ch.data, ch.opt)
		}
	}
	return c.s.store.CommitContext(c.r.Context(), &batch)
}

// change is an entry in the form of the store.
type change struct {
	operation string
	path      string
	data      []byte
	opt       storage.SetOptions
	status    int // of the outcome; known if it is pinned
}

// resolve turns an entry into a change. It checks the entry's conditions against the present object, and makes the
// change depend on that object. A pinned change depends on it too, so its path and status are known in advance.
func (c *call) resolve(e *entry, pinned bool) (change, error) {
	ch := change{operation: e.operation, path: e.path, data: e.data, status: http.StatusOK}
	ch.opt = storage.SetOptions{Expires: e.expires, KeepTTL: e.keepTTL, Times: e.times}
	if e.hasTTL {
		ch.opt.TTL = e.ttl
	}
	required := c.s.requires(e.path)
	var current *meta.Object
	if e.operation == "patch" || e.operation == "touch" || e.operation != "push" && (pinned || c.batch || required || !e.cond.none()) {
		obj, err := c.s.store.Get(e.path)
		switch {
		case err == nil:
			current = &obj
		case errors.Is(err, storage.ErrUndecodable) && e.cond.none() && !pinned && e.operation != "patch":
			// An undecodable entry may be replaced or deleted, as the store allows.
		case !errors.Is(err, storage.ErrNotFound):
			return ch, err
		}
		if err := c.demand(e, current, required); err != nil {
			return ch, err
		}
		if pinned || required || e.operation == "patch" || e.operation == "touch" || !e.cond.none() {
			if current != nil {
				ch.opt.IfRevision = current.Revision
			} else {
				ch.opt.IfAbsent = true
			}
		}
	}
	if current == nil {
		ch.status = http.StatusCreated
	}
	switch e.operation {
	case "delete":
		ch.status = http.StatusNoContent
		return ch, c.before(e.operation, e.path, nil)
	case "touch":
		return ch, c.before(e.operation, e.path, nil)
	case "patch":
		var old []byte
		if current != nil {
			old = current.Data
		}
		data, err := e.apply(old)
		if err != nil {
			return ch, err
		}
		ch.operation, ch.data, ch.opt.KeepTTL = "set", data, !e.hasTTL && e.expires == 0
	case "push":
		if pinned {
			ch.operation, ch.path = "set", key.Build(e.path)
			ch.opt.IfAbsent, ch.opt.Times = true, &storage.Times{Created: key.Decode(key.LastIndex(ch.path))}
		}
	}
	data := json.RawMessage(slices.Clone(ch.data))
	if c.s.opt.BeforeWrite == nil {
		data = ch.data
	}
	err := c.before(e.operation, e.path, &data)
	ch.data = data
	return ch, err
}

// demand checks the condition of an entry against the present object, nil for none.
func (c *call) demand(e *entry, current *meta.Object, required bool) error {
	revision := uint64(0)
	if current != nil {
		revision = current.Revision
	}
	if !e.cond.holds(revision) {
		return c.failed(e.path, current)
	}
	switch {
	case current != nil && required && e.cond.none():
		return problem(ConditionRequired, "%q exists; overwriting, patching and deleting it needs If-Match", clip(e.path))
	case current == nil && e.operation == "patch" && !e.makes:
		return notFound(e.path).saying("ooo: not found")
	case current == nil && (e.operation == "delete" || e.operation == "touch"):
		return notFound(e.path).saying("storage: not found")
	}
	return nil
}

// requires reports whether objects at a path may only be changed with a condition.
func (s *Server) requires(path string) bool {
	return slices.ContainsFunc(s.opt.RequireCondition, func(pattern string) bool {
		if key.HasGlob(path) {
			return key.Peer(pattern, path) || covers(pattern, path)
		}
		return covers(pattern, path)
	})
}

// atEntry adds the index of an entry to a problem.
func atEntry(err error, i int) error {
	p := *problemOf(err)
	if p.Kind == Internal {
		return err
	}
	return (&p).with("entry", i)
}
