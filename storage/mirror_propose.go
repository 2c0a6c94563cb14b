package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/oolith-db/oolith/key"
)

// Writers of a store over a SharedLayer.
//
// A group is staged against the mirror, which may be behind. Each key that the group changes is therefore guarded:
// the engine accepts the transaction only if the key is unchanged. If another node was faster, the group is staged
// again once the mirror has that node's write. A result that depends on what was found, such as "not found" or a
// conflict, is returned only if the mirror is known to have been current during the call.

// commitShared commits a group through the engine.
func (r *run) commitShared(group []*write) {
	switch group[0].op {
	case opDelGlob, opClear:
		r.proposePattern(group[0])
	default:
		for len(group) > 0 {
			n := r.distinct(group)
			r.proposeWrites(group[:n])
			group = group[n:]
		}
	}
}

// distinct returns how many of the first writes have distinct keys and fit into one transaction, because an engine
// puts a key once in a transaction. It is at least one.
func (r *run) distinct(group []*write) int {
	limits := r.shared.Limits()
	taken := make(map[string]bool, len(group))
	changes, bytes := 0, 0
	for n := range group {
		all := leaves(group[n : n+1])
		changes += len(all)
		bytes += group[n].size()
		if n > 0 && (changes > limits.Changes || bytes > limits.Bytes) {
			return n
		}
		for _, leaf := range all {
			if leaf.op == opPush {
				continue // its key is new
			}
			if taken[leaf.path] {
				return max(n, 1)
			}
			taken[leaf.path] = true
		}
	}
	return len(group)
}

// checkShared rejects writes that the shared engine cannot take, and all writes while it is lost.
func (r *run) checkShared(w *write) error {
	m := r.mirror
	if m == nil {
		return nil
	}
	if lost := m.lostBy(); lost != nil {
		return m.unavailable(lost)
	}
	limits := r.shared.Limits()
	if n := len(w.parts); n > limits.Changes && !w.lenient {
		return fmt.Errorf("a batch of %d changes, the shared engine accepts at most %d", n, limits.Changes)
	}
	if n := w.size(); n > limits.Bytes {
		return fmt.Errorf("%d bytes of data, the shared engine accepts at most %d", n, limits.Bytes)
	}
	return nil
}

// proposeWrites proposes writes of distinct keys and answers them.
func (r *run) proposeWrites(group []*write) {
	began := r.clock()
	current := false // whether the mirror holds everything that was in the order when the call began
	for {
		for _, w := range group {
			if !w.refused {
				w.fail(nil)
			}
		}
		base := r.mirror.applied.At()
		all, live, err := r.stageShared(group)
		if err == nil && !current && live < unrefused(group) {
			// Some writes had no effect, according to a mirror that may be behind.
			if err = r.mirror.catchUp(r.mirror.ctx); err == nil {
				current = true
				continue
			}
			err = r.mirror.unavailable(err)
		}
		if err != nil {
			fail(group, err)
			return
		}
		if live == 0 {
			return
		}
		made := proposed(all)
		// One transaction would be too large, or would add objects that the same group removes, which nobody would
		// see.
		parted := len(made) < len(staged(all)) || len(made) > r.shared.Limits().Changes
		first := base
		if len(made) > 0 && !(parted && len(group) > 1) {
			first, err = r.propose(r.transaction(made, base))
			parted = refusesAll(err)
		}
		if parted && len(group) > 1 {
			r.proposeWrites(group[:len(group)/2])
			r.proposeWrites(group[len(group)/2:])
			return
		}
		if err == nil {
			for _, w := range all {
				w.place(first) // of the writes that are not proposed
			}
			for i, w := range made {
				w.place(first + uint64(i))
			}
			if len(made) > 0 {
				r.awaitApplied(first + uint64(len(made)) - 1)
			}
			r.committedSince(began)
			return
		}
		if r.again(err, group, made) {
			current = current || isGuard(err)
			continue
		}
		if refusesAll(err) {
			err = inLayer(err)
		} else {
			err = r.mirror.unavailable(err)
		}
		fail(group, err)
		return
	}
}

// refusesAll reports whether an error rejects a transaction as a whole.
func refusesAll(err error) bool {
	entry, ok := errors.AsType[*EntryError](err)
	return ok && entry.Index < 0
}

// stageShared stages a group together with the deletes that keep its lists within their limits.
func (r *run) stageShared(group []*write) (all []*write, live int, err error) {
	live = r.stage(group)
	all = leaves(group)
	if live > 0 && len(r.options.Retention) > 0 {
		all, err = r.trim(all, r.pipeline.given+uint64(live)+1)
	}
	r.pipeline.overlay.drop(all) // the next group is staged against what the follower applied of this one
	return all, live, err
}

// unrefused counts the writes of a group that the engine did not reject, with the parts of batches.
func unrefused(group []*write) (n int) {
	for _, w := range group {
		switch {
		case w.refused:
		case w.op == opBatch:
			n += len(w.parts)
		default:
			n++
		}
	}
	return n
}

// staged returns the writes that become changes, including those that proposed drops.
func staged(all []*write) []*write {
	return slices.DeleteFunc(slices.Clone(all), func(w *write) bool { return w.err != nil })
}

// place sets the revision of a staged write.
func (w *write) place(revision uint64) {
	if w.err == nil {
		w.revision, w.object.Revision = revision, revision
	}
}

// proposed returns the staged writes that go to the engine. If a full list has no room for a new object, the same
// transaction would put and delete it, which no engine does. Only the delete is proposed, or nothing if there was no
// object before.
func proposed(all []*write) []*write {
	trims := make(map[string]bool)
	for _, w := range all {
		if w.op == opTrim {
			trims[w.path] = true
		}
	}
	made := make([]*write, 0, len(all))
	absent := make(map[string]bool)
	for _, w := range all {
		switch {
		case w.err != nil:
		case w.stores() && trims[w.target()]:
			absent[w.target()] = w.found.revision == 0
		case w.op == opTrim && absent[w.path]:
		default:
			made = append(made, w)
		}
	}
	return made
}

