package storagetest

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

var eventClauses = slices.Concat([]Clause{
	{"EVENTS-01", "A write sends a \"set\" with its path and the stored object.", onDatabase(eventSet)},
	{"EVENTS-02", "A delete of one path sends a \"del\" with the path and the object that was removed.", onDatabase(eventDel)},
	{"EVENTS-03", "A delete of a glob sends one \"del\" with the pattern as key and no object.", onDatabase(eventGlobDel)},
	{"EVENTS-04", "Clear sends one \"clear\" with an empty key and no object.", onDatabase(eventClear)},
	{"EVENTS-05", "Ordered: the events of one key come in commit order.", onDatabase(eventsOrdered)},
	{"EVENTS-06", "All events of one key come on one shard, FNV-1a(key) % Count.", onDatabase(eventsShard)},
	{"EVENTS-07", "Unique: each change sends one event.", onDatabase(eventsUnique)},
	{"EVENTS-08", "Reliable: every change of a thousand keys arrives, also if nobody read for some time.", onDatabase(eventsReliable)},
	{"EVENTS-09", "Visible: when the event of a change arrives, the change can be read.", onDatabase(eventsVisible)},
	{"EVENTS-10", "Silent: keys of NoBroadcastKeys, patterns included, send nothing.", eventsNoBroadcast},
	{"EVENTS-11", "Silent: DelSilent sends nothing.", onDatabase(eventsDelSilent)},
	{"EVENTS-12", "Silent: a failed write sends nothing.", onDatabase(eventsFailed)},
	{"EVENTS-13", "Unwatched: a store without watchers never blocks and keeps nothing; events are sent from the first watch on.", onDatabase(eventsUnwatched)},
	{"EVENTS-14", "A consumer that does not read blocks no writer, and the final state of each key arrives once it reads.", onDatabase(eventsStuck)},
	{"EVENTS-15", "A consumer may write to the store from inside its handler.", onDatabase(eventsWriteBack)},
	{"EVENTS-16", "Close delivers committed changes to consumers that read, and then closes the channels.", onDatabase(eventsClose)},
	{"EVENTS-17", "WatchSharded before Start and after Close returns channels that are closed and empty.", eventsInactive},
	{"EVENTS-18", "After a restart WatchSharded sends the events of the new run.", onDatabase(eventsRestart)},
	{"EVENTS-19", "WatchWithCallback calls back with every change until Close.", onDatabase(eventsCallback)},
	{"EVENTS-20", "WatchStorageNoop receives the events until Close.", onDatabase(eventsNoop)},
	{"EVENTS-21", "Options.Workers is the number of shards, 6 when it is zero or less.", eventsWorkers},
	{"EVENTS-22", "After Close no goroutine of the database or of its watches remains.", eventsGoroutines},
	{"EVENTS-23", "Close returns in bounded time, even if a consumer does not read.", onDatabase(eventsCloseStuck)},
	{"EVENTS-24", "The memory of a consumer that does not read is bounded by the existing keys: it gets nothing for a key that was created and removed in the meantime, and a \"del\" for one that existed before.", eventsComeAndGo},
	{"EVENTS-25", "Start with an invalid pattern in NoBroadcastKeys returns ErrInvalidPath, so nothing that it would hide is sent.", eventsBadPattern},

	{"EVENTS-30", "Each Watch, and each WatchWithCallback, sees every change.", onWatcher(watchEach)},
	{"EVENTS-31", "A Watch sees the changes of all keys in one order, the commit order.", onWatcher(watchOrder)},
	{"EVENTS-32", "After stop a Watch makes no more callbacks; the others continue. Stop may be called again, and after Close.", onWatcher(watchStop)},
	{"EVENTS-33", "A Watch whose callback panics does not affect the store, the other watches, or Close.", onWatcher(watchPanics)},
	{"EVENTS-34", "A Watch whose callback does not return blocks no writer, no other watch, and Close only for a bounded time.", onWatcher(watchStuck)},
	{"EVENTS-35", "Stop may be called from inside the callback.", onWatcher(watchStopInside)},
	{"EVENTS-36", "The memory of a Watch whose callback does not return is bounded by the existing keys, like that of a channel.", onWatcher(watchComeAndGo)},
}, subtreeEventClauses)

