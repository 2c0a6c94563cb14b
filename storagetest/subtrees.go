package storagetest

import (
	"fmt"
	"slices"

	"github.com/oolith-db/oolith/storage"
)

// This file checks subtree patterns, whose last segment is "**".

// subtrees are subtree patterns to try on tree.
var subtrees = []string{
	"**", "users/**", "users/1/**", "a/**", "*/**", "*/b/**", "u*/1/**", "users/1*/**", "root/**", "none/**", "*/*/**",
}

var subtreeLayerClauses = []Clause{
	{"LAYER-29", "GetList of a subtree pattern (\"users/**\"), and Scan of a Scanner, returns everything below, at any depth, and nothing else.", onLayer(layerSubtrees)},
}

var subtreeClauses = []Clause{
	{"DATABASE-C9", "Every list of a subtree pattern, and every count, page and iteration, has everything below, at any depth, and nothing else.", onDatabase(listSubtrees)},
	{"DATABASE-CA", "Del of a subtree pattern removes everything below, at any depth, and nothing else.", onDatabase(delSubtrees)},
	{"DATABASE-CB", "Get, Set and Del of one key take no subtree pattern for a path, and Push refuses it.", onDatabase(subtreeRefused)},
}

var subtreeEventClauses = []Clause{
	{"EVENTS-26", "Del of a subtree pattern sends one \"del\" with the pattern as key; subtree patterns in NoBroadcastKeys hide everything below.", eventsSubtree},
}

var subtreeSubscribeClauses = []Clause{
	{"SUBSCRIBE-14", "A subscription to a subtree pattern delivers everything below, at any depth, and nothing else.", onSubscriber(subscribeSubtrees)},
}

func layerSubtrees(t T, _ *subject, l storage.Layer) {
	for i, path := range tree {
		put(t, l, object(path, int64(i)))
	}
	scanner, scans := storage.As[storage.Scanner](l)
	for _, pattern := range subtrees {
		list, err := l.GetList(pattern)
		must(t, "GetList "+pattern, err)
		wantPaths(t, "GetList "+pattern+" (in any order)", sorted(paths(list)), matching(pattern, tree))
		if scans {
			wantPaths(t, "Scan "+pattern+" (in any order)", sorted(paths(scanned(t, scanner.Scan(pattern)))), matching(pattern, tree))
		}
	}
}

func listSubtrees(t T, _ *subject, db storage.Database) {
	model := NewModel()
	for i, path := range tree {
		obj := object(path, int64(i*7%5))
		model.Put(obj)
		setAt(t, db, obj)
	}
	p, pages := db.(pager)
	for _, pattern := range subtrees {
		oldest := paths(model.List(pattern))
		newest := slices.Clone(oldest)
		slices.Reverse(newest)
		for _, l := range listCalls {
			got, err := l.call(db, pattern)
			must(t, l.name+" "+pattern, err)
			want := oldest
			if l.newestFirst {
				want = newest
			}
			wantPaths(t, l.name+" "+pattern, got, want)
		}
		some, err := db.GetN(pattern, 3)
		must(t, "GetN "+pattern, err)
		wantPaths(t, "GetN 3 "+pattern, paths(some), newest[:min(3, len(newest))])
		if !pages {
			continue
		}
		wantPaths(t, describe("Page", pattern), paths(follow(t, p, pattern, storage.ListOptions{Limit: 2})), oldest)
		wantPaths(t, describe("Iterate", pattern), paths(iterated(t, p, pattern, storage.ListOptions{Descending: true})), newest)
		if n, err := p.Count(pattern); err != nil || n != len(oldest) {
			t.Errorf("%s is %d (error %v), want %d", describe("Count", pattern), n, err, len(oldest))
		}
	}
}

func delSubtrees(t T, _ *subject, db storage.Database) {
	for _, pattern := range subtrees {
		for i, path := range tree {
			setAt(t, db, object(path, int64(i)))
		}
		must(t, "Del "+pattern, db.Del(pattern))
		keys, err := db.Keys()
		must(t, "Keys", err)
		left := slices.DeleteFunc(slices.Clone(tree), func(path string) bool { return match(pattern, path) })
		wantPaths(t, "Keys after Del "+pattern, keys, sorted(left))
	}
}

func subtreeRefused(t T, _ *subject, db storage.Database) {
	set(t, db, "a/b", 1)
	for _, pattern := range []string{"**", "a/**"} {
		_, err := db.Get(pattern)
		wantErr(t, "Get "+pattern, err, storage.ErrGlobNotAllowed)
		_, err = db.Set(pattern, dataOf(1))
		wantErr(t, "Set "+pattern, err, storage.ErrGlobNotAllowed)
		_, err = db.Push(pattern, dataOf(1))
		wantErr(t, "Push "+pattern, err, storage.ErrInvalidPath)
	}
	keys, err := db.Keys()
	must(t, "Keys", err)
	wantPaths(t, "Keys after writes that were refused", keys, []string{"a/b"})
}

func eventsSubtree(t T, s *subject) {
	db := s.started(t, storage.Options{NoBroadcastKeys: []string{"secret/**"}})
	for i, path := range tree {
		set(t, db, path, int64(i))
	}
	c := collect(t, db)
	must(t, "Del", db.Del("users/**"))
	wantEvent(t, s, c, "Del of a subtree", storage.Event{Key: "users/**", Operation: storage.OperationDel})
	c.flush(t, s, db)
	if events := c.take(); len(events) != 1 {
		t.Errorf("Del of a subtree sent %d events, want 1: %s", len(events), showAll(events))
	}
	for _, path := range []string{"secret/1", "secret/1/2/3"} {
		set(t, db, path, 1)
		must(t, "Del", db.Del(path))
	}
	set(t, db, "secret", 1)
	c.flush(t, s, db)
	for _, e := range c.take() {
		if e.Key != "secret" {
			t.Errorf("%s, which NoBroadcastKeys matches, sent an event", e.Key)
		}
	}
}

func subscribeSubtrees(t T, db *subscribed) {
	for i, path := range tree {
		set(t, db, path, int64(i))
	}
	readers := make([]*reader, len(subtrees))
	for i, pattern := range subtrees {
		readers[i] = db.follow(t, pattern, storage.SubscribeOptions{})
	}
	for i, path := range tree {
		set(t, db, path, int64(100+i))
	}
	must(t, "Del", db.Del("users/**"))
	removed := matching("users/**", tree)
	for i, pattern := range subtrees {
		want, gone := matching(pattern, tree), matching(pattern, removed)
		r := readers[i]
		state := r.live(t)
		wantPaths(t, fmt.Sprintf("the state of %q", pattern), sorted(pathsOfNotices(state[:len(state)-1])), want)
		var changes, dels []storage.Notice
		for range want {
			changes = append(changes, r.next(t))
		}
		for range gone {
			dels = append(dels, r.next(t))
		}
		wantPaths(t, fmt.Sprintf("the changes of %q", pattern), sorted(pathsOfNotices(changes)), want)
		wantPaths(t, fmt.Sprintf("the removals of %q", pattern), sorted(pathsOfNotices(dels)), gone)
		for _, n := range dels {
			if n.Kind != storage.NoticeDel {
				t.Errorf("the subscription to %q tells %s, want a NoticeDel", pattern, showNotice(n))
			}
		}
	}
}
