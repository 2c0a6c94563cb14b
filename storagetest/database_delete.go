package storagetest

import (
	"fmt"
	"runtime"
	"sync/atomic"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// This file checks deletes of keys and patterns, and Clear.

var delCalls = []struct {
	name string
	call func(db storage.Database, path string) error
}{
	{"Del", storage.Database.Del},
	{"DelSilent", storage.Database.DelSilent},
}

func delRemoves(t T, _ *subject, db storage.Database) {
	for _, d := range delCalls {
		db.Clear()
		kept := []meta.Object{set(t, db, "a", 1), set(t, db, "a/b/c", 2), set(t, db, "a/c", 3)}
		set(t, db, "a/b", 4)
		must(t, d.name, d.call(db, "a/b"))
		_, err := db.Get("a/b")
		wantErr(t, "Get after "+d.name, err, storage.ErrNotFound)
		for _, l := range listCalls {
			got, err := l.call(db, "a/*")
			must(t, l.name, err)
			wantPaths(t, l.name+" after "+d.name, got, []string{"a/c"})
		}
		wantContent(t, db, kept...)
	}
}

func delGlob(t T, _ *subject, db storage.Database) {
	for _, d := range delCalls {
		for _, glob := range globs {
			for i, path := range tree {
				setAt(t, db, object(path, int64(i)))
			}
			if err := d.call(db, glob); err != nil {
				t.Errorf("%s %s: %v", d.name, glob, err)
			}
			keys, err := db.Keys()
			must(t, "Keys", err)
			want := []string{}
			for _, path := range tree {
				if !match(glob, path) {
					want = append(want, path)
				}
			}
			wantPaths(t, "Keys (in any order) after "+d.name+" "+glob, sorted(keys), sorted(want))
		}
	}
}

func delGlobAtomic(t T, s *subject, db storage.Database) {
	if s.PartialGlobDel {
		t.Logf("PartialGlobDel: nothing is checked")
		return
	}
	const width, rounds = 12, 25
	// phase is odd while the directory is being filled. A list that begins and ends in the same even phase must be full
	// or empty.
	var phase atomic.Int64
	var done atomic.Bool
	readers := s.newReaders()
	s.together(t, 2, func(g int) {
		if g == 0 {
			defer done.Store(true)
			for n := 0; n < rounds || !readers.enough(); n++ {
				phase.Add(1)
				for i := range int64(width) {
					if _, err := db.Set(fmt.Sprintf("g/%02d", i), dataOf(i)); err != nil {
						t.Errorf("Set: %v", err)
						return
					}
				}
				phase.Add(1)
				runtime.Gosched()
				if err := db.Del("g/*"); err != nil {
					t.Errorf("Del: %v", err)
					return
				}
			}
			return
		}
		defer readers.end()
		for !done.Load() {
			s.beats.advance()
			before := phase.Load()
			list, err := db.GetList("g/*")
			if before%2 == 0 {
				readers.read()
			}
			if err != nil {
				t.Errorf("GetList: %v", err)
				return
			}
			if before%2 == 0 && phase.Load() == before && len(list) != 0 && len(list) != width {
				t.Errorf("GetList during a glob delete has %d of %d objects: %s", len(list), width, abridged(paths(list)))
				return
			}
		}
	})
}

func clearRemoves(t T, _ *subject, db storage.Database) {
	for i, path := range tree {
		setAt(t, db, object(path, int64(i)))
	}
	db.Clear()
	wantContent(t, db)
	for _, l := range listCalls {
		got, err := l.call(db, "users/*")
		must(t, l.name, err)
		wantPaths(t, l.name+" after Clear", got, nil)
	}
	obj := set(t, db, "users/1", 1)
	wantContent(t, db, obj)
}
