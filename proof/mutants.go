package main

// mutants are the deliberate faults of the mutation campaign.
var mutants = []mutant{
	{
		name: "publish before memory changes", file: "storage/order.go",
		old: "\t\tr.apply(o)\n", new: "\t\tr.publish(o)\n\t\tr.apply(o)\n",
	},
	{
		name: "memory changes though the layer failed", file: "storage/order.go",
		old: "\tif err != nil {\n\t\tfail(group, err)\n\t}\n\tif err == nil && len(o.leaves) > 0 {\n\t\tr.apply(o)\n",
		new: "\tif len(o.leaves) > 0 {\n\t\tr.apply(o)\n\t}\n\tif err != nil {\n\t\tfail(group, err)\n\t}\n\tif err == nil && len(o.leaves) > 0 {\n",
	},
	{
		name: "a failed commit does not stop the writes", file: "storage/commit.go",
		old: "\tp.stopped.CompareAndSwap(nil, &stopped)\n\treturn p.cause()", new: "\treturn stopped",
	},
	{
		name: "a group does not wait for the one before it", file: "storage/commit.go",
		old: "\t<-before\n", new: "\t_ = before\n",
	},
	{
		name: "a glob delete does not wait for groups under way", file: "storage/commit.go",
		old: "\t\t<-p.last\n\t\tr.commitGroup(group)", new: "\t\tr.commitGroup(group)",
	},
	{
		name: "an overwrite forgets Created", file: "storage/stage.go",
		old: "meta.Object{Created: w.found.created, Updated: now}", new: "meta.Object{Created: now, Updated: now}",
	},
	{
		name: "writes of a group do not see those before them", file: "storage/stage.go",
		old: "\t\tif overlaid {\n\t\t\tp.overlay.put(w)\n\t\t}\n", new: "\t\t_ = overlaid\n",
	},
	{
		name: "a batch goes on without the part that fails", file: "storage/stage.go",
		old: "\t\tif errors.Is(err, ErrNotFound) && batch.lenient {", new: "\t\tif errors.Is(err, ErrNotFound) {",
	},
	{
		name: "a condition on a revision is not checked", file: "storage/condition.go",
		old: "c.kind == ifRevision && (!f.exists || f.revision != c.revision)", new: "c.kind == ifRevision && !f.exists",
	},
	{
		name: "a condition on absence is not checked", file: "storage/condition.go",
		old: "c.kind == ifAbsent && f.exists", new: "c.kind == ifAbsent && f.exists && f.revision == 0",
	},
	{
		name: "a fill of the cache is not guarded", file: "storage/cache.go",
		old: "if t.valid && t.slot.commits == 0 && t.slot.version == t.version {", new: "if t.slot != nil {",
	},
	{
		name: "a range leaves its end out", file: "internal/pathtree/list.go",
		old: "if p.Created < q.From || p.Created > q.To {", new: "if p.Created < q.From || p.Created >= q.To {",
	},
	{
		name: "a limit is off by one", file: "internal/pathtree/list.go",
		old: "return len(p.picked) < limit", new: "return len(p.picked) <= limit",
	},
	{
		name: "a list across directories keeps the wrong end", file: "internal/pathtree/list.go",
		old: "p.compare(n, p.picked[0]) < 0", new: "p.compare(n, p.picked[0]) > 0",
	},
	{
		name: "several keys change one by one for point reads", file: "internal/pathtree/apply.go",
		old: "\tif t.done.Load() {\n\t\treturn t.after\n\t}\n\treturn t.before", new: "\treturn t.after",
	},
	{
		name: "an overwrite leaves the old table before it is in the new one", file: "internal/pathtree/index.go",
		old:   "\tt.add(v, hash)\n\tif old != nil {\n\t\t// In the new table first: there is no moment when readers find neither.\n\t\tt.from.Load().drop(old, hash)\n\t\treturn\n\t}\n",
		new:   "\tif old != nil {\n\t\tt.from.Load().drop(old, hash)\n\t\tt.add(v, hash)\n\t\treturn\n\t}\n\tt.add(v, hash)\n",
		tests: "./internal/pathtree",
	},
	{
		name: "a look-up does not notice that the table was replaced", file: "internal/pathtree/index.go",
		old: "\t\tif x.table.Load() == t {\n\t\t\treturn nil\n\t\t}\n\t}\n\treturn x.search", new: "\t\treturn nil\n\t}\n\treturn x.search",
		tests: "./internal/pathtree",
	},
	{
		name: "a move empties the old table first", file: "internal/pathtree/index.go",
		old: "\t\t\t\t\tt.add(v, hashOf(v.path))\n\t\t\t\t\tb.slot[i].Store(nil)\n", new: "\t\t\t\t\tb.slot[i].Store(nil)\n\t\t\t\t\tt.add(v, hashOf(v.path))\n",
		tests: "./internal/pathtree",
	},
	{
		name: "a table loses what was in the buckets behind the first", file: "internal/pathtree/index.go",
		old: "b := &from.buckets[x.moved]; b != nil; b = b.next.Load()", new: "b := &from.buckets[x.moved]; b != nil; b = nil",
	},
	{
		name: "an expired object is read", file: "internal/pathtree/list.go",
		old: "\treturn end <= c.Time\n", new: "\treturn end <= 0\n",
	},
	{
		name: "an expired object is never removed", file: "storage/expire.go",
		old: "\terr := e.remove(paths)\n", new: "\tvar err error\n",
	},
	{
		name: "a list with a limit holds one more", file: "storage/retain.go",
		old: "\tif count <= limit {", new: "\tif limit++; count <= limit {",
	},
	{
		name: "an unlock wakes nobody", file: "storage/lock.go",
		old: "lock.waiters.Front(); first != nil {", new: "lock.waiters.Front(); first != nil && t.closed {",
	},
	{
		name: "a shard is chosen by another hash", file: "storage/sharded.go",
		old: "hash *= 16777619", new: "hash *= 16777618",
	},
	{
		name: "past its limit a queue drops the newest", file: "storage/backlog.go",
		old: "\t\tb.fold(i)\n", new: "\t\tif _, ok := b.newest[b.slots[i].Key]; ok {\n\t\t\tb.drop(i)\n\t\t\tcontinue\n\t\t}\n\t\tb.fold(i)\n",
	},
	{
		name: "a laggard keeps the end of what it was never told of", file: "storage/backlog.go",
		old: "\tif s.removes() && !s.known {", new: "\tif s.removes() && !s.known && b == nil {",
	},
	{
		name: "a laggard is not told the end of what it knows", file: "storage/backlog.go",
		old: "s.known = i == ghost || b.slots[i].known", new: "s.known = s.known && i == ghost",
	},
	{
		name: "a trim is a change of its own", file: "storage/publish.go",
		old: "\t\tif o.trimmed {", new: "\t\tif o.trimmed && o.parted {",
	},
	{
		name: "a closed subscription holds its store", file: "storage/subscription.go",
		old: "\ts.run = nil\n", new: "",
	},
	{
		name: "a silent delete is told", file: "storage/change.go",
		old: "\tcase w.silent:\n", new: "\tcase w.silent && w.err != nil:\n",
	},
	{
		name: "a subscription resumes where the history does not go back to", file: "storage/history.go",
		old: "\tif revision < h.floor {", new: "\tif revision > h.floor {",
	},
	{
		name: "a subscription that overflows is not told", file: "storage/subscription_state.go",
		old: "missed = missed || s.overflow;", new: "missed = missed && !s.overflow;",
	},
	{
		name: "what was missed is told behind a fresh state", file: "storage/subscription_state.go", tests: "./storage",
		old: "s.state, s.missed, s.live, s.at, s.overflow = state, nil, true, revision, false",
		new: "s.state, s.live, s.at, s.overflow = state, true, revision, false",
	},
	{
		name: "what has no revision did not change", file: "storage/subscription_state.go", tests: "./storage",
		old: "obj.Revision <= s.since && !state.unnumbered", new: "obj.Revision <= s.since",
	},
	{
		name: "revisions start anew", file: "storage/lifecycle.go",
		old: "if last = max(last, l.revision); r.memory != nil {", new: "if last = 0; r.memory != nil {",
	},
	{
		name: "what comes without a revision has none", file: "storage/revision.go", tests: "./storage",
		old: "\tobj.Revision = r.revisionOf(obj)", new: "\t_ = r.revisionOf(obj)",
	},
	{
		name: "the cache holds what a commit changes", file: "storage/cache.go", tests: "./storage",
		old: "w.cached = c.objects.Remove(w.target())", new: "w.cached = false",
	},
	{
		name: "bytes that are no UTF-8 are stored", file: "internal/jsonvalid/jsonvalid.go", tests: "./internal/jsonvalid ./storage",
		old: "return Grammar(data) && utf8.Valid(data)", new: "return Grammar(data) && (utf8.Valid(data) || true)",
	},
	{
		name: "a directory that ends is not told to its parent", file: "internal/pathtree/expiry.go", tests: "./internal/pathtree",
		old: "\t\td.parent.endChild(d, last)", new: "\t\td.last = last",
	},
	{
		name: "a write is not synced", file: "engine/pebble/write.go", tests: "./engine/pebble",
		old: "return b, d.db.ApplyNoSyncWait(b, pebble.Sync)", new: "return b, d.db.Apply(b, pebble.NoSync)",
	},
	{
		name: "a flipped bit is not noticed", file: "internal/codec/codec.go", tests: "./internal/codec ./engine/pebble",
		old: "got != want {", new: "got != want && len(data) > 1<<20 {",
	},
	{
		name: "invalid JSON is stored", file: "storage/validate.go",
		old: "\tif jsonvalid.Valid(data) {", new: "\tif jsonvalid.Valid(data) || len(data) > 0 {",
	},
	{
		name: "the data is not copied", file: "storage/batch.go",
		old: "\tw.data = copyData(data)\n", new: "\tw.data = data\n",
	},
	{
		name: "a delete of nothing takes a revision that the layer never hears of", file: "storage/glob.go", tests: "./storage",
		old: "\tif len(doomed) == 0 {\n", new: "\tif r.pipeline.committed(r.pipeline.given + 1); len(doomed) == 0 {\n",
	},
	{
		name: "a subscription resumes from within a fresh state", file: "storage/subscription.go", tests: "./storage",
		old: "s.reset, s.revision = false, 0", new: "s.reset = false",
	},
	{
		name: "answers stay that came from writes that failed", file: "storage/commit.go", tests: "./storage",
		old: "\t\tif !w.refused {\n\t\t\tw.fail(err)", new: "\t\tif w.err == nil {\n\t\t\tw.fail(err)",
	},
	{
		name: "a point read sees deletes one by one", file: "storage/view_layer.go", tests: "./storage",
		old: "\tdefer v.holdWhole()()\n\tobj, err := getFrom(v.r.layer, path)", new: "\tobj, err := getFrom(v.r.layer, path)",
	},
	{
		name: "an undone delete writes the end that a rule sets", file: "storage/view_memory.go", tests: "./storage",
		old: "d.own = v.r.expirer.own(d.path)", new: "_ = v.r.expirer.own(d.path)",
	},
}
