package storagetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

var subscribeClauses = slices.Concat([]Clause{
	{"SUBSCRIBE-01", "A subscription delivers the objects that match, then NoticeLive, then each change.", onSubscriber(subscribeTells)},
	{"SUBSCRIBE-02", "A subscription follows a glob, a single path, or everything for an empty pattern, and delivers nothing else.", onSubscriber(subscribePatterns)},
	{"SUBSCRIBE-03", "A NoticeSet has the stored object, a NoticeDel the removed one, each with the revision of its change; NoticeLive has that of the state.", onSubscriber(subscribeObjects)},
	{"SUBSCRIBE-04", "The keys of a glob delete come one after another, with one revision, and More on each but the last.", onSubscriber(subscribeGlobDel)},
	{"SUBSCRIBE-05", "The keys of a batch that match come one after another, with More on each but the last.", onSubscriber(subscribeBatch)},
	{"SUBSCRIBE-06", "Clear delivers each key that it removes, with its object.", onSubscriber(subscribeClear)},
	{"SUBSCRIBE-07", "Silent: DelSilent and keys of NoBroadcastKeys are not delivered; these keys are in no state.", subscribeSilent},
	{"SUBSCRIBE-08", "Silent: a failed write is not delivered.", onSubscriber(subscribeFailed)},
	{"SUBSCRIBE-09", "Subscribe with an invalid pattern returns ErrInvalidPath; with a negative buffer or an unknown policy, ErrInvalidOptions; with a context that is done, the error of the context; on an inactive database, ErrNotActive.", subscribeRefuses},
	{"SUBSCRIBE-10", "Visible: when a change is delivered, it can be read.", onSubscriber(subscribeVisible)},
	{"SUBSCRIBE-11", "The removal of an expired object is delivered like a delete.", onSubscriber(subscribeExpires)},
	{"SUBSCRIBE-12", "A write and what Options.Retention removes for it are one change: after a notice without More, no mirror holds more than the limit.", subscribeLimited},
	{"SUBSCRIBE-13", "A NoticeDel has the reason: a delete, an expiry, a limit, a clear or a pattern; also for a subscription that fell behind, and for one that resumes.", subscribeReasons},

	{"SUBSCRIBE-20", "From resumes: what was committed after it comes first, then NoticeLive, and no state.", onSubscriber(subscribeResumes)},
	{"SUBSCRIBE-21", "From a revision that the database has not reached returns ErrFutureRevision.", onSubscriber(subscribeFuture)},
	{"SUBSCRIBE-22", "From a revision before the beginning of Options.History begins with NoticeReset, the state and NoticeLive.", subscribeForgotten},
	{"SUBSCRIBE-23", "After a restart, From begins with NoticeReset and the state, unless nothing was missed; nothing is lost.", onSubscriber(subscribeRestarted)},

	{"SUBSCRIBE-30", "LagReset: a subscription that falls behind gets NoticeReset and a fresh state, and continues.", onSubscriber(subscribeLagReset)},
	{"SUBSCRIBE-31", "LagNewest: a subscription that falls behind gets the newest change of each key, in order, and continues.", onSubscriber(subscribeLagNewest)},
	{"SUBSCRIBE-32", "LagError: a subscription that falls behind gets its complete backlog, and then ErrLagged.", onSubscriber(subscribeLagError)},
	{"SUBSCRIBE-33", "A subscription that nobody reads blocks no writer and no other subscription, and Close only for a bounded time.", onSubscriber(subscribeStuck)},
	{"SUBSCRIBE-34", "Lag is the number of changes that wait for Next.", onSubscriber(subscribeLag)},
	{"SUBSCRIBE-35", "LagNewest: a subscription that falls behind gets nothing for a key that was created and removed in the meantime, and a NoticeDel for one that existed before.", onSubscriber(subscribeComesAndGoes)},

	{"SUBSCRIBE-40", "The context of Next ends that Next, even if it need not wait, and the subscription continues.", onSubscriber(subscribeNextContext)},
	{"SUBSCRIBE-41", "Close ends a subscription immediately, also for a waiting Next, with ErrSubscriptionClosed. Close may be called again.", onSubscriber(subscribeClose)},
	{"SUBSCRIBE-42", "The context of Subscribe ends a subscription immediately, with its error.", onSubscriber(subscribeContext)},
	{"SUBSCRIBE-43", "Close of the database delivers what was committed, and then Next returns ErrNotActive.", onSubscriber(subscribeStoreClose)},
	{"SUBSCRIBE-44", "After Close of the database no goroutine is left.", subscribeGoroutines},
}, subtreeSubscribeClauses, catchUpClauses)