// transaction builds a proposal from staged writes.
func (r *run) transaction(made []*write, base uint64) *SharedTransaction {
	t := &SharedTransaction{Base: base, Changes: make([]SharedChange, len(made)), Guards: make([]Guard, 0, len(made))}
	limited, bound := make(map[string]bool), make(map[*Lease]bool)
	// With the deletes that enforce limits, all changes are one change to subscribers, see orderedGroup.trimmed.
	trimmed := slices.ContainsFunc(made, func(w *write) bool { return w.op == opTrim })
	for i, w := range made {
		c := &t.Changes[i]
		c.Key, c.Silent, c.Reason = w.target(), w.silent, w.op.reason()
		guard := Guard{Path: c.Key, Revision: w.found.revision}
		if w.op == opTrim && w.found.by != nil {
			guard.Revision = w.found.by.found.revision // of the object that the dropped put would have replaced
		}
		if w.stores() {
			c.Object, c.Stamped = w.durable(), w.op != opSetMeta && w.op != opTouch
			if dir := key.Parent(c.Key); !w.found.exists && !limited[dir] && r.limitOf(c.Key) > 0 {
				limited[dir] = true
				t.Guards = append(t.Guards, Guard{Directory: dir, OfDirectory: true, Revision: base})
			}
		}
		if lease := w.condition.lease; lease != nil && lease.shared != nil && !bound[lease] {
			bound[lease] = true
			t.Guards = append(t.Guards, Guard{Lock: lease.shared})
		}
		c.More = i+1 < len(made) && (trimmed || w.together(made[i+1]))
		t.Guards = append(t.Guards, guard)
	}
	return t
}

// together reports whether a write and its successor are one change to subscribers.
func (w *write) together(next *write) bool {
	return w.whole != nil && !w.whole.lenient && next.whole == w.whole
}

// propose calls the layer. It ends with the run. The outcome of a panic is unknown, so guard stops the pipeline.
func (r *run) propose(t *SharedTransaction) (first uint64, err error) {
	defer r.persistedSince(r.clock())
	return r.mirror.layer.Propose(r.mirror.ctx, t)
}

func isGuard(err error) bool {
	_, is := errors.AsType[*GuardError](err)
	return is
}

// again processes a failed proposal and reports whether to propose the group again.
func (r *run) again(err error, group, made []*write) bool {
	if guard, ok := errors.AsType[*GuardError](err); ok {
		for _, w := range made {
			if lease := w.condition.lease; lease != nil && lease.shared != nil && lease.shared == guard.Lost {
				lease.lose()
			}
		}
		return r.mirror.reach(r.mirror.ctx, guard.Revision) == nil
	}
	entry, ok := errors.AsType[*EntryError](err)
	if !ok || entry.Index < 0 || entry.Index >= len(made) {
		return false
	}
	refused := made[entry.Index]
	err = inLayer(entry.Err)
	if refused.whole != nil {
		err = fmt.Errorf("%q, %w", refused.target(), err)
		refused = refused.whole
	}
	refused.refused = true
	refused.fail(err)
	return unrefused(group) > 0
}

// unavailable is the error for a caller whose write is not in the order.
func (m *mirror) unavailable(err error) error {
	switch {
	case m.ctx.Err() != nil: // the run ended
		return ErrNotActive
	case errors.Is(err, ErrWritesStopped): // the outcome cannot be found out
		m.r.pipeline.stopped.CompareAndSwap(nil, &err)
		return m.r.pipeline.cause()
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrNotActive):
		return err
	}
	return fmt.Errorf("%w, %w", ErrUnavailable, err)
}

// awaitApplied returns when the follower has applied a revision, or when the run ends. The change is already ordered.
func (r *run) awaitApplied(revision uint64) { _ = r.mirror.reach(context.Background(), revision) }

// proposePattern proposes a glob delete or a clear and answers it.
func (r *run) proposePattern(w *write) {
	began := r.clock()
	pattern := w.path
	if w.op == opClear {
		pattern = ""
	}
	for {
		if w.err = r.mirror.catchUp(r.mirror.ctx); w.err != nil {
			w.err = r.mirror.unavailable(w.err)
			return
		}
		base := r.mirror.applied.At()
		var doomed []removal
		var err error
		if w.op == opClear {
			doomed, err = r.view.everything()
		} else {
			doomed, err = r.view.matching(pattern)
		}
		if err != nil {
			w.err = err
			return
		}
		if len(doomed) == 0 && w.op == opDelGlob {
			r.mirror.tellNothing(w)
			r.committedSince(began)
			return
		}
		c := SharedChange{Pattern: pattern, Clear: w.op == opClear, Reason: w.op.reason(), Silent: w.silent, Gone: pathsOf(doomed)}
		first, err := r.propose(&SharedTransaction{Base: base, Changes: []SharedChange{c}})
		switch {
		case err == nil:
			w.revision = first
			r.awaitApplied(first)
			r.committedSince(began)
			return
		case isGuard(err):
			if r.again(err, nil, nil) {
				continue
			}
		}
		if entry, ok := errors.AsType[*EntryError](err); ok {
			w.err = inLayer(entry.Err)
			return
		}
		w.err = r.mirror.unavailable(err)
		return
	}
}

// tellNothing publishes a glob delete that matched nothing.
func (m *mirror) tellNothing(w *write) {
	m.turn.Lock()
	defer m.turn.Unlock()
	m.r.publishGlob(w, nil)
}
