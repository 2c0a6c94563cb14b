package storagetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

var layerClauses = slices.Concat([]Clause{
	{"LAYER-01", "Get returns an object as it was set: all its times, the revision, and the data byte for byte.", onLayer(layerRoundTrip)},
	{"LAYER-02", "Set stores at its path, which takes precedence over the Path and Index of the object.", onLayer(layerKeyWins)},
	{"LAYER-03", "Set of an existing path replaces the whole object.", onLayer(layerReplace)},
	{"LAYER-04", "Get of an absent path returns ErrNotFound.", onLayer(layerAbsent)},
	{"LAYER-05", "Get of an invalid path returns ErrInvalidPath, of a glob ErrGlobNotAllowed.", onLayer(layerGetInvalid)},
	{"LAYER-06", "Set at an invalid path returns ErrInvalidPath, at a glob ErrGlobNotAllowed, and changes nothing.", onLayer(layerSetInvalid)},
	{"LAYER-07", "Set of a nil object or of empty data returns ErrInvalidStorageData and changes nothing.", onLayer(layerSetEmpty)},
	{"LAYER-08", "Set copies: the caller may reuse its object and its buffer immediately, and finds them unchanged.", onLayer(layerCopies)},
	{"LAYER-09", "The data of returned objects has its capacity clipped to its length.", onLayer(layerClipped)},
	{"LAYER-10", "Del removes the object from Get, GetList and Keys, and no other.", onLayer(layerDel)},
	{"LAYER-11", "Del of an absent path returns ErrNotFound.", onLayer(layerDelAbsent)},
	{"LAYER-12", "Del of an invalid path returns ErrInvalidPath, of a glob ErrGlobNotAllowed, and removes nothing.", onLayer(layerDelInvalid)},
	{"LAYER-13", "GetList returns what the glob matches and nothing else: a star stays within its segment.", onLayer(layerGlobs)},
	{"LAYER-14", "GetList is ascending by Created, ties by Path.", onLayer(layerOrder)},
	{"LAYER-15", "GetList without a glob returns ErrInvalidPattern, of an invalid pattern ErrInvalidPath.", onLayer(layerListInvalid)},
	{"LAYER-16", "GetList and Keys without a match are empty and not nil.", onLayer(layerEmptyLists)},
	{"LAYER-17", "GetList returns complete objects, as Get does.", onLayer(layerListWhole)},
	{"LAYER-18", "Keys returns all paths in byte order.", onLayer(layerKeys)},
	{"LAYER-19", "Clear removes everything, and the layer remains usable.", onLayer(layerClear)},
	{"LAYER-20", "Before Start a layer is not active: calls return ErrNotActive or do nothing.", layerUnstarted},
	{"LAYER-21", "Start of a started layer returns ErrActive and changes nothing.", onLayer(layerStartTwice)},
	{"LAYER-22", "After Close a layer is not active: calls return ErrNotActive or do nothing.", onLayer(layerClosed)},
	{"LAYER-23", "Close may be called any number of times, also concurrently.", onLayer(layerCloseTwice)},
	{"LAYER-24", "A closed layer can be started again.", onLayer(layerRestart)},
	{"LAYER-25", "Calls from many goroutines keep each object intact and lose no write.", onLayer(layerConcurrent)},
	{"LAYER-26", "Close may come during any call: the call succeeds or returns ErrNotActive.", onLayer(layerCloseDuring)},
	{"LAYER-27", "Paths that differ in case or by a character next to the slash are different, up to 1024 bytes.", onLayer(layerUnusualPaths)},
	{"LAYER-28", "An object of a megabyte is stored like any other.", onLayer(layerLarge)},
}, subtreeLayerClauses)

// onLayer returns the run of a clause that needs a started, empty layer.
func onLayer(check func(t T, s *subject, l storage.Layer)) func(T, *subject) {
	return func(t T, s *subject) {
		t.Helper()
		l := s.openLayer(t)
		startLayer(t, l)
		check(t, s, l)
	}
}

// startLayer starts a layer for the duration of the clause.
func startLayer(t T, l storage.Layer) {
	t.Helper()
	must(t, "Start", l.Start(storage.LayerOptions{}))
	t.Cleanup(func() {
		if l.Active() {
			l.Close()
		}
	})
}

// put sets an object, which must succeed.
func put(t T, l storage.Layer, obj meta.Object) {
	t.Helper()
	must(t, fmt.Sprintf("Set %s", short(obj.Path)), l.Set(obj.Path, &obj))
}