// TestSubscribe runs the SUBSCRIBE clauses on a database that offers Subscribe. Each opens a fresh, empty database.
func TestSubscribe(t *testing.T, open func(t T) storage.Database, opts Options) {
	t.Helper()
	logDatabaseCapabilities(t, open(t))
	runAll(t, subscribeClauses, &subject{Options: opts, openDatabase: open})
}

// subscribed is a started database that offers Subscribe.
type subscribed struct {
	storage.Database
	s         *subject
	subscribe subscriber
}

// onSubscriber returns the run of a clause. It checks nothing if the database has no Subscribe.
func onSubscriber(check func(t T, db *subscribed)) func(T, *subject) {
	return func(t T, s *subject) {
		t.Helper()
		if db := s.subscribed(t, storage.Options{}); db != nil {
			check(t, db)
		}
	}
}

// subscribed starts a database. It returns nil if the database has no Subscribe.
func (s *subject) subscribed(t T, opts storage.Options) *subscribed {
	t.Helper()
	db := s.started(t, opts)
	subscribe, ok := subscriberOf(db)
	if !ok {
		t.Logf("%T has no Subscribe: nothing is checked", db)
		return nil
	}
	return &subscribed{db, s, subscribe}
}

// reader reads one subscription, for a clause.
type reader struct {
	Cursor
	s       *subject
	pattern string
}

// follow subscribes until the end of the clause.
func (db *subscribed) follow(t T, pattern string, opt storage.SubscribeOptions) *reader {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	cursor, err := db.subscribe(ctx, pattern, opt)
	must(t, "Subscribe "+pattern, err)
	t.Cleanup(cursor.Close)
	return &reader{cursor, db.s, pattern}
}

// next returns the next notice, which must arrive.
func (r *reader) next(t T) storage.Notice {
	t.Helper()
	n, err := r.patient()
	must(t, fmt.Sprintf("Next of the subscription to %q", r.pattern), err)
	return n
}

