package storagetest

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/oolith-db/oolith/storage"
)

// This file checks how a subscription begins with an ordered or limited state, without a state, or by catching up.

var catchUpClauses = []Clause{
	{"SUBSCRIBE-15", "ChangesOnly: NoticeLive comes immediately, then each change. From a forgotten revision, NoticeReset and NoticeLive come first.", subscribeChangesOnly},
	{"SUBSCRIBE-16", "Order: the state comes in the order of lists; with Limit, only its first objects. Changes of everything that matches follow.", onSubscriber(subscribeOrdered)},
	{"SUBSCRIBE-17", "ChangesOnly with CatchUp, Order or Limit, Limit without Order, and Limit with CatchUp return ErrInvalidOptions; a negative Limit returns ErrInvalidLimit.", onSubscriber(subscribeContradicts)},
	{"SUBSCRIBE-24", "CatchUp: From a forgotten revision begins with NoticeCatchUp, NoticeState for what changed since, NoticeUnchanged for what did not, and NoticeLive.", subscribeCatchesUp},
	{"SUBSCRIBE-25", "CatchUp: a subscriber that applies all notices and drops what no notice named holds what the database holds, also after a restart.", onSubscriber(subscribeMirrors)},
	{"SUBSCRIBE-36", "CatchUp with LagReset: a subscription that falls behind gets NoticeCatchUp and what changed after its Revision, and continues.", onSubscriber(subscribeLagCatchUp)},
}

func subscribeChangesOnly(t T, s *subject) {
	db := s.subscribed(t, storage.Options{History: 5})
	if db == nil {
		return
	}
	first := set(t, db, "s15/1", 1)
	r := db.follow(t, "s15/*", storage.SubscribeOptions{ChangesOnly: true})
	set(t, db, "s15/2", 2)
	must(t, "Del", db.Del("s15/1"))
	r.want(t, "one without a state", "live", "set s15/2 2", "del s15/1 1")
	from := r.Revision()
	set(t, db, "s15/2", 3)
	r = db.follow(t, "s15/*", storage.SubscribeOptions{ChangesOnly: true, From: from})
	r.want(t, "one without a state that resumes", "set s15/2 3", "live")
	for i := range int64(6) {
		set(t, db, "other", i)
	}
	r = db.follow(t, "s15/*", storage.SubscribeOptions{ChangesOnly: true, From: first.Revision})
	set(t, db, "s15/2", 4)
	r.want(t, "one without a state that resumes from too long ago", "reset", "live", "set s15/2 4")
}

func subscribeOrdered(t T, db *subscribed) {
	for i := range int64(8) {
		obj := object(fmt.Sprintf("s16/%d", i), (i*5)%8/2) // pairs with the same time
		setAt(t, db, obj)
	}
	for _, order := range []storage.StateOrder{storage.OrderOldest, storage.OrderNewest} {
		list, err := db.GetList("s16/*")
		must(t, "GetList", err)
		want := paths(list)
		if order == storage.OrderNewest {
			slices.Reverse(want)
		}
		for _, limit := range []int{0, 1, 3, 8, 100} {
			r := db.follow(t, "s16/*", storage.SubscribeOptions{Order: order, Limit: limit})
			state := r.live(t)
			n := len(want)
			if limit > 0 {
				n = min(limit, n)
			}
			wantPaths(t, fmt.Sprintf("a state in order %d with the limit %d", order, limit), pathsOfNotices(state[:len(state)-1]), want[:n])
			if limit == 1 {
				set(t, db, want[0], 9)
				set(t, db, want[7], 9)
				r.want(t, "one with a limit", "set "+want[0]+" 9", "set "+want[7]+" 9")
			}
		}
	}
}

func subscribeContradicts(t T, db *subscribed) {
	for _, c := range []struct {
		opt  storage.SubscribeOptions
		want error
	}{
		{storage.SubscribeOptions{ChangesOnly: true, CatchUp: true}, storage.ErrInvalidOptions},
		{storage.SubscribeOptions{ChangesOnly: true, Order: storage.OrderNewest}, storage.ErrInvalidOptions},
		{storage.SubscribeOptions{ChangesOnly: true, Order: storage.OrderNewest, Limit: 1}, storage.ErrInvalidOptions},
		{storage.SubscribeOptions{Limit: 1}, storage.ErrInvalidOptions},
		{storage.SubscribeOptions{Limit: 1, Order: storage.OrderNewest, CatchUp: true}, storage.ErrInvalidOptions},
		{storage.SubscribeOptions{Order: storage.OrderNewest + 1}, storage.ErrInvalidOptions},
		{storage.SubscribeOptions{Limit: -1, Order: storage.OrderNewest}, storage.ErrInvalidLimit},
	} {
		cursor, err := db.subscribe(context.Background(), "s17/*", c.opt)
		wantErr(t, fmt.Sprintf("Subscribe with %+v", c.opt), err, c.want)
		if cursor != nil {
			cursor.Close()
		}
	}
}