// wantObject checks the content of a layer or a database at the path of an object.
func wantObject(t T, store interface {
	Get(string) (meta.Object, error)
}, want meta.Object) {
	t.Helper()
	got, err := store.Get(want.Path)
	if err != nil {
		t.Errorf("Get %s: %v", short(want.Path), err)
		return
	}
	if d := diff(got, want); d != "" {
		t.Errorf("Get %s: %s", short(want.Path), d)
	}
}

func layerRoundTrip(t T, _ *subject, l storage.Layer) {
	for i, obj := range []meta.Object{
		{Created: 1, Updated: 2, Revision: 3, Data: json.RawMessage(`{"a":1}`)},
		{Created: 1, Updated: 2, Revision: 3, Expires: 1 << 62, Data: json.RawMessage(`{"a":1}`)},
		{Data: json.RawMessage(`null`)},
		{Created: math.MaxInt64, Updated: math.MaxInt64, Revision: math.MaxUint64, Data: json.RawMessage(`0`)},
		{Created: math.MinInt64, Updated: -1, Revision: 1, Data: json.RawMessage(`""`)},
		{Created: 5, Data: json.RawMessage(" {\"b\" : [1, 2.50,1e400 ],\n\t\"a\":\"\\u00e9\",\"a\":\"é<>&\u2028\"} ")},
	} {
		obj.Index = fmt.Sprint(i)
		obj.Path = "round/" + obj.Index
		put(t, l, obj)
		wantObject(t, l, obj)
	}
}

func layerKeyWins(t T, _ *subject, l storage.Layer) {
	obj := meta.Object{Created: 1, Path: "other/place", Index: "wrong", Data: dataOf(1)}
	must(t, "Set", l.Set("right/one", &obj))
	wantObject(t, l, meta.Object{Created: 1, Path: "right/one", Index: "one", Data: dataOf(1)})
	_, err := l.Get("other/place")
	wantErr(t, "Get of the object's own Path", err, storage.ErrNotFound)
}

func layerReplace(t T, _ *subject, l storage.Layer) {
	put(t, l, meta.Object{Created: 10, Updated: 20, Revision: 1, Path: "a/b", Index: "b", Data: dataOf(1000)})
	second := meta.Object{Created: 9, Revision: 2, Path: "a/b", Index: "b", Data: json.RawMessage(`1`)}
	put(t, l, second)
	wantObject(t, l, second)
	list, err := l.GetList("a/*")
	must(t, "GetList", err)
	if len(list) != 1 {
		t.Errorf("GetList after two sets of one path has %d objects, want 1", len(list))
	}
}

func layerAbsent(t T, _ *subject, l storage.Layer) {
	put(t, l, object("a/b", 1))
	for _, path := range []string{"a", "a/b/c", "b", "a/c", "A/b"} {
		_, err := l.Get(path)
		wantErr(t, "Get "+path, err, storage.ErrNotFound)
	}
}

func layerGetInvalid(t T, _ *subject, l storage.Layer) {
	put(t, l, object("a/b", 1))
	for _, c := range invalidPaths {
		_, err := l.Get(c.path)
		wantErr(t, "Get, "+c.name, err, storage.ErrInvalidPath)
	}
	for _, glob := range []string{"*", "a/*", "*/b", "a/b*"} {
		_, err := l.Get(glob)
		wantErr(t, "Get "+glob, err, storage.ErrGlobNotAllowed)
	}
}

func layerSetInvalid(t T, _ *subject, l storage.Layer) {
	obj := object("a/b", 1)
	put(t, l, obj)
	other := object("a/b", 2)
	for _, c := range invalidPaths {
		wantErr(t, "Set, "+c.name, l.Set(c.path, &other), storage.ErrInvalidPath)
	}
	for _, glob := range []string{"*", "a/*", "*/b", "a/b*"} {
		wantErr(t, "Set "+glob, l.Set(glob, &other), storage.ErrGlobNotAllowed)
	}
	wantContent(t, l, obj)
}

// wantContent checks that a layer or a database holds exactly these objects.
func wantContent(t T, store interface {
	Get(string) (meta.Object, error)
	Keys() ([]string, error)
}, want ...meta.Object) {
	t.Helper()
	keys, err := store.Keys()
	must(t, "Keys", err)
	wantPaths(t, "Keys (in any order)", sorted(keys), sorted(paths(want)))
	for _, obj := range want {
		wantObject(t, store, obj)
	}
}

