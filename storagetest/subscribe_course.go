package storagetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/oolith-db/oolith/storage"
)

// This file checks how subscriptions resume, fall behind and end.

func subscribeResumes(t T, db *subscribed) {
	set(t, db, "s20/1", 1)
	r := db.follow(t, "s20/*", storage.SubscribeOptions{})
	r.live(t)
	from := r.Revision()
	r.Close()
	set(t, db, "s20/2", 2)
	set(t, db, "other", 3)
	set(t, db, "s20/1", 4)
	must(t, "Del", db.Del("s20/2"))
	r = db.follow(t, "s20/*", storage.SubscribeOptions{From: from})
	set(t, db, "s20/3", 5)
	r.want(t, "a subscription that resumes", "set s20/2 2", "set s20/1 4", "del s20/2 2", "live", "set s20/3 5")
	from = r.Revision()
	r = db.follow(t, "s20/*", storage.SubscribeOptions{From: from})
	r.want(t, "one that missed nothing", "live")
	if got := r.Revision(); got < from {
		t.Errorf("the revision of one that resumed from %d is %d", from, got)
	}
}

func subscribeFuture(t T, db *subscribed) {
	obj := set(t, db, "s21/1", 1)
	// Over a shared engine revisions grow in steps, and all revisions below the next step are reached.
	cursor, err := db.subscribe(context.Background(), "s21/*", storage.SubscribeOptions{From: obj.Revision + 1<<16})
	wantErr(t, "Subscribe from the future", err, storage.ErrFutureRevision)
	if cursor != nil {
		cursor.Close()
	}
}

func subscribeForgotten(t T, s *subject) {
	db := s.subscribed(t, storage.Options{History: 5})
	if db == nil {
		return
	}
	first := set(t, db, "s22/1", 1)
	db.follow(t, "s22/*", storage.SubscribeOptions{}).live(t)
	second := set(t, db, "s22/1", 2)
	for i := range int64(5) {
		set(t, db, "s22/2", 10+i)
	}
	// Changes of other keys also push it out of the history.
	set(t, db, "other", 20)
	for _, from := range []uint64{first.Revision, second.Revision} {
		r := db.follow(t, "s22/*", storage.SubscribeOptions{From: from})
		if n := r.next(t); n.Kind != storage.NoticeReset || n.Path != "" || n.Object != nil {
			t.Errorf("one that resumes from too long ago begins with %s, want NoticeReset", showNotice(n))
		}
		r.want(t, "one that resumes from too long ago", "state s22/1 2", "state s22/2 14", "live")
	}
}

func subscribeRestarted(t T, db *subscribed) {
	set(t, db, "s23/1", 1)
	r := db.follow(t, "s23/*", storage.SubscribeOptions{})
	r.live(t)
	set(t, db, "s23/2", 2)
	r.until(t, "s23/2")
	from := r.Revision()
	again := db.s.restarted(t, db.Database)
	subscribe, _ := subscriberOf(again)
	db = &subscribed{again, db.s, subscribe}
	for _, from := range []uint64{from, from - 1} {
		known := map[string]bool{"s23/1": true, "s23/2": true}
		r := db.follow(t, "s23/*", storage.SubscribeOptions{From: from})
		for i, n := range r.live(t) {
			switch {
			case n.Kind == storage.NoticeReset && i == 0:
				clear(known)
			case n.Kind == storage.NoticeState, n.Kind == storage.NoticeSet:
				known[n.Path] = true
			case n.Kind == storage.NoticeDel:
				delete(known, n.Path)
			}
		}
		keys, err := db.Keys()
		must(t, "Keys", err)
		got := []string{}
		for path := range known {
			got = append(got, path)
		}
		wantPaths(t, fmt.Sprintf("one that knew all up to %d and resumes from %d knows", from, from), sorted(got), keys)
	}
}

// fallBehind writes ten keys in turn until a second subscription, which keeps up, has received everything.
func (db *subscribed) fallBehind(t T, dir string, changes int64) {
	t.Helper()
	quick := db.follow(t, dir+"/*", storage.SubscribeOptions{})
	quick.live(t)
	for i := range changes {
		_, err := db.Set(fmt.Sprintf("%s/%d", dir, i%10), dataOf(i))
		must(t, "Set", err)
	}
	set(t, db, dir+"/end", changes)
	quick.until(t, dir+"/end")
}