func subscribeCatchesUp(t T, s *subject) {
	db := s.subscribed(t, storage.Options{History: 3})
	if db == nil {
		return
	}
	for i := range int64(4) {
		set(t, db, fmt.Sprintf("s24/%d", i), i)
	}
	r := db.follow(t, "s24/*", storage.SubscribeOptions{CatchUp: true})
	r.want(t, "one without From", "state s24/0 0", "state s24/1 1", "state s24/2 2", "state s24/3 3", "live")
	from := r.Revision()
	r.Close()
	set(t, db, "s24/0", 10)
	must(t, "Del", db.Del("s24/1"))
	set(t, db, "s24/4", 11)
	set(t, db, "s24/5", 12)
	must(t, "Del of a glob", db.Del("s24/5*"))
	for i := range int64(3) {
		set(t, db, "other", i)
	}
	r = db.follow(t, "s24/*", storage.SubscribeOptions{CatchUp: true, From: from})
	set(t, db, "s24/2", 13)
	r.want(t, "one that catches up", "catch-up", "state s24/0 10", "state s24/4 11", "unchanged s24/2 2", "unchanged s24/3 3", "live", "set s24/2 13")
	r = db.follow(t, "s24/*", storage.SubscribeOptions{CatchUp: true, From: r.Revision()})
	r.want(t, "one that missed nothing", "live")
}

func subscribeMirrors(t T, db *subscribed) {
	for i := range int64(6) {
		set(t, db, fmt.Sprintf("s25/%d", i), i)
	}
	held := map[string]uint64{}
	from := db.mirror(t, held, 0)
	set(t, db, "s25/0", 10)
	must(t, "Del", db.Del("s25/1"))
	set(t, db, "s25/new", 11)
	for round := range int64(3) {
		again := db.s.restarted(t, db.Database)
		subscribe, _ := subscriberOf(again)
		db = &subscribed{again, db.s, subscribe}
		set(t, db, "s25/2", 20+round)
		must(t, "Del of a glob", db.Del(fmt.Sprintf("s25/%d*", 3+round)))
		from = db.mirror(t, held, from)
	}
}

// mirror updates a client's content, revisions by path, as the documentation of CatchUp says, and compares it with the
// database. It returns the revision to resume from.
func (db *subscribed) mirror(t T, held map[string]uint64, from uint64) uint64 {
	t.Helper()
	var named map[string]bool
	r := db.follow(t, "s25/*", storage.SubscribeOptions{CatchUp: true, From: from})
	for _, n := range r.live(t) {
		switch n.Kind {
		case storage.NoticeReset:
			clear(held)
		case storage.NoticeCatchUp:
			named = map[string]bool{}
		case storage.NoticeState, storage.NoticeSet:
			held[n.Path] = n.Revision
		case storage.NoticeUnchanged:
			if held[n.Path] != n.Revision || n.Object == nil {
				t.Errorf("one that holds revision %d is told %s", held[n.Path], showNotice(n))
			}
		case storage.NoticeDel:
			delete(held, n.Path)
		}
		if named != nil {
			named[n.Path] = true
		}
	}
	if named != nil {
		maps.DeleteFunc(held, func(path string, _ uint64) bool { return !named[path] })
	}
	list, err := db.GetList("s25/*")
	must(t, "GetList", err)
	want := map[string]uint64{}
	for _, obj := range list {
		want[obj.Path] = obj.Revision
	}
	if !maps.Equal(held, want) {
		t.Errorf("one that resumed from %d holds the revisions %v, the database %v", from, held, want)
	}
	defer r.Close()
	return r.Revision()
}

func subscribeLagCatchUp(t T, db *subscribed) {
	set(t, db, "s36/still", 1)
	r := db.follow(t, "s36/*", storage.SubscribeOptions{Buffer: 20, CatchUp: true})
	r.live(t)
	db.fallBehind(t, "s36", 100)
	if n := r.next(t); n.Kind != storage.NoticeCatchUp {
		t.Fatalf("one that fell behind by 100 changes, with a buffer of 20, is told %s, want NoticeCatchUp", showNotice(n))
	}
	want := []string{}
	for i := range 10 {
		want = append(want, fmt.Sprintf("state s36/%d %d", i, 90+i))
	}
	r.want(t, "behind NoticeCatchUp a subscription", append(want, "state s36/end 100", "unchanged s36/still 1", "live")...)
	set(t, db, "s36/1", 200)
	r.want(t, "one that caught up", "set s36/1 200")
}
