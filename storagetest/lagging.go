package storagetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/oolith-db/oolith/storage"
)

// This file checks how keys that are created and deleted while a consumer does not read are delivered.

// comings is how many keys are created and deleted: several times the limit of a consumer's queue. If each write may
// cost a sync, there are too few to test the bound. The clause then checks only the delivered events.
func (s *subject) comings() int {
	if s.Persistent {
		return 200
	}
	return 100_000
}

// most is the maximum number of events that may then be delivered.
func (s *subject) most() int {
	if s.Persistent {
		return 2*s.comings() + 3
	}
	return 20_000
}

// comeAndGo creates and deletes keys while a consumer of directory dir does not read. It deletes the existing key
// "before".
func comeAndGo(t T, s *subject, db storage.Database, dir string) {
	t.Helper()
	s.within(t, "keys that come and go beside a consumer that does not read", func() {
		for i := range s.comings() {
			path := fmt.Sprintf("%s/%d", dir, i)
			if _, err := db.Set(path, dataOf(int64(i))); err != nil {
				t.Errorf("Set: %v", err)
				return
			}
			if err := db.Del(path); err != nil {
				t.Errorf("Del: %v", err)
				return
			}
		}
	})
	must(t, "Del", db.Del(dir+"/before"))
	set(t, db, dir+"/end", 1)
}

// wantFew checks the events that a consumer received from comeAndGo.
func wantFew(t T, s *subject, what, dir string, events []storage.Event) {
	t.Helper()
	if len(events) > s.most() {
		t.Errorf("%s did not read while %d keys came and went, and is told %d events, want at most %d",
			what, s.comings(), len(events), s.most())
	}
	left := map[string]bool{dir + "/before": true}
	for _, e := range events {
		left[e.Key] = e.Operation == storage.OperationSet
	}
	for path, there := range left {
		if there != (path == dir+"/end") {
			t.Errorf("what %s is told leaves %s there: %v", what, path, there)
			return
		}
	}
}

func eventsComeAndGo(t T, s *subject) {
	db := s.started(t, storage.Options{Workers: 1})
	set(t, db, "e24/before", 1)
	c := &collector{shards: db.WatchSharded(), more: make(chan struct{})}
	comeAndGo(t, s, db, "e24")
	c.read()
	if !c.arrives(s, func(e storage.Event) bool { return e.Key == "e24/end" }) {
		t.Fatalf("the last event has not arrived after %v", s.patience())
	}
	wantFew(t, s, "a consumer of WatchSharded", "e24", c.all())
}

func watchComeAndGo(t T, s *subject, db storage.Database, w watcher) {
	set(t, db, "e36/before", 1)
	release := make(chan struct{})
	first := true // only the callback uses it
	got := &watched{collector: collector{more: make(chan struct{})}}
	got.stop = w.Watch(func(e storage.Event) {
		if first {
			first = false
			<-release
		}
		got.add(e, 0)
	})
	comeAndGo(t, s, db, "e36")
	close(release)
	if !got.has(s, "e36/end") {
		t.Fatalf("the last event has not arrived after %v", s.patience())
	}
	wantFew(t, s, "a Watch", "e36", got.all())
}

func eventsBadPattern(t T, s *subject) {
	for _, bad := range []string{"", "secret//x", "/secret", "geheim/ä"} {
		db := s.openDatabase(t)
		err := db.Start(quiet(storage.Options{NoBroadcastKeys: []string{"good/*", bad}}))
		wantErr(t, fmt.Sprintf("Start with %q among NoBroadcastKeys", bad), err, storage.ErrInvalidPath)
		db.Close()
	}
}

func subscribeComesAndGoes(t T, db *subscribed) {
	const n = 200
	set(t, db, "s35/before", 1)
	r := db.follow(t, "s35/*", storage.SubscribeOptions{Buffer: 20, Lag: storage.LagNewest})
	r.live(t)
	quick := db.follow(t, "s35/*", storage.SubscribeOptions{})
	quick.live(t)
	for i := range int64(n) {
		path := fmt.Sprintf("s35/%d", i)
		_, err := db.Set(path, dataOf(i))
		must(t, "Set", err)
		must(t, "Del", db.Del(path))
	}
	must(t, "Del", db.Del("s35/before"))
	set(t, db, "s35/end", 1)
	quick.until(t, "s35/end")
	told := r.until(t, "s35/end")
	if len(told) > n/2 {
		t.Errorf("one with a buffer of 20 did not read while %d keys came and went, and is told %d changes", n, len(told))
	}
	if !slices.ContainsFunc(told, func(n storage.Notice) bool { return n.Kind == storage.NoticeDel && n.Path == "s35/before" }) {
		t.Errorf("the removal of a key that was there before is not told")
	}
}

func subscribeLimited(t T, s *subject) {
	db := s.openDatabase(t)
	err := db.Start(quiet(storage.Options{Retention: []storage.Retention{{Pattern: "s12/*", Count: 3}}}))
	if errors.Is(err, storage.ErrBatchUnsupported) {
		t.Logf("the layer has no batches, and so no limits: nothing is checked")
		return
	}
	must(t, "Start", err)
	t.Cleanup(db.Close)
	subscribe, ok := subscriberOf(db)
	if !ok {
		t.Logf("%T has no Subscribe: nothing is checked", db)
		return
	}
	of := &subscribed{db, s, subscribe}
	r := of.follow(t, "s12/*", storage.SubscribeOptions{})
	r.live(t)
	var writers sync.WaitGroup // concurrent, so some share a commit
	for range 4 {
		writers.Go(func() {
			for i := range int64(10) {
				if _, err := db.Push("s12/*", dataOf(i)); err != nil {
					t.Errorf("Push: %v", err)
				}
			}
		})
	}
	writers.Wait()
	mirror := map[string]bool{}
	for told := 0; told < 40+37; told++ {
		n := r.next(t)
		if mirror[n.Path] = true; n.Kind == storage.NoticeDel {
			delete(mirror, n.Path)
		}
		if !n.More && len(mirror) > 3 {
			t.Errorf("behind %s, which has no More, a mirror of a list with the limit 3 holds %d objects", showNotice(n), len(mirror))
			return
		}
	}
}