// onWatcher returns the run of a clause. It checks nothing if the database has no Watch.
func onWatcher(check func(t T, s *subject, db storage.Database, w watcher)) func(T, *subject) {
	return onDatabase(func(t T, s *subject, db storage.Database) {
		t.Helper()
		w, ok := db.(watcher)
		if !ok {
			t.Logf("%T has no Watch: nothing is checked", db)
			return
		}
		check(t, s, db, w)
	})
}

func eventSet(t T, s *subject, db storage.Database) {
	check := func(what, path string, c *collector) {
		t.Helper()
		obj := get(t, db, path)
		wantEvent(t, s, c, what, storage.Event{Key: path, Operation: storage.OperationSet, Object: &obj})
		c.flushShard(t, s, db, c.shards.ShardFor(path))
		c.take()
	}
	c := collect(t, db)
	set(t, db, "a/b", 1)
	check("Set", "a/b", c)
	set(t, db, "a/b", 2)
	check("the second Set", "a/b", c)
	setAt(t, db, meta.Object{Path: "a/c", Created: 3, Updated: 4, Data: json.RawMessage(` {"x":1 } `)})
	check("SetWithMeta", "a/c", c)
	index, err := db.Push("p/*", dataOf(1))
	must(t, "Push", err)
	check("Push", "p/"+index, c)
	must(t, "GetAndLock", lockCall(db, "a/b")())
	_, err = db.SetAndUnlock("a/b", dataOf(5))
	must(t, "SetAndUnlock", err)
	check("SetAndUnlock", "a/b", c)
}

func eventDel(t T, s *subject, db storage.Database) {
	set(t, db, "a/b", 1)
	obj := set(t, db, "a/b", 2)
	c := collect(t, db)
	must(t, "Del", db.Del("a/b"))
	wantEvent(t, s, c, "Del", storage.Event{Key: "a/b", Operation: storage.OperationDel, Object: &obj})
}

func eventGlobDel(t T, s *subject, db storage.Database) {
	for i, path := range tree {
		set(t, db, path, int64(i))
	}
	c := collect(t, db)
	must(t, "Del", db.Del("users/*"))
	wantEvent(t, s, c, "Del of a glob", storage.Event{Key: "users/*", Operation: storage.OperationDel})
	c.flush(t, s, db)
	if events := c.take(); len(events) != 1 {
		t.Errorf("Del of a glob sent %d events, want 1: %s", len(events), showAll(events))
	}
}

func eventClear(t T, s *subject, db storage.Database) {
	set(t, db, "a/b", 1)
	c := collect(t, db)
	db.Clear()
	wantEvent(t, s, c, "Clear", storage.Event{Key: "", Operation: storage.OperationClear})
	c.flush(t, s, db)
	if events := c.take(); len(events) != 1 {
		t.Errorf("Clear sent %d events, want 1: %s", len(events), showAll(events))
	}
}

// churn writes 4 keys from 4 concurrent goroutines, with deletes among the sets.
func churn(t T, s *subject, db storage.Database, rounds int) {
	t.Helper()
	s.together(t, 4, func(g int) {
		for i := range rounds {
			s.beats.advance()
			path := fmt.Sprintf("c/%d", (g+i)%4)
			if _, err := db.Set(path, dataOf(int64(g*rounds+i))); err != nil {
				t.Errorf("Set: %v", err)
				return
			}
		}
	})
}

func eventsOrdered(t T, s *subject, db storage.Database) {
	c := collect(t, db)
	churn(t, s, db, 50)
	c.flush(t, s, db)
	last := map[string]uint64{}
	for _, e := range c.take() {
		if e.Object == nil || e.Object.Revision < last[e.Key] {
			t.Errorf("%s comes after revision %d of its key", show(e), last[e.Key])
			return
		}
		last[e.Key] = e.Object.Revision
	}
	for i := range 4 {
		path := fmt.Sprintf("c/%d", i)
		if got := get(t, db, path).Revision; got != last[path] {
			t.Errorf("the last event of %s has revision %d, and the object %d", path, last[path], got)
		}
	}
}