func layerSetEmpty(t T, _ *subject, l storage.Layer) {
	obj := object("a/b", 1)
	put(t, l, obj)
	wantErr(t, "Set of nil", l.Set("a/b", nil), storage.ErrInvalidStorageData)
	wantErr(t, "Set of nil data", l.Set("a/b", &meta.Object{Created: 2}), storage.ErrInvalidStorageData)
	empty := &meta.Object{Created: 2, Data: json.RawMessage{}}
	wantErr(t, "Set of empty data", l.Set("a/c", empty), storage.ErrInvalidStorageData)
	wantContent(t, l, obj)
}

func layerCopies(t T, _ *subject, l storage.Layer) {
	want := object("a/b", 7)
	buffer := append(make([]byte, 0, 100), want.Data...)
	obj := want
	obj.Data = buffer
	must(t, "Set", l.Set("a/b", &obj))
	if d := diff(obj, want); d != "" {
		t.Errorf("the caller's object after Set: %s", d)
	}
	copy(buffer, bytes.Repeat([]byte("x"), len(buffer)))
	obj = meta.Object{}
	wantObject(t, l, want)
	list, err := l.GetList("a/*")
	must(t, "GetList", err)
	if len(list) == 1 && !bytes.Equal(list[0].Data, want.Data) {
		t.Errorf("GetList after the caller reused its buffer: data is %s, want %s", list[0].Data, want.Data)
	}
}

func layerClipped(t T, _ *subject, l storage.Layer) {
	for i := range int64(20) {
		obj := object(fmt.Sprintf("a/%d", i), i)
		obj.Data = json.RawMessage(`"` + strings.Repeat("x", int(i)) + `"`)
		put(t, l, obj)
		got, err := l.Get(obj.Path)
		must(t, "Get", err)
		wantClipped(t, "Get "+obj.Path, got.Data)
	}
	list, err := l.GetList("a/*")
	must(t, "GetList", err)
	for _, obj := range list {
		wantClipped(t, "GetList, "+obj.Path, obj.Data)
	}
}

func layerDel(t T, _ *subject, l storage.Layer) {
	for i, path := range []string{"a/b", "a/c", "a/b/d", "a"} {
		put(t, l, object(path, int64(i+1)))
	}
	must(t, "Del", l.Del("a/b"))
	_, err := l.Get("a/b")
	wantErr(t, "Get after Del", err, storage.ErrNotFound)
	list, err := l.GetList("a/*")
	must(t, "GetList", err)
	wantPaths(t, "GetList after Del", paths(list), []string{"a/c"})
	wantContent(t, l, object("a", 4), object("a/b/d", 3), object("a/c", 2))
}

func layerDelAbsent(t T, _ *subject, l storage.Layer) {
	put(t, l, object("a/b", 1))
	for _, path := range []string{"a", "a/b/c", "b"} {
		wantErr(t, "Del "+path, l.Del(path), storage.ErrNotFound)
	}
	must(t, "Del", l.Del("a/b"))
	wantErr(t, "second Del", l.Del("a/b"), storage.ErrNotFound)
}

func layerDelInvalid(t T, _ *subject, l storage.Layer) {
	obj := object("a/b", 1)
	put(t, l, obj)
	for _, c := range invalidPaths {
		wantErr(t, "Del, "+c.name, l.Del(c.path), storage.ErrInvalidPath)
	}
	for _, glob := range []string{"*", "a/*", "*/b", "a/b*"} {
		wantErr(t, "Del "+glob, l.Del(glob), storage.ErrGlobNotAllowed)
	}
	wantContent(t, l, obj)
}

func layerGlobs(t T, _ *subject, l storage.Layer) {
	for i, path := range tree {
		put(t, l, object(path, int64(i)))
	}
	for _, glob := range globs {
		list, err := l.GetList(glob)
		if err != nil {
			t.Errorf("GetList %s: %v", glob, err)
			continue
		}
		wantPaths(t, "GetList "+glob+" (in any order)", sorted(paths(list)), matching(glob, tree))
	}
}

// timed are objects of one directory whose paths are unrelated to their times, in the order of a list.
var timed = []meta.Object{
	object("t/z", -5), object("t/m", 0), object("t/c", 1), object("t/a", 2), object("t/a.", 2),
	object("t/b", 2), object("t/y", 3), object("t/0", 300), object("t/x", 1<<40), object("t/Z", math.MaxInt64),
}

// shuffled returns the timed objects out of order.
func shuffled() []meta.Object {
	mixed := make([]meta.Object, 0, len(timed))
	for _, i := range []int{5, 3, 9, 0, 7, 4, 1, 8, 2, 6} {
		mixed = append(mixed, timed[i])
	}
	return mixed
}

