package storagetest

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// This file checks reads: lists, limits, ranges and globs.

// listCall is a call that lists the matches of a pattern, here without limits.
type listCall struct {
	name        string
	newestFirst bool
	call        func(db storage.Database, pattern string) ([]string, error)
}

var listCalls = []listCall{
	{"GetList", false, pathsOf(storage.Database.GetList)},
	{"GetNAscending", false, pathsOf(func(db storage.Database, p string) ([]meta.Object, error) { return db.GetNAscending(p, 0) })},
	{"KeysRange", false, func(db storage.Database, p string) ([]string, error) {
		return db.KeysRange(p, math.MinInt64, math.MaxInt64)
	}},
	{"GetListDescending", true, pathsOf(storage.Database.GetListDescending)},
	{"GetN", true, pathsOf(func(db storage.Database, p string) ([]meta.Object, error) { return db.GetN(p, 0) })},
	{"GetNRange", true, pathsOf(func(db storage.Database, p string) ([]meta.Object, error) {
		return db.GetNRange(p, math.MaxInt32, math.MinInt64, math.MaxInt64)
	})},
}

// pathsOf converts a call that returns objects into one that returns their paths. A nil list stays nil.
func pathsOf(list func(storage.Database, string) ([]meta.Object, error)) func(storage.Database, string) ([]string, error) {
	return func(db storage.Database, pattern string) ([]string, error) {
		objects, err := list(db, pattern)
		if objects == nil {
			return nil, err
		}
		return paths(objects), err
	}
}

// objectLists returns the results of the list calls that return objects.
func objectLists(db storage.Database, pattern string) (map[string][]meta.Object, error) {
	all := make(map[string][]meta.Object)
	for name, call := range map[string]func() ([]meta.Object, error){
		"GetList":           func() ([]meta.Object, error) { return db.GetList(pattern) },
		"GetListDescending": func() ([]meta.Object, error) { return db.GetListDescending(pattern) },
		"GetN":              func() ([]meta.Object, error) { return db.GetN(pattern, 0) },
		"GetNAscending":     func() ([]meta.Object, error) { return db.GetNAscending(pattern, 0) },
		"GetNRange": func() ([]meta.Object, error) {
			return db.GetNRange(pattern, math.MaxInt32, math.MinInt64, math.MaxInt64)
		},
	} {
		list, err := call()
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", name, pattern, err)
		}
		all[name] = list
	}
	return all, nil
}

func getInvalid(t T, _ *subject, db storage.Database) {
	set(t, db, "a/b", 1)
	for _, c := range invalidPaths {
		_, err := db.Get(c.path)
		wantErr(t, "Get, "+c.name, err, storage.ErrInvalidPath)
	}
	for _, glob := range []string{"*", "a/*", "*/b", "a/b*"} {
		_, err := db.Get(glob)
		wantErr(t, "Get "+glob, err, storage.ErrGlobNotAllowed)
	}
	for _, path := range []string{"a", "a/b/c", "b", "A/b"} {
		_, err := db.Get(path)
		wantErr(t, "Get "+path, err, storage.ErrNotFound)
	}
}

func listInvalid(t T, _ *subject, db storage.Database) {
	set(t, db, "a/b", 1)
	for _, l := range listCalls {
		for _, path := range []string{"a", "a/b", "b"} {
			_, err := l.call(db, path)
			wantErr(t, l.name+" "+path, err, storage.ErrInvalidPattern)
		}
		for _, c := range slices.Concat(invalidPaths, invalidPatterns) {
			_, err := l.call(db, c.path)
			wantErr(t, l.name+", "+c.name, err, storage.ErrInvalidPath)
		}
	}
}

func limitInvalid(t T, _ *subject, db storage.Database) {
	set(t, db, "a/b", 1)
	for _, limit := range []int{-1, math.MinInt} {
		_, err := db.GetN("a/*", limit)
		wantErr(t, fmt.Sprintf("GetN with limit %d", limit), err, storage.ErrInvalidLimit)
		_, err = db.GetNAscending("a/*", limit)
		wantErr(t, fmt.Sprintf("GetNAscending with limit %d", limit), err, storage.ErrInvalidLimit)
	}
	for _, limit := range []int{0, -1, math.MinInt} {
		_, err := db.GetNRange("a/*", limit, 0, math.MaxInt64)
		wantErr(t, fmt.Sprintf("GetNRange with limit %d", limit), err, storage.ErrInvalidLimit)
	}
}