func eventsShard(t T, s *subject, db storage.Database) {
	c := collect(t, db)
	for i := range int64(30) {
		set(t, db, fmt.Sprintf("k/%d", i), i)
		set(t, db, fmt.Sprintf("k/%d", i), i)
	}
	c.flush(t, s, db)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, e := range c.events {
		if want := c.shards.ShardFor(e.Key); c.shard[i] != want {
			t.Errorf("%s came on shard %d, want %d", show(e), c.shard[i], want)
		}
		hash := uint32(2166136261)
		for j := range len(e.Key) {
			hash = (hash ^ uint32(e.Key[j])) * 16777619
		}
		if want := int(hash % uint32(c.shards.Count())); c.shards.ShardFor(e.Key) != want {
			t.Errorf("ShardFor(%q) is %d, want %d", e.Key, c.shards.ShardFor(e.Key), want)
		}
	}
}

func eventsUnique(t T, s *subject, db storage.Database) {
	c := collect(t, db)
	churn(t, s, db, 25)
	must(t, "Del", db.Del("c/1"))
	c.flush(t, s, db)
	seen := map[string]int{}
	for _, e := range c.take() {
		seen[show(e)]++
	}
	for event, n := range seen {
		if n > 1 {
			t.Errorf("the event %s came %d times", event, n)
			return
		}
	}
}

func eventsReliable(t T, s *subject, db storage.Database) {
	const n = 1000
	c := &collector{shards: db.WatchSharded(), more: make(chan struct{})}
	s.sets(t, "a thousand writes that no consumer takes", db, n, func(i int) string { return fmt.Sprintf("r/%d", i) })
	c.read()
	c.flush(t, s, db)
	seen := map[string]bool{}
	for _, e := range c.take() {
		seen[e.Key] = true
	}
	if len(seen) != n {
		t.Errorf("%d of %d changed keys had an event", len(seen), n)
	}
}

func eventsVisible(t T, s *subject, db storage.Database) {
	shards := db.WatchSharded()
	var readers sync.WaitGroup
	var seen atomic.Int64
	for i := range shards.Count() {
		ch := shards.Shard(i)
		readers.Go(func() {
			for e := range ch {
				obj, err := db.Get(e.Key)
				if e.Object == nil || err != nil || obj.Revision < e.Object.Revision {
					t.Errorf("when %s arrives, Get gives revision %d (error %v)", show(e), obj.Revision, err)
				}
				seen.Add(1)
			}
		})
	}
	for i := range int64(50) {
		_, err := db.Set(fmt.Sprintf("v/%d", i%20), dataOf(i))
		must(t, "Set", err)
	}
	s.eventually(t, "50 events arrive", func() bool { return seen.Load() >= 50 })
	db.Close()
	s.within(t, "the channels close", readers.Wait)
}

// wantSilence checks that a function sends no event. It returns the collector, because consumers of one database share
// its events.
func wantSilence(t T, s *subject, db storage.Database, what string, do func()) *collector {
	t.Helper()
	c := collect(t, db)
	do()
	c.flush(t, s, db)
	if events := c.take(); len(events) != 0 {
		t.Errorf("%s sent events, want none: %s", what, showAll(events))
	}
	return c
}

func eventsNoBroadcast(t T, s *subject) {
	db := s.started(t, storage.Options{NoBroadcastKeys: []string{"quiet", "secret/*", "logs/*/raw*"}})
	c := wantSilence(t, s, db, "keys of NoBroadcastKeys", func() {
		for _, path := range []string{"quiet", "secret/1", "logs/x/raw1"} {
			set(t, db, path, 1)
			set(t, db, path, 2)
			must(t, "Del", db.Del(path))
			setAt(t, db, object(path, 3))
		}
		_, err := db.Push("secret/*", dataOf(1))
		must(t, "Push", err)
		must(t, "Del of a glob", db.Del("secret/*"))
	})
	for _, path := range []string{"quiet/1", "secret", "secret/1/x", "logs/x/other"} {
		set(t, db, path, 1)
		if !c.arrives(s, func(e storage.Event) bool { return e.Key == path }) {
			t.Errorf("%s, which NoBroadcastKeys does not match, sent no event", path)
		}
	}
}

