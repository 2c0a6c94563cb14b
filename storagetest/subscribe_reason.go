package storagetest

import (
	"errors"
	"maps"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// subscribeReasons checks the reasons of all kinds of removals. One subscription follows them, another one falls
// behind, and a third one resumes from before them. Each must receive the reason.
func subscribeReasons(t T, s *subject) {
	rule := storage.Retention{Pattern: "s13/few/*", Count: 1}
	db := s.openDatabase(t)
	err := db.Start(quiet(storage.Options{Retention: []storage.Retention{rule}}))
	limited := !errors.Is(err, storage.ErrBatchUnsupported)
	if !limited {
		err = db.Start(quiet(storage.Options{}))
	}
	must(t, "Start", err)
	t.Cleanup(db.Close)
	subscribe, ok := subscriberOf(db)
	if !ok {
		t.Logf("%T has no Subscribe: nothing is checked", db)
		return
	}
	(&subscribed{db, s, subscribe}).reasons(t, limited)
}

func (db *subscribed) reasons(t T, limited bool) {
	want := map[string]storage.Reason{
		"s13/x/deleted": storage.ReasonDeleted, "s13/x/batch": storage.ReasonDeleted,
		"s13/p/1": storage.ReasonPattern, "s13/p/2": storage.ReasonPattern, "s13/x/stays": storage.ReasonCleared,
	}
	setter, expires := db.Database.(conditional)
	if expires {
		want["s13/x/expired"] = storage.ReasonExpired
	}
	if limited {
		want["s13/few/1"] = storage.ReasonLimit
	}
	for path := range want {
		set(t, db, path, 1)
	}
	live := db.follow(t, "s13/*/*", storage.SubscribeOptions{})
	late := db.follow(t, "s13/*/*", storage.SubscribeOptions{Lag: storage.LagNewest, Buffer: 1})
	quick := db.follow(t, "s13/*/*", storage.SubscribeOptions{})
	for _, r := range []*reader{live, late, quick} {
		r.live(t)
	}
	from := live.Revision()

	must(t, "Del", db.Del("s13/x/deleted"))
	db.delInBatch(t, "s13/x/batch")
	must(t, "Del of a glob", db.Del("s13/p/*"))
	if expires {
		setTTL(t, setter, "s13/x/expired", 1, time.Millisecond)
		quick.untilDel(t, "s13/x/expired")
	}
	if limited {
		set(t, db, "s13/few/2", 1) // a subscription that fell behind does not receive its creation and deletion
	}
	db.Clear()
	set(t, db, "s13/x/end", 1)
	// Everything is dispatched before one of them reads.
	quick.until(t, "s13/x/end")

	again := db.follow(t, "s13/*/*", storage.SubscribeOptions{From: from})
	for what, r := range map[string]*reader{"a subscription": live, "one that fell behind": late, "one that resumed": again} {
		got := map[string]storage.Reason{}
		for _, n := range r.until(t, "s13/x/end") {
			if (n.Kind == storage.NoticeDel) != (n.Reason != storage.ReasonNone) {
				t.Errorf("%s tells %s for the reason %s", what, showNotice(n), n.Reason)
			}
			if n.Kind == storage.NoticeDel && n.Path != "s13/few/2" {
				got[n.Path] = n.Reason
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s gives the reasons %v, want %v", what, got, want)
		}
	}
}

// delInBatch deletes a key in a batch, if the database has batches.
func (db *subscribed) delInBatch(t T, path string) {
	t.Helper()
	batches, ok := db.Database.(committer)
	if !ok {
		must(t, "Del", db.Del(path))
		return
	}
	var batch storage.Batch
	batch.Del(path)
	_, err := batches.Commit(&batch)
	must(t, "Commit", err)
}

// untilDel reads until a key is deleted.
func (r *reader) untilDel(t T, path string) {
	t.Helper()
	for {
		if n := r.next(t); n.Path == path && n.Kind == storage.NoticeDel {
			return
		}
	}
}