func subscribeLagReset(t T, db *subscribed) {
	r := db.follow(t, "s30/*", storage.SubscribeOptions{Buffer: 20})
	r.live(t)
	db.fallBehind(t, "s30", 1000)
	if n := r.next(t); n.Kind != storage.NoticeReset {
		t.Fatalf("one that fell behind by 1000 changes, with a buffer of 20, is told %s, want NoticeReset", showNotice(n))
	}
	want := []string{}
	for i := range 10 {
		want = append(want, fmt.Sprintf("state s30/%d %d", i, 990+i))
	}
	r.want(t, "behind NoticeReset a subscription", append(want, "state s30/end 1000", "live")...)
	set(t, db, "s30/1", 2000)
	r.want(t, "behind a fresh state a subscription", "set s30/1 2000")
}

func subscribeLagNewest(t T, db *subscribed) {
	r := db.follow(t, "s31/*", storage.SubscribeOptions{Buffer: 20, Lag: storage.LagNewest})
	r.live(t)
	db.fallBehind(t, "s31", 1000)
	told := r.until(t, "s31/end")
	if len(told) > 500 {
		t.Errorf("one that fell behind by 1000 changes of 10 keys is told %d of them", len(told))
	}
	var last uint64
	newest := map[string]int64{}
	for _, n := range told {
		if n.Kind != storage.NoticeSet || n.Revision <= last {
			t.Errorf("%s comes behind revision %d", showNotice(n), last)
			return
		}
		last = n.Revision
		newest[n.Path] = numberOf(n.Object.Data)
	}
	for i := range int64(10) {
		if path := fmt.Sprintf("s31/%d", i); newest[path] != 990+i {
			t.Errorf("the newest change of %s that is told is %d, want %d", path, newest[path], 990+i)
		}
	}
	set(t, db, "s31/1", 2000)
	r.want(t, "one that has caught up", "set s31/1 2000")
}

func subscribeLagError(t T, db *subscribed) {
	r := db.follow(t, "s32/*", storage.SubscribeOptions{Buffer: 20, Lag: storage.LagError})
	r.live(t)
	db.fallBehind(t, "s32", 1000)
	for i := range int64(1000) {
		n, err := r.patient()
		if errors.Is(err, storage.ErrLagged) && i >= 20 {
			r.end(t, "one that fell behind", storage.ErrLagged)
			return
		}
		if err != nil || n.Kind != storage.NoticeSet || n.Object == nil || numberOf(n.Object.Data) != i {
			t.Fatalf("one that fell behind is told %s and %v, want change %d", showNotice(n), err, i)
		}
	}
	t.Errorf("one that fell behind by 1000 changes, with a buffer of 20, did not end")
}

func subscribeStuck(t T, db *subscribed) {
	stuck := []*reader{}
	for _, policy := range []storage.LagPolicy{storage.LagReset, storage.LagNewest, storage.LagError} {
		stuck = append(stuck, db.follow(t, "s33/*", storage.SubscribeOptions{Lag: policy, Buffer: 10}))
	}
	rounds := 300
	if !db.s.Persistent {
		rounds = 20_000
	}
	other := db.follow(t, "s33/*", storage.SubscribeOptions{Buffer: 1 << 20})
	db.s.sets(t, fmt.Sprintf("%d writes beside subscriptions that nobody reads", rounds), db, rounds, func(i int) string {
		return fmt.Sprintf("s33/%d", i%50)
	})
	set(t, db, "s33/end", 1)
	if told := other.until(t, "s33/end"); len(told) != rounds+1 {
		t.Errorf("another subscription is told %d notices, want NoticeLive and %d changes", len(told), rounds)
	}
	db.s.within(t, "Close beside subscriptions that nobody reads", db.Close)
	runtime.KeepAlive(stuck)
}

func subscribeLag(t T, db *subscribed) {
	r := db.follow(t, "s34/*", storage.SubscribeOptions{})
	r.live(t)
	db.fallBehind(t, "s34", 30)
	db.s.eventually(t, "31 changes wait", func() bool { return r.Lag() == 31 })
	for left := 30; left >= 0; left-- {
		r.next(t)
		if got := r.Lag(); got != left {
			t.Errorf("Lag is %d with %d changes to tell", got, left)
			return
		}
	}
}