func eventsDelSilent(t T, s *subject, db storage.Database) {
	for i, path := range tree {
		set(t, db, path, int64(i))
	}
	wantSilence(t, s, db, "DelSilent", func() {
		must(t, "DelSilent", db.DelSilent("users/1"))
		must(t, "DelSilent of a glob", db.DelSilent("users/*"))
		must(t, "DelSilent of a glob without a match", db.DelSilent("users/*"))
	})
}

func eventsFailed(t T, s *subject, db storage.Database) {
	set(t, db, "a/b", 1)
	wantSilence(t, s, db, "failed writes", func() {
		_, err := db.Set("a/b", json.RawMessage(`{`))
		wantErr(t, "Set", err, storage.ErrInvalidStorageData)
		_, err = db.Set("a//b", dataOf(1))
		wantErr(t, "Set", err, storage.ErrInvalidPath)
		_, err = db.Push("a/*", nil)
		wantErr(t, "Push", err, storage.ErrInvalidStorageData)
		wantErr(t, "Del", db.Del("none"), storage.ErrNotFound)
		_, err = db.SetAndUnlock("a/b", dataOf(1))
		wantErr(t, "SetAndUnlock", err, storage.ErrLockNotFound)
	})
}

func eventsUnwatched(t T, s *subject, db storage.Database) {
	s.sets(t, "writes that nobody watches", db, 500, func(i int) string { return fmt.Sprintf("u/%d", i%7) })
	c := collect(t, db)
	c.flush(t, s, db)
	if events := c.take(); len(events) != 0 {
		t.Errorf("WatchSharded gives %d events of before it was called: %s", len(events), showAll(events))
	}
}

func eventsStuck(t T, s *subject, db storage.Database) {
	const keys = 10
	rounds := 300
	if !s.Persistent {
		rounds = 6000
	}
	c := &collector{shards: db.WatchSharded(), more: make(chan struct{})}
	s.sets(t, fmt.Sprintf("%d writes that no consumer takes", keys*rounds), db, keys*rounds, func(i int) string { return fmt.Sprintf("k/%d", i%keys) })
	final := map[string]uint64{}
	for i := range keys {
		path := fmt.Sprintf("k/%d", i)
		final[path] = get(t, db, path).Revision
	}
	c.read()
	for path, revision := range final {
		if !c.arrives(s, func(e storage.Event) bool {
			return e.Key == path && e.Object != nil && e.Object.Revision == revision
		}) {
			t.Errorf("the newest event of %s, revision %d, has not arrived, %s", path, revision, s.impatient())
			return
		}
	}
}

func eventsWriteBack(t T, s *subject, db storage.Database) {
	const n = 150
	var answers atomic.Int64
	storage.WatchWithCallback(db, func(e storage.Event) {
		if match("ask/*", e.Key) {
			if _, err := db.Set("answer/"+e.Object.Index, e.Object.Data); err != nil {
				t.Errorf("Set in a callback: %v", err)
			}
			if _, err := db.Push("log/*", e.Object.Data); err != nil {
				t.Errorf("Push in a callback: %v", err)
			}
		} else if match("answer/*", e.Key) {
			answers.Add(1)
		}
	})
	s.sets(t, "writes that a callback answers by writes", db, n, func(i int) string { return fmt.Sprintf("ask/%d", i) })
	s.eventually(t, "the events of all writes of the callback", func() bool { return answers.Load() >= n })
}