func layerOrder(t T, _ *subject, l storage.Layer) {
	for _, obj := range shuffled() {
		put(t, l, obj)
	}
	for _, glob := range []string{"t/*", "*/*"} {
		list, err := l.GetList(glob)
		must(t, "GetList", err)
		wantPaths(t, "GetList "+glob, paths(list), paths(timed))
	}
	// A match over several directories is one list, not one list after another.
	put(t, l, object("s/a", 2))
	put(t, l, object("u/a", -9))
	list, err := l.GetList("*/a")
	must(t, "GetList", err)
	wantPaths(t, "GetList */a", paths(list), []string{"u/a", "s/a", "t/a"})
}

func layerListInvalid(t T, _ *subject, l storage.Layer) {
	put(t, l, object("a/b", 1))
	for _, path := range []string{"a", "a/b", "b"} {
		_, err := l.GetList(path)
		wantErr(t, "GetList "+path, err, storage.ErrInvalidPattern)
	}
	for _, c := range slices.Concat(invalidPaths, invalidPatterns) {
		_, err := l.GetList(c.path)
		wantErr(t, "GetList, "+c.name, err, storage.ErrInvalidPath)
	}
}

func layerEmptyLists(t T, _ *subject, l storage.Layer) {
	keys, err := l.Keys()
	must(t, "Keys", err)
	if keys == nil || len(keys) != 0 {
		t.Errorf("Keys of an empty layer is %#v, want an empty list, not nil", keys)
	}
	list, err := l.GetList("a/*")
	must(t, "GetList", err)
	if list == nil || len(list) != 0 {
		t.Errorf("GetList without a match is %#v, want an empty list, not nil", list)
	}
}

func layerListWhole(t T, _ *subject, l storage.Layer) {
	want := meta.Object{Created: 3, Updated: 4, Revision: 5, Path: "a/b/c", Index: "c", Data: json.RawMessage(`{ "x": 1 }`)}
	put(t, l, want)
	list, err := l.GetList("a/*/c")
	must(t, "GetList", err)
	if len(list) != 1 {
		t.Fatalf("GetList has %d objects, want 1", len(list))
	}
	if d := diff(list[0], want); d != "" {
		t.Errorf("GetList: %s", d)
	}
}

func layerKeys(t T, _ *subject, l storage.Layer) {
	for i, path := range aroundSlash {
		put(t, l, object(path, int64(i)))
	}
	keys, err := l.Keys()
	must(t, "Keys", err)
	wantPaths(t, "Keys", keys, sorted(aroundSlash))
}

func layerClear(t T, _ *subject, l storage.Layer) {
	for i, path := range tree {
		put(t, l, object(path, int64(i)))
	}
	l.Clear()
	wantContent(t, l)
	list, err := l.GetList("users/*")
	must(t, "GetList after Clear", err)
	wantPaths(t, "GetList after Clear", paths(list), nil)
	put(t, l, object("users/1", 5))
	wantContent(t, l, object("users/1", 5))
}

// wantInactive checks every call of a layer that is not started.
func wantInactive(t T, l storage.Layer) {
	t.Helper()
	if l.Active() {
		t.Errorf("Active is true, want false")
	}
	_, err := l.Get("a/b")
	wantErr(t, "Get", err, storage.ErrNotActive)
	_, err = l.GetList("a/*")
	wantErr(t, "GetList", err, storage.ErrNotActive)
	_, err = l.Keys()
	wantErr(t, "Keys", err, storage.ErrNotActive)
	obj := object("a/b", 1)
	wantErr(t, "Set", l.Set("a/b", &obj), storage.ErrNotActive)
	wantErr(t, "Del", l.Del("a/b"), storage.ErrNotActive)
	l.Clear()
}

func layerUnstarted(t T, s *subject) {
	l := s.openLayer(t)
	wantInactive(t, l)
	startLayer(t, l)
	wantContent(t, l)
}

func layerStartTwice(t T, _ *subject, l storage.Layer) {
	put(t, l, object("a/b", 1))
	wantErr(t, "second Start", l.Start(storage.LayerOptions{}), storage.ErrActive)
	if !l.Active() {
		t.Fatalf("Active is false after the second Start, want true")
	}
	put(t, l, object("a/c", 2))
	wantContent(t, l, object("a/b", 1), object("a/c", 2))
}