func subscribeNextContext(t T, db *subscribed) {
	r := db.follow(t, "s40/*", storage.SubscribeOptions{})
	r.live(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := start(func() error {
		_, err := r.Next(ctx)
		return err
	})
	if !w.waits(t, db.s, "Next without a change") {
		return
	}
	cancel()
	wantErr(t, "Next whose context ends", w.result(t, db.s, "Next whose context ends"), context.Canceled)
	set(t, db, "s40/1", 1)
	if n, err := r.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Next with a context that is done returns %s and %v", showNotice(n), err)
	}
	r.want(t, "the subscription", "set s40/1 1")
}

func subscribeClose(t T, db *subscribed) {
	set(t, db, "s41/1", 1)
	r, busy := db.follow(t, "s41/*", storage.SubscribeOptions{}), db.follow(t, "s41/*", storage.SubscribeOptions{})
	r.live(t)
	w := start(func() error {
		_, err := r.Next(context.Background())
		return err
	})
	if !w.waits(t, db.s, "Next without a change") {
		return
	}
	db.s.together(t, 2, func(int) { r.Close() })
	wantErr(t, "Next while Close is called", w.result(t, db.s, "Next while Close is called"), storage.ErrSubscriptionClosed)
	r.end(t, "after Close", storage.ErrSubscriptionClosed)
	busy.Close()
	busy.Close()
	busy.end(t, "after Close, with a state to tell", storage.ErrSubscriptionClosed)
}

func subscribeContext(t T, db *subscribed) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cursor, err := db.subscribe(ctx, "s42/*", storage.SubscribeOptions{})
	must(t, "Subscribe", err)
	r := &reader{cursor, db.s, "s42/*"}
	r.live(t)
	w := start(func() error {
		_, err := r.Next(context.Background())
		return err
	})
	if !w.waits(t, db.s, "Next without a change") {
		return
	}
	cancel()
	wantErr(t, "Next when the context of Subscribe ends", w.result(t, db.s, "Next when the context of Subscribe ends"), context.Canceled)
	set(t, db, "s42/1", 1)
	r.end(t, "after the end of the context", context.Canceled)
	r.Close()
}

func subscribeStoreClose(t T, db *subscribed) {
	const n = 400
	r := db.follow(t, "s43/*", storage.SubscribeOptions{})
	r.live(t)
	waiting := db.follow(t, "none", storage.SubscribeOptions{})
	waiting.live(t)
	w := start(func() error {
		_, err := waiting.Next(context.Background())
		return err
	})
	want := []string{}
	for i := range int64(n) {
		_, err := db.Set(fmt.Sprintf("s43/%d", i), dataOf(i))
		must(t, "Set", err)
		want = append(want, fmt.Sprintf("s43/%d", i))
	}
	db.s.within(t, "Close", db.Close)
	wantErr(t, "Next while the database is closed", w.result(t, db.s, "Next while the database is closed"), storage.ErrNotActive)
	told := []storage.Notice{}
	for {
		n, err := r.patient()
		if err != nil {
			break
		}
		told = append(told, n)
	}
	if got := pathsOfNotices(told); !slices.Equal(got, want) {
		t.Errorf("%d of %d changes are told after Close of the database: %s", len(got), n, abridged(got))
	}
	r.end(t, "behind what was committed before Close of the database", storage.ErrNotActive)
}

func subscribeGoroutines(t T, s *subject) {
	before := runtime.NumGoroutine()
	db := s.subscribed(t, storage.Options{})
	if db == nil {
		return
	}
	for i := range int64(50) {
		set(t, db, fmt.Sprintf("s44/%d", i), i)
	}
	// Subscriptions in all stages, none of them closed.
	db.follow(t, "s44/*", storage.SubscribeOptions{})
	db.follow(t, "", storage.SubscribeOptions{}).next(t)
	db.follow(t, "s44/*", storage.SubscribeOptions{}).live(t)
	db.follow(t, "none", storage.SubscribeOptions{Buffer: 1}).live(t)
	set(t, db, "s44/1", 100)
	s.within(t, "Close", db.Close)
	s.eventually(t, fmt.Sprintf("no more goroutines than the %d before the database was opened", before), func() bool {
		return runtime.NumGoroutine() <= before
	})
}