func eventsClose(t T, s *subject, db storage.Database) {
	const n = 400
	c := collect(t, db)
	for i := range int64(n) {
		_, err := db.Set(fmt.Sprintf("e/%d", i), dataOf(i))
		must(t, "Set", err)
	}
	s.within(t, "Close", db.Close)
	s.within(t, "the channels close", c.closed.Wait)
	if got := len(c.all()); got != n {
		t.Errorf("%d events of %d writes came before the channels were closed", got, n)
	}
}

func eventsInactive(t T, s *subject) {
	db := s.openDatabase(t)
	check := func(when string) {
		shards := db.WatchSharded()
		if shards == nil {
			t.Fatalf("WatchSharded %s is nil", when)
		}
		for i := range shards.Count() {
			s.within(t, "WatchSharded "+when+": its channels are closed", func() {
				if e, open := <-shards.Shard(i); open {
					t.Errorf("WatchSharded %s has an event: %s", when, show(e))
				}
			})
		}
	}
	check("before Start")
	startDatabase(t, db, storage.Options{})
	db.Close()
	check("after Close")
}

func eventsRestart(t T, s *subject, db storage.Database) {
	first := collect(t, db)
	set(t, db, "a/b", 1)
	db = s.restarted(t, db)
	s.within(t, "the channels of the first run close", first.closed.Wait)
	second := collect(t, db)
	set(t, db, "a/c", 2)
	if !second.arrives(s, func(e storage.Event) bool { return e.Key == "a/c" }) {
		t.Errorf("no event of a write after a restart")
	}
}

func eventsCallback(t T, s *subject, db storage.Database) {
	const n = 50
	var got recording
	var count atomic.Int64
	storage.WatchWithCallback(db, func(e storage.Event) {
		got.add(e.Key)
		count.Add(1)
	})
	want := []string{}
	for i := range int64(n) {
		path := fmt.Sprintf("w/%d", i)
		want = append(want, path)
		_, err := db.Set(path, dataOf(i))
		must(t, "Set", err)
	}
	s.eventually(t, "the callbacks of all writes", func() bool { return count.Load() >= n })
	s.within(t, "Close", db.Close)
	wantPaths(t, "keys of the callbacks (in any order)", sorted(got.take()), sorted(want))
}

func eventsNoop(t T, s *subject, db storage.Database) {
	storage.WatchStorageNoop(db)
	s.sets(t, "writes to a drained store", db, 500, func(i int) string { return "a/b" })
	s.within(t, "Close", db.Close)
}

func eventsWorkers(t T, s *subject) {
	for _, c := range []struct{ workers, want int }{{0, 6}, {-3, 6}, {1, 1}, {11, 11}} {
		db := s.started(t, storage.Options{Workers: c.workers})
		if got := db.WatchSharded().Count(); got != c.want {
			t.Errorf("with Workers %d there are %d shards, want %d", c.workers, got, c.want)
		}
		db.Close()
	}
}

func eventsGoroutines(t T, s *subject) {
	before := runtime.NumGoroutine()
	db := s.started(t, storage.Options{})
	c := collect(t, db)
	storage.WatchWithCallback(db, func(storage.Event) {})
	storage.WatchStorageNoop(db)
	stop := func() {}
	if w, ok := db.(watcher); ok {
		stop = w.Watch(func(storage.Event) {})
		w.Watch(func(storage.Event) {})
	}
	for i := range int64(300) {
		_, err := db.Set(fmt.Sprintf("g/%d", i), dataOf(i))
		must(t, "Set", err)
	}
	stop()
	s.within(t, "Close", db.Close)
	s.within(t, "the channels close", c.closed.Wait)
	s.eventually(t, fmt.Sprintf("no more goroutines than the %d before the database was opened", before), func() bool {
		return runtime.NumGoroutine() <= before
	})
}

func eventsCloseStuck(t T, s *subject, db storage.Database) {
	db.WatchSharded()
	for i := range int64(1500) {
		_, err := db.Set(fmt.Sprintf("s/%d", i%900), dataOf(i))
		must(t, "Set", err)
	}
	s.within(t, "Close with events that nobody reads", db.Close)
}