func rangeInvalid(t T, _ *subject, db storage.Database) {
	set(t, db, "a/b", 1)
	for _, r := range [][2]int64{{1, 0}, {0, -1}, {math.MaxInt64, math.MinInt64}} {
		_, err := db.GetNRange("a/*", 1, r[0], r[1])
		wantErr(t, fmt.Sprintf("GetNRange from %d to %d", r[0], r[1]), err, storage.ErrInvalidRange)
		_, err = db.KeysRange("a/*", r[0], r[1])
		wantErr(t, fmt.Sprintf("KeysRange from %d to %d", r[0], r[1]), err, storage.ErrInvalidRange)
	}
}

func readClipped(t T, _ *subject, db storage.Database) {
	for i := range int64(20) {
		path := fmt.Sprintf("a/%d", i)
		data := make(json.RawMessage, 0, 64+i)
		for range i + 1 {
			data = append(data, '1')
		}
		_, err := db.Set(path, data)
		must(t, "Set", err)
		wantClipped(t, "Get "+path, get(t, db, path).Data)
	}
	obj, err := db.GetAndLock("a/3")
	must(t, "GetAndLock", err)
	wantClipped(t, "GetAndLock", obj.Data)
	all, err := objectLists(db, "a/*")
	must(t, "list", err)
	for name, list := range all {
		for _, obj := range list {
			wantClipped(t, name+", "+obj.Path, obj.Data)
		}
	}
}

// fillTimed stores the timed objects out of order.
func fillTimed(t T, db storage.Database) {
	t.Helper()
	for _, obj := range shuffled() {
		setAt(t, db, obj)
	}
}

// wantOrder checks the list calls of one direction, within a directory and across several.
func wantOrder(t T, db storage.Database, newestFirst bool) {
	t.Helper()
	fillTimed(t, db)
	setAt(t, db, object("s/a", 2))
	setAt(t, db, object("u/a", -9))
	for _, l := range listCalls {
		if l.newestFirst != newestFirst {
			continue
		}
		for _, c := range []struct {
			pattern string
			want    []string
		}{
			{"t/*", paths(timed)},
			{"*/a", []string{"u/a", "s/a", "t/a"}},
		} {
			if newestFirst {
				slices.Reverse(c.want)
			}
			got, err := l.call(db, c.pattern)
			must(t, l.name, err)
			wantPaths(t, describe(l.name, c.pattern), got, c.want)
		}
	}
}

func listAscending(t T, _ *subject, db storage.Database) { wantOrder(t, db, false) }

func listDescending(t T, _ *subject, db storage.Database) { wantOrder(t, db, true) }

func listLimits(t T, _ *subject, db storage.Database) {
	model := NewModel()
	for i := range int64(7) {
		for _, dir := range []string{"l", "m"} {
			obj := object(fmt.Sprintf("%s/%d", dir, (i*3)%7), i+1)
			model.Put(obj)
			setAt(t, db, obj)
		}
	}
	for _, pattern := range []string{"l/*", "*/*", "*/3"} {
		for _, limit := range []int{0, 1, 2, 3, 6, 7, 8, 13, 14, 15, math.MaxInt} {
			got, err := db.GetN(pattern, limit)
			must(t, "GetN", err)
			// Other clauses check the order. This one checks which objects are returned, and how many.
			wantPaths(t, fmt.Sprintf("GetN %s with limit %d (in any order)", pattern, limit),
				sorted(paths(got)), sorted(paths(model.Newest(pattern, limit))))
			got, err = db.GetNAscending(pattern, limit)
			must(t, "GetNAscending", err)
			wantPaths(t, fmt.Sprintf("GetNAscending %s with limit %d (in any order)", pattern, limit),
				sorted(paths(got)), sorted(paths(model.Oldest(pattern, limit))))
		}
	}
}

// ranges are pairs of times near those of the timed objects.
var ranges = [][2]int64{
	{math.MinInt64, math.MaxInt64}, {0, 0}, {1, 2}, {2, 2}, {2, 3}, {3, 299}, {3, 300}, {4, 299}, {-5, -5}, {-4, 1},
	{300, 1 << 40}, {301, 1<<40 - 1}, {math.MaxInt64, math.MaxInt64}, {math.MinInt64, -6}, {math.MinInt64, math.MinInt64},
}

func listRanges(t T, _ *subject, db storage.Database) {
	model := NewModel()
	fillTimed(t, db)
	for _, obj := range timed {
		model.Put(obj)
	}
	for _, pattern := range []string{"t/*", "*/*"} {
		for _, r := range ranges {
			want := sorted(paths(model.Range(pattern, r[0], r[1])))
			list, err := db.GetNRange(pattern, math.MaxInt, r[0], r[1])
			must(t, "GetNRange", err)
			wantPaths(t, fmt.Sprintf("GetNRange %s from %d to %d (in any order)", pattern, r[0], r[1]), sorted(paths(list)), want)
			keys, err := db.KeysRange(pattern, r[0], r[1])
			must(t, "KeysRange", err)
			wantPaths(t, fmt.Sprintf("KeysRange %s from %d to %d (in any order)", pattern, r[0], r[1]), sorted(keys), want)
		}
	}
}

