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
// A group is staged against the mirror, which may be behind. So each key that it changes is guarded: the engine takes
// the transaction only if the key is as it was found. Where another node was quicker, the group is staged again once the
// mirror has what that node wrote. An answer that comes of what was found, such as "not found" or a conflict, is given only once the
// mirror is known to have been current during the call.

// commitShared takes a group to the engine.
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

// distinct is how many of the first writes change a key each that no other of them does, as an engine puts a key once in a
// transaction, and fit into one. It is at least one.
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
				continue // its key is its own
			}
			if taken[leaf.path] {
				return max(n, 1)
			}
			taken[leaf.path] = true
		}
	}
	return len(group)
}

// checkShared refuses what the shared engine cannot take: anything while it is lost.
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
		return fmt.Errorf("a batch of %d changes, the shared engine takes at most %d at once", n, limits.Changes)
	}
	if n := w.size(); n > limits.Bytes {
		return fmt.Errorf("%d bytes of data, the shared engine takes at most %d at once", n, limits.Bytes)
	}
	return nil
}

// proposeWrites brings writes of different keys into the order, and answers them.
func (r *run) proposeWrites(group []*write) {
	began := r.clock()
	current := false // the mirror holds all that was in the order when the call began
	for {
		for _, w := range group {
			if !w.refused {
				w.fail(nil)
			}
		}
		base := r.mirror.applied.At()
		all, live, err := r.stageShared(group)
		if err == nil && !current && live < unrefused(group) {
			// Some came to nothing, by a mirror that may be behind.
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
		// In one transaction, some of a group would be removed for the rest of it, and seen by nobody; or it is too much.
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
				w.place(first) // of those that are not proposed
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

// refusesAll reports whether an error refuses a transaction as a whole.
func refusesAll(err error) bool {
	entry, ok := errors.AsType[*EntryError](err)
	return ok && entry.Index < 0
}

// stageShared stages a group with what keeps its lists within their limits.
func (r *run) stageShared(group []*write) (all []*write, live int, err error) {
	live = r.stage(group)
	all = leaves(group)
	if live > 0 && len(r.options.Retention) > 0 {
		all, err = r.trim(all, r.pipeline.given+uint64(live)+1)
	}
	r.pipeline.overlay.drop(all) // what is staged next is staged against what the follower made of this
	return all, live, err
}

// unrefused is how many writes of a group the engine did not refuse, with the parts of batches.
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

// staged returns the writes that are to be changes, but for what proposed leaves out.
func staged(all []*write) []*write {
	return slices.DeleteFunc(slices.Clone(all), func(w *write) bool { return w.err != nil })
}

// place gives a staged write its revision.
func (w *write) place(revision uint64) {
	if w.err == nil {
		w.revision, w.object.Revision = revision, revision
	}
}

// proposed returns the staged writes that are to be changes. What a full list has no room for, and what is removed for it at
// once, is put and deleted in one transaction, which no engine does: of the two the delete is left, or nothing where
// there was nothing before.
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

// transaction makes a proposal of staged writes.
func (r *run) transaction(made []*write, base uint64) *SharedTransaction {
	t := &SharedTransaction{Base: base, Changes: make([]SharedChange, len(made)), Guards: make([]Guard, 0, len(made))}
	limited := make(map[string]bool)
	// With what keeps lists within their limits, all are one change to subscribers, as orderedGroup.trimmed says.
	trimmed := slices.ContainsFunc(made, func(w *write) bool { return w.op == opTrim })
	for i, w := range made {
		c := &t.Changes[i]
		c.Key, c.Silent, c.Reason = w.target(), w.silent, w.op.reason()
		guard := Guard{Path: c.Key, Revision: w.found.revision}
		if w.op == opTrim && w.found.by != nil {
			guard.Revision = w.found.by.found.revision // what the put that is left out would have replaced
		}
		if w.stores() {
			c.Object, c.Stamped = w.durable(), w.op != opSetMeta && w.op != opTouch
			if dir := key.Parent(c.Key); !w.found.exists && !limited[dir] && r.limitOf(c.Key) > 0 {
				limited[dir] = true
				t.Guards = append(t.Guards, Guard{Directory: dir, OfDirectory: true, Revision: base})
			}
		}
		if lease := w.condition.lease; lease != nil && lease.shared != nil {
			t.Guards = append(t.Guards, Guard{Lock: lease.shared})
		}
		c.More = i+1 < len(made) && (trimmed || w.together(made[i+1]))
		t.Guards = append(t.Guards, guard)
	}
	return t
}

// together reports whether a write and the one behind it are one change to subscribers.
func (w *write) together(next *write) bool {
	return w.whole != nil && !w.whole.lenient && next.whole == w.whole
}

// propose calls the layer. It ends with the run. After a panic nobody knows the outcome: guard stops the pipeline.
func (r *run) propose(t *SharedTransaction) (first uint64, err error) {
	defer r.persistedSince(r.clock())
	return r.mirror.layer.Propose(r.mirror.ctx, t)
}

func isGuard(err error) bool {
	_, is := errors.AsType[*GuardError](err)
	return is
}

// again takes in why a proposal failed, and reports whether the group is to be proposed anew.
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
		err = fmt.Errorf("%q: %w", refused.target(), err)
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
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// awaitApplied returns when the follower has applied a revision, or the run ends: the change is in the order by then.
func (r *run) awaitApplied(revision uint64) { _ = r.mirror.reach(context.Background(), revision) }

// proposePattern brings a glob delete or a clear into the order, and answers it.
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

// tellNothing publishes a glob delete that found nothing.
func (m *mirror) tellNothing(w *write) {
	m.turn.Lock()
	defer m.turn.Unlock()
	m.r.publishGlob(w, nil)
}