func layerClosed(t T, _ *subject, l storage.Layer) {
	put(t, l, object("a/b", 1))
	if !l.Active() {
		t.Errorf("Active is false after Start, want true")
	}
	l.Close()
	wantInactive(t, l)
}

func layerCloseTwice(t T, s *subject, l storage.Layer) {
	put(t, l, object("a/b", 1))
	l.Close()
	l.Close()
	must(t, "Start after Close", l.Start(storage.LayerOptions{}))
	s.together(t, 4, func(int) { l.Close() })
	if l.Active() {
		t.Errorf("Active is true after Close, want false")
	}
}

func layerRestart(t T, _ *subject, l storage.Layer) {
	for i := range int64(3) {
		put(t, l, object("a/b", i+1))
		wantObject(t, l, object("a/b", i+1))
		l.Close()
		must(t, "Start after Close", l.Start(storage.LayerOptions{}))
		put(t, l, object("a/c", i+1))
		wantObject(t, l, object("a/c", i+1))
	}
}

func layerConcurrent(t T, s *subject, l storage.Layer) {
	const goroutines, rounds = 8, 25
	s.together(t, goroutines, func(g int) {
		own := fmt.Sprintf("own/%d", g)
		for i := range rounds {
			s.beats.advance()
			n := int64(g*rounds + i + 1)
			mine, shared := object(own, n), object("shared/x", n)
			if err := errors.Join(l.Set(own, &mine), l.Set("shared/x", &shared)); err != nil {
				t.Errorf("Set: %v", err)
				return
			}
			if got, err := l.Get(own); err != nil || got.Created != n {
				t.Errorf("Get %s after Set of %d: Created is %d (error %v)", own, n, got.Created, err)
			}
			list, err := l.GetList("*/*")
			if err != nil {
				t.Errorf("GetList: %v", err)
			}
			for _, obj := range list {
				if numberOf(obj.Data) != obj.Created || obj.Revision != uint64(obj.Created) {
					t.Errorf("%s is mixed: Created %d, Revision %d, Data %s", obj.Path, obj.Created, obj.Revision, obj.Data)
				}
			}
			if i%5 == 4 && i < rounds-1 {
				if err := l.Del(own); err != nil {
					t.Errorf("Del: %v", err)
				}
			}
		}
	})
	keys, err := l.Keys()
	must(t, "Keys", err)
	if len(keys) != goroutines+1 {
		t.Errorf("Keys has %d paths after all goroutines, want %d: %s", len(keys), goroutines+1, abridged(keys))
	}
}

// layerCloseDuring closes a layer while each of the other calls runs repeatedly.
func layerCloseDuring(t T, s *subject, l storage.Layer) {
	const callers, before = 4, 20
	var made [callers]atomic.Int64
	call := func(g, i int) (what string, err error) {
		path := fmt.Sprintf("a/%d", i%10)
		switch g {
		case 0:
			obj := object(path, int64(i))
			return "Set", l.Set(path, &obj)
		case 1:
			_, err = l.Get(path)
			return "Get", err
		case 2:
			_, err = l.GetList("a/*")
			return "GetList", err
		case 3:
			_, err = l.Keys()
			return "Keys", err
		default:
			return "Del", l.Del(path)
		}
	}
	underWay := func() bool {
		for g := range made {
			if made[g].Load() < before {
				return false
			}
		}
		return true
	}
	s.together(t, callers+1, func(g int) {
		if g < callers {
			defer made[g].Store(before) // also after an error, so Close is called
		}
		for i := 0; ; i++ {
			s.beats.advance()
			if g == callers && underWay() {
				l.Close()
				return
			}
			what, err := call(g, i)
			if err != nil && !errors.Is(err, storage.ErrNotFound) {
				if !errors.Is(err, storage.ErrNotActive) {
					t.Errorf("%s during Close: error is %v, want none or ErrNotActive", what, err)
				}
				return
			}
			if g < callers {
				made[g].Add(1)
			}
		}
	})
	if l.Active() {
		t.Errorf("Active is true after Close, want false")
	}
}

func layerUnusualPaths(t T, _ *subject, l storage.Layer) {
	want := make([]meta.Object, len(unusualPaths))
	for i, path := range unusualPaths {
		want[i] = object(path, int64(i+1))
		put(t, l, want[i])
	}
	wantContent(t, l, want...)
}

func layerLarge(t T, _ *subject, l storage.Layer) {
	obj := object("a/large", 1)
	obj.Data = json.RawMessage(`"` + strings.Repeat("0123456789abcdef", 62_500) + `"`)
	put(t, l, obj)
	wantObject(t, l, obj)
}