// patient is Next with the suite's patience.
func (r *reader) patient() (storage.Notice, error) {
	for {
		seen := r.s.beats.count.Load()
		ctx, cancel := context.WithTimeout(context.Background(), r.s.patience())
		n, err := r.Next(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && r.s.beats.count.Load() != seen {
			continue
		}
		r.s.beats.advance()
		return n, err
	}
}

// until returns the notices before the first one of a path, which must arrive.
func (r *reader) until(t T, path string) (before []storage.Notice) {
	t.Helper()
	for {
		n := r.next(t)
		if n.Path == path && isChange(n) {
			return before
		}
		before = append(before, n)
	}
}

// live returns the notices up to NoticeLive.
func (r *reader) live(t T) (all []storage.Notice) {
	t.Helper()
	for {
		n := r.next(t)
		all = append(all, n)
		if n.Kind == storage.NoticeLive {
			return all
		}
	}
}

// want checks the next notices. The objects of a state may arrive in any order.
func (r *reader) want(t T, what string, want ...string) {
	t.Helper()
	var got []storage.Notice
	for range want {
		got = append(got, r.next(t))
	}
	wantTold(t, what, got, want...)
}

// wantTold checks notices. The objects of a state may be in any order.
func wantTold(t T, what string, notices []storage.Notice, want ...string) {
	t.Helper()
	got := make([]string, len(notices))
	begin := 0
	for i, n := range notices {
		got[i] = n.Kind.String()
		if n.Object != nil {
			got[i] += fmt.Sprintf(" %s %d", n.Path, numberOf(n.Object.Data))
		}
		if n.More {
			got[i] += " +"
		}
		if !isState(n) {
			slices.Sort(got[begin:i])
			begin = i + 1
		}
	}
	slices.Sort(got[begin:])
	if !slices.Equal(got, want) {
		t.Errorf("%s tells %q, want %q", what, got, want)
	}
}

// end checks that Next now returns an error, and keeps returning it.
func (r *reader) end(t T, what string, want error) {
	t.Helper()
	for range 2 {
		if n, err := r.patient(); !errors.Is(err, want) {
			t.Errorf("%s: Next of the subscription to %q returns %s and %v, want %v", what, r.pattern, showNotice(n), err, want)
		}
	}
}

func subscribeTells(t T, db *subscribed) {
	set(t, db, "s01/1", 1)
	set(t, db, "s01/2", 2)
	r := db.follow(t, "s01/*", storage.SubscribeOptions{})
	set(t, db, "s01/3", 3)
	set(t, db, "s01/1", 4)
	must(t, "Del", db.Del("s01/2"))
	r.want(t, "a subscription", "state s01/1 1", "state s01/2 2", "live", "set s01/3 3", "set s01/1 4", "del s01/2 2")
	set(t, db, "s01/2", 5)
	r.want(t, "a subscription that waits", "set s01/2 5")
}

func subscribePatterns(t T, db *subscribed) {
	for i, path := range tree {
		set(t, db, path, int64(i))
	}
	followed := slices.Concat(globs, []string{"", "root", "users/1", "none"})
	readers := make([]*reader, len(followed))
	for i, pattern := range followed {
		readers[i] = db.follow(t, pattern, storage.SubscribeOptions{})
	}
	for i, path := range tree {
		set(t, db, path, int64(100+i))
	}
	for i, pattern := range followed {
		want := slices.Clone(tree)
		if pattern != "" {
			want = matching(pattern, tree)
		}
		slices.Sort(want)
		r := readers[i]
		state := r.live(t)
		wantPaths(t, fmt.Sprintf("the state of %q", pattern), sorted(pathsOfNotices(state[:len(state)-1])), want)
		changes := make([]storage.Notice, 0, len(want))
		for range want {
			changes = append(changes, r.next(t))
		}
		wantPaths(t, fmt.Sprintf("the changes of %q", pattern), sorted(pathsOfNotices(changes)), want)
	}
}

func pathsOfNotices(notices []storage.Notice) []string {
	all := make([]string, len(notices))
	for i, n := range notices {
		all[i] = n.Path
	}
	return all
}

func subscribeObjects(t T, db *subscribed) {
	check := func(n storage.Notice, kind storage.NoticeKind, revision uint64, want meta.Object) {
		t.Helper()
		if n.Kind != kind || n.Revision != revision || n.Path != want.Path || n.More {
			t.Errorf("the notice is %s, want %s %q of revision %d", showNotice(n), kind, want.Path, revision)
		}
		if n.Object == nil {
			t.Errorf("%s has no object", showNotice(n))
			return
		}
		if d := diff(*n.Object, want); d != "" {
			t.Errorf("the object of %s: %s", showNotice(n), d)
		}
		wantClipped(t, showNotice(n), n.Object.Data)
	}
	first := set(t, db, "s03/1", 1)
	r := db.follow(t, "s03/*", storage.SubscribeOptions{})
	check(r.next(t), storage.NoticeState, first.Revision, first)
	live := r.next(t)
	if live.Kind != storage.NoticeLive || live.Revision != first.Revision || live.Path != "" || live.Object != nil {
		t.Errorf("behind the state comes %s, want NoticeLive of revision %d, without path and object", showNotice(live), first.Revision)
	}
	second := set(t, db, "s03/1", 2)
	check(r.next(t), storage.NoticeSet, second.Revision, second)
	setAt(t, db, meta.Object{Path: "s03/2", Created: 3, Updated: 4, Data: json.RawMessage(` {"n":1 } `)})
	third := get(t, db, "s03/2")
	check(r.next(t), storage.NoticeSet, third.Revision, third)
	must(t, "Del", db.Del("s03/1"))
	removed := r.next(t)
	check(removed, storage.NoticeDel, removed.Revision, second)
	if removed.Revision <= third.Revision {
		t.Errorf("a delete has revision %d, the write before it %d", removed.Revision, third.Revision)
	}
}

func subscribeGlobDel(t T, db *subscribed) {
	for i := range int64(5) {
		set(t, db, fmt.Sprintf("s04/%d", i), i)
	}
	set(t, db, "s04x/1", 1)
	all, one := db.follow(t, "s04/*", storage.SubscribeOptions{}), db.follow(t, "s04/3", storage.SubscribeOptions{})
	all.live(t)
	one.live(t)
	must(t, "Del of a glob", db.Del("s04*/*"))
	set(t, db, "s04/3", 9)
	var revision uint64
	paths := []string{}
	for i := range 5 {
		n := all.next(t)
		if i == 0 {
			revision = n.Revision
		}
		if n.Kind != storage.NoticeDel || n.Revision != revision || n.More != (i < 4) {
			t.Errorf("the key %d of a glob delete is told as %s", i, showNotice(n))
		}
		paths = append(paths, n.Path)
	}
	wantPaths(t, "a glob delete tells", sorted(paths), []string{"s04/0", "s04/1", "s04/2", "s04/3", "s04/4"})
	one.want(t, "a subscription to one of the keys", "del s04/3 3", "set s04/3 9")
}

func subscribeBatch(t T, db *subscribed) {
	batches, ok := db.Database.(committer)
	if !ok {
		t.Logf("%T has no Commit: nothing is checked", db.Database)
		return
	}
	set(t, db, "s05/1", 1)
	all, one := db.follow(t, "s05/*", storage.SubscribeOptions{}), db.follow(t, "s05/2", storage.SubscribeOptions{})
	all.live(t)
	one.live(t)
	var batch storage.Batch
	batch.Set("s05/2", dataOf(2))
	batch.Set("other", dataOf(2))
	batch.Del("s05/1")
	batch.Set("s05/3", dataOf(2))
	batch.Set("s05x", dataOf(2))
	objects, err := batches.Commit(&batch)
	if errors.Is(err, storage.ErrBatchUnsupported) {
		t.Logf("%T takes no batch: nothing is checked", db.Database)
		return
	}
	must(t, "Commit", err)
	all.want(t, "a subscription", "set s05/2 2 +", "del s05/1 1 +", "set s05/3 2")
	set(t, db, "s05/2", 3)
	n := one.next(t)
	if n.More || n.Revision != objects[0].Revision {
		t.Errorf("the only key of a batch that matches is told as %s, want revision %d", showNotice(n), objects[0].Revision)
	}
	one.want(t, "a subscription to one of the keys", "set s05/2 3")
}

func subscribeClear(t T, db *subscribed) {
	set(t, db, "s06/1", 1)
	set(t, db, "s06/2", 2)
	set(t, db, "s06x", 3)
	r := db.follow(t, "s06/*", storage.SubscribeOptions{})
	r.live(t)
	db.Clear()
	var removed []string
	for range 2 {
		n := r.next(t)
		if n.Kind != storage.NoticeDel || n.Object == nil {
			t.Errorf("Clear is told as %s", showNotice(n))
		}
		removed = append(removed, n.Path)
	}
	wantPaths(t, "Clear tells", sorted(removed), []string{"s06/1", "s06/2"})
	set(t, db, "s06/3", 4)
	r.want(t, "behind a Clear a subscription", "set s06/3 4")
}

func subscribeSilent(t T, s *subject) {
	db := s.subscribed(t, storage.Options{NoBroadcastKeys: []string{"s07/quiet", "s07/secret*"}})
	if db == nil {
		return
	}
	for i, path := range []string{"s07/1", "s07/2", "s07/3", "s07/quiet", "s07/secret1"} {
		set(t, db, path, int64(i))
	}
	r := db.follow(t, "s07/*", storage.SubscribeOptions{})
	r.want(t, "a state", "state s07/1 0", "state s07/2 1", "state s07/3 2", "live")
	must(t, "DelSilent", db.DelSilent("s07/1"))
	must(t, "DelSilent of a glob", db.DelSilent("s07/*"))
	set(t, db, "s07/quiet", 10)
	must(t, "Del", db.Del("s07/quiet"))
	set(t, db, "s07/secret2", 11)
	set(t, db, "s07/4", 12)
	must(t, "Del of a glob", db.Del("s07/*"))
	set(t, db, "s07/end", 13)
	wantTold(t, "a subscription", r.until(t, "s07/end"), "set s07/4 12", "del s07/4 12")
}

func subscribeFailed(t T, db *subscribed) {
	set(t, db, "s08/1", 1)
	r := db.follow(t, "s08/*", storage.SubscribeOptions{})
	r.live(t)
	_, err := db.Set("s08/1", json.RawMessage(`{`))
	wantErr(t, "Set", err, storage.ErrInvalidStorageData)
	_, err = db.Push("s08/*", nil)
	wantErr(t, "Push", err, storage.ErrInvalidStorageData)
	wantErr(t, "Del", db.Del("s08/none"), storage.ErrNotFound)
	must(t, "Del of a glob without a match", db.Del("s08/none*"))
	_, err = db.SetAndUnlock("s08/1", dataOf(1))
	wantErr(t, "SetAndUnlock", err, storage.ErrLockNotFound)
	set(t, db, "s08/end", 2)
	wantTold(t, "writes that failed", r.until(t, "s08/end"))
}

func subscribeRefuses(t T, s *subject) {
	db := s.openDatabase(t)
	subscribe, ok := subscriberOf(db)
	if !ok {
		t.Logf("%T has no Subscribe: nothing is checked", db)
		return
	}
	refused := func(what string, ctx context.Context, pattern string, opt storage.SubscribeOptions, want error) {
		t.Helper()
		cursor, err := subscribe(ctx, pattern, opt)
		wantErr(t, "Subscribe "+what, err, want)
		if cursor != nil {
			t.Errorf("Subscribe %s returns a subscription", what)
			cursor.Close()
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	refused("before Start", ctx, "a/*", storage.SubscribeOptions{}, storage.ErrNotActive)
	startDatabase(t, db, storage.Options{})
	for _, c := range slices.Concat(invalidPaths, invalidPatterns) {
		if c.path != "" {
			refused("with an invalid path, "+c.name, ctx, c.path, storage.SubscribeOptions{}, storage.ErrInvalidPath)
		}
	}
	refused("with a negative buffer", ctx, "a/*", storage.SubscribeOptions{Buffer: -1}, storage.ErrInvalidOptions)
	refused("with an unknown policy", ctx, "a/*", storage.SubscribeOptions{Lag: storage.LagError + 1}, storage.ErrInvalidOptions)
	cancel()
	refused("with a context that is done", ctx, "a/*", storage.SubscribeOptions{}, context.Canceled)
	db.Close()
	refused("after Close", context.Background(), "a/*", storage.SubscribeOptions{}, storage.ErrNotActive)
}

func subscribeVisible(t T, db *subscribed) {
	r := db.follow(t, "s10/*", storage.SubscribeOptions{})
	var writing sync.WaitGroup
	defer writing.Wait()
	writing.Go(func() {
		for i := range int64(100) {
			if _, err := db.Set(fmt.Sprintf("s10/%d", i%7), dataOf(i)); err != nil {
				t.Errorf("Set: %v", err)
				return
			}
		}
	})
	r.live(t)
	for range 100 {
		n := r.next(t)
		obj, err := db.Get(n.Path)
		if err != nil || obj.Revision < n.Revision {
			t.Errorf("when %s is told, Get gives revision %d (error %v)", showNotice(n), obj.Revision, err)
			return
		}
	}
}

func subscribeExpires(t T, db *subscribed) {
	setter, ok := db.Database.(conditional)
	if !ok {
		t.Logf("%T has no SetWith: nothing is checked", db.Database)
		return
	}
	r := db.follow(t, "s11/*", storage.SubscribeOptions{})
	r.live(t)
	obj, err := setter.SetWith("s11/1", dataOf(1), storage.SetOptions{TTL: 20 * time.Millisecond})
	must(t, "SetWith", err)
	if n := r.next(t); n.Kind != storage.NoticeSet || n.Object == nil || n.Object.Expires != obj.Expires {
		t.Errorf("an object with a time to live is told as %s", showNotice(n))
	}
	n := r.next(t)
	if n.Kind != storage.NoticeDel || n.Path != "s11/1" || n.Object == nil || n.Revision <= obj.Revision {
		t.Errorf("its end is told as %s", showNotice(n))
	}
}