func rangeLimit(t T, _ *subject, db storage.Database) {
	for i := range int64(9) {
		setAt(t, db, object(fmt.Sprintf("l/%d", (i*4)%9), i))
	}
	for limit := 1; limit <= 8; limit++ {
		// The range excludes the newest objects.
		list, err := db.GetNRange("l/*", limit, math.MinInt64, 6)
		must(t, "GetNRange", err)
		want := []string{}
		for i := int64(6); i >= 0 && len(want) < limit; i-- {
			want = append(want, fmt.Sprintf("l/%d", (i*4)%9))
		}
		wantPaths(t, fmt.Sprintf("GetNRange with limit %d (in any order)", limit), sorted(paths(list)), sorted(want))
	}
}

func listGlobs(t T, _ *subject, db storage.Database) {
	for i, path := range tree {
		setAt(t, db, object(path, int64(i)))
	}
	for _, glob := range globs {
		for _, l := range listCalls {
			got, err := l.call(db, glob)
			must(t, describe(l.name, glob), err)
			wantPaths(t, describe(l.name, glob)+" (in any order)", sorted(got), matching(glob, tree))
		}
	}
}

func databaseKeys(t T, _ *subject, db storage.Database) {
	for i, path := range aroundSlash {
		set(t, db, path, int64(i))
	}
	keys, err := db.Keys()
	must(t, "Keys", err)
	wantPaths(t, "Keys", keys, sorted(aroundSlash))
}

func listEmpty(t T, _ *subject, db storage.Database) {
	check := func(when string) {
		for _, l := range listCalls {
			for _, pattern := range []string{"none/*", "*/none", "no*"} {
				got, err := l.call(db, pattern)
				must(t, l.name, err)
				if got == nil || len(got) != 0 {
					t.Errorf("%s %s of %s is %#v, want an empty list, not nil", l.name, pattern, when, got)
				}
			}
		}
	}
	keys, err := db.Keys()
	must(t, "Keys", err)
	if keys == nil || len(keys) != 0 {
		t.Errorf("Keys of an empty database is %#v, want an empty list, not nil", keys)
	}
	check("an empty database")
	set(t, db, "a/b", 1)
	check("another directory")
}

func listSnapshot(t T, s *subject, db storage.Database) {
	const rounds = 150
	var done atomic.Bool
	readers := s.newReaders()
	set(t, db, "s/1", 0)
	set(t, db, "s/2", 0)
	for i := range int64(30) {
		set(t, db, fmt.Sprintf("s/1%d", i), i)
	}
	// The writer numbers s/1 and then s/2, so no list may show s/2 ahead of s/1.
	s.together(t, 2, func(g int) {
		if g == 0 {
			defer done.Store(true)
			for n := int64(0); n < rounds || !readers.enough(); n++ {
				for _, path := range []string{"s/1", "s/2"} {
					if _, err := db.Set(path, dataOf(n)); err != nil {
						t.Errorf("Set: %v", err)
						return
					}
				}
			}
			return
		}
		defer readers.end()
		for !done.Load() {
			s.beats.advance()
			all, err := objectLists(db, "s/*")
			readers.read()
			if err != nil {
				t.Errorf("%v", err)
				return
			}
			for name, list := range all {
				n := map[string]int64{}
				for _, obj := range list {
					n[obj.Path] = numberOf(obj.Data)
				}
				if n["s/2"] > n["s/1"] {
					t.Errorf("%s shows write %d of the second path and only write %d of the first", name, n["s/2"], n["s/1"])
					return
				}
			}
		}
	})
}

func listWhole(t T, _ *subject, db storage.Database) {
	for _, obj := range oddObjects() {
		setAt(t, db, obj)
	}
	all, err := objectLists(db, "odd/*/x")
	must(t, "list", err)
	for name, list := range all {
		for _, obj := range list {
			if d := diff(obj, get(t, db, obj.Path)); d != "" {
				t.Errorf("%s, %s differs from Get: %s", name, obj.Path, d)
			}
		}
	}
}

func listOwned(t T, _ *subject, db storage.Database) {
	fillTimed(t, db)
	first, err := objectLists(db, "t/*")
	must(t, "list", err)
	keys, err := db.Keys()
	must(t, "Keys", err)
	for _, list := range first {
		clear(list)
	}
	clear(keys)
	second, err := objectLists(db, "t/*")
	must(t, "list", err)
	for name, list := range second {
		wantPaths(t, name+" (in any order)", sorted(paths(list)), sorted(paths(timed)))
	}
	keys, err = db.Keys()
	must(t, "Keys", err)
	wantPaths(t, "Keys (in any order)", sorted(keys), sorted(paths(timed)))
}
