package main

// mutants are the deliberate faults of the mutation campaign.
var mutants = []mutant{
	{
		name: "publish before memory changes", in: "storage run.settle",
		old: "r.apply(o)", new: "r.publish(o); r.apply(o)",
	},
	{
		name: "memory changes though the layer failed", in: "storage run.settle",
		old: "if err != nil { fail(group, err) }",
		new: "if err != nil { if len(o.leaves) > 0 { r.apply(o) }; fail(group, err) }",
	},
	{
		name: "a failed commit does not stop the writes", in: "storage pipeline.stop",
		old: "p.stopped.CompareAndSwap(nil, &stopped); return p.cause()", new: "return stopped",
	},
	{
		name: "a group does not wait for the one before it", in: "storage run.leadAsync",
		old: "<-before", new: "_ = before",
	},
	{
		name: "a glob delete does not wait for groups under way", in: "storage run.leadAsync",
		old: "<-p.last; r.commitGroup(group)", new: "r.commitGroup(group)",
	},
	{
		name: "an overwrite forgets Created", in: "storage run.stageOne",
		old: "w.object.Created, w.object.Updated = w.found.created, now", new: "w.object.Created, w.object.Updated = now, now",
	},
	{
		name: "a push that needs another path changes the earlier one", in: "storage write.name",
		old: `w.found.exists || w.object.Path != ""`, new: "false", tests: "./storage",
	},
	{
		name: "writes of a group do not see those before them", in: "storage run.stage",
		old: "p.overlay.put(w)", new: "",
	},
	{
		name: "a batch goes on without the part that fails", in: "storage run.stageBatch",
		old: "errors.Is(err, ErrNotFound) && batch.lenient", new: "errors.Is(err, ErrNotFound)",
	},
	{
		name: "a condition on a revision is not checked", in: "storage condition.check",
		old: "f.revision != c.revision", new: "false",
	},
	{
		name: "a condition on absence is not checked", in: "storage condition.check",
		old: "c.kind == ifAbsent && f.exists", new: "c.kind == ifAbsent && f.exists && f.revision == 0",
	},
	{
		name: "a fill of the cache is not guarded", in: "storage fillGuard.fill",
		old: "t.valid && t.slot.commits == 0 && t.slot.version == t.version", new: "t.slot != nil",
	},
	{
		name: "a range leaves its end out", in: "internal/pathtree Query.Holds",
		old: "p.Created > q.To", new: "p.Created >= q.To",
	},
	{
		name: "a limit is off by one", in: "internal/pathtree picker.add",
		old: "return len(p.picked) < limit", new: "return len(p.picked) <= limit",
	},
	{
		name: "a list across directories keeps the wrong end", in: "internal/pathtree picker.add",
		old: "p.compare(n, p.picked[0]) < 0", new: "p.compare(n, p.picked[0]) > 0",
	},
	{
		name: "several keys change one by one for point reads", in: "internal/pathtree turn.now",
		old: "t.done.Load()", new: "true",
	},
	{
		name: "a push returns its index in the object's memory", in: "storage Layered.put",
		old: "strings.Clone(w.object.Index)", new: "strings.TrimSpace(w.object.Index)", tests: "./storage",
	},
	{
		name: "a directory holds what was removed", in: "internal/pathtree cells.free",
		old: "s.set(cell, nil)", new: "", tests: "./internal/pathtree",
	},
	{
		name: "a cell is not used again", in: "internal/pathtree cells.free",
		old: "s.freed = append(s.freed, cell)", new: "", tests: "./internal/pathtree",
	},
	{
		name: "a replaced version still claims its cell", in: "internal/pathtree directory.place",
		old: "n.cell, old.cell = old.cell, 0", new: "n.cell = old.cell", tests: "./internal/pathtree ./storage",
	},
	{
		name: "a page begins anywhere among the objects of one time", in: "internal/pathtree directory.seek",
		old: "found.created != created", new: "true", tests: "./internal/pathtree",
	},
	{
		name: "an overwrite leaves the old table before it is in the new one", in: "internal/pathtree index.storeAt",
		old:   "t.add(v, hash); if old != nil { t.from.Load().drop(old, hash); return }",
		new:   "if old != nil { t.from.Load().drop(old, hash); t.add(v, hash); return }; t.add(v, hash)",
		tests: "./internal/pathtree",
	},
	{
		name: "a look-up does not notice that the table was replaced", in: "internal/pathtree index.load",
		old: "x.table.Load() == t", new: "true",
		tests: "./internal/pathtree",
	},
	{
		name: "a move empties the old table first", in: "internal/pathtree index.move",
		old: "t.add(v, hashOf(v.Path())); b.slot[i].Store(nil)", new: "b.slot[i].Store(nil); t.add(v, hashOf(v.Path()))",
		tests: "./internal/pathtree",
	},
	{
		name: "a table loses what was in the buckets behind the first", in: "internal/pathtree index.move",
		old: "b = b.next.Load()", new: "b = nil",
	},
	{
		name: "an expired object is read", in: "internal/pathtree Clock.Past",
		old: "end <= c.Time", new: "end <= 0",
	},
	{
		name: "an expired object is never removed", in: "storage expirer.wake",
		old: "err := e.remove(paths)", new: "var err error",
	},
	{
		name: "a list with a limit holds one more", in: "storage run.excess",
		old: "count <= limit", new: "func() bool { limit++; return count <= limit }()",
	},
	{
		name: "an unlock wakes nobody", in: "storage lockTable.releaseLocked",
		old: "first != nil", new: "first != nil && t.closed",
	},
	{
		name: "a shard is chosen by another hash", in: "storage ShardedChan.ShardFor",
		old: "hash *= 16777619", new: "hash *= 16777618",
	},
	{
		name: "past its limit a queue drops the newest", in: "storage backlog.coalesce",
		old: "b.fold(i)", new: "if _, ok := b.newest[b.slots[i].Key]; ok { b.drop(i); continue }; b.fold(i)",
	},
	{
		name: "a laggard keeps the end of what it was never told of", in: "storage backlog.fold",
		old: "s.removes() && !s.known", new: "s.removes() && !s.known && b == nil",
	},
	{
		name: "a laggard is not told the end of what it knows", in: "storage backlog.fold",
		old: "s.known = i == ghost || b.slots[i].known", new: "s.known = s.known && i == ghost",
	},
	{
		name: "a trim is a change of its own", in: "storage run.publish",
		old: "o.trimmed", new: "o.trimmed && o.parted",
	},
	{
		name: "a closed subscription holds its store", in: "storage Subscription.letGoLocked",
		old: "s.run = nil", new: "",
	},
	{
		name: "a silent delete is told", in: "storage write.committed",
		old: "w.silent", new: "w.silent && w.err != nil",
	},
	{
		name: "a subscription resumes where the history does not go back to", in: "storage history.since",
		old: "revision < h.floor", new: "revision > h.floor",
	},
	{
		name: "a subscription that overflows is not told", in: "storage Subscription.beginLocked",
		old: "missed = missed || s.overflow", new: "missed = missed && !s.overflow",
	},
	{
		name: "what was missed is told behind a fresh state", in: "storage Subscription.beginLocked", tests: "./storage",
		old: "s.state, s.missed, s.live, s.at, s.overflow = state, nil, true, revision, false",
		new: "s.state, s.live, s.at, s.overflow = state, true, revision, false",
	},
	{
		name: "what has no revision did not change", in: "storage Subscription.read", tests: "./storage",
		old: "obj.Revision <= s.since && !state.unnumbered", new: "obj.Revision <= s.since",
	},
	{
		name: "revisions start anew", in: "storage Layered.openLayers",
		old: "last = max(last, l.revision)", new: "last = 0",
	},
	{
		name: "what comes without a revision has none", in: "storage run.complete", tests: "./storage",
		old: "obj.Revision = r.revisionOf(obj)", new: "_ = r.revisionOf(obj)",
	},
	{
		name: "the cache holds what a commit changes", in: "storage cache.hide", tests: "./storage",
		old: "w.cached = c.objects.Remove(w.target())", new: "w.cached = false",
	},
	{
		name: "bytes that are no UTF-8 are stored", in: "internal/jsonvalid Valid", tests: "./internal/jsonvalid ./storage",
		old: "utf8.Valid(data)", new: "(utf8.Valid(data) || true)",
	},
	{
		name: "a directory that ends is not told to its parent", in: "internal/pathtree directory.settle", tests: "./internal/pathtree",
		old: "d.parent.endChild(d, last)", new: "d.last = last",
	},
	{
		name: "a write is not synced", in: "engine/pebble database.apply", tests: "./engine/pebble",
		old: "d.db.ApplyNoSyncWait(b, pebble.Sync)", new: "d.db.Apply(b, pebble.NoSync)",
	},
	{
		name: "a flipped bit is not noticed", in: "internal/codec Decode", tests: "./internal/codec ./engine/pebble",
		old: "got != want", new: "got != want && len(data) > 1<<20",
	},
	{
		name: "the end of a log is lost in silence", in: "engine/badger store.compareMark", tests: "./engine/badger",
		old: "last >= marked", new: "found.version >= 0",
	},
	{
		name: "invalid JSON is stored", in: "storage checkData",
		old: "jsonvalid.Valid(data)", new: "(jsonvalid.Valid(data) || len(data) > 0)",
	},
	{
		name: "the data is not copied", in: "storage Batch.add",
		old: "w.data = copyData(w.data)", new: "",
	},
	{
		name: "a delete of nothing takes a revision that the layer never hears of", in: "storage run.commitGlob", tests: "./storage",
		old: "r.publishGlob(w, nil)", new: "r.pipeline.committed(r.pipeline.given + 1); r.publishGlob(w, nil)",
	},
	{
		name: "a subscription resumes from within a fresh state", in: "storage Subscription.takeAtHand", tests: "./storage",
		old: "s.reset, s.revision = false, 0", new: "s.reset = false",
	},
	{
		name: "answers stay that came from writes that failed", in: "storage fail", tests: "./storage",
		old: "!w.refused", new: "w.err == nil",
	},
	{
		name: "a point read sees deletes one by one", in: "storage layerView.read", tests: "./storage",
		old: "defer v.holdWhole()()", new: "",
	},
	{
		name: "an undone delete writes the end that a rule sets", in: "storage memoryView.removal", tests: "./storage",
		old: "d.own = v.r.expirer.own(d.path)", new: "_ = v.r.expirer.own(d.path)",
	},
}
