package ko

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// started starts a layer and closes it at the end of the test.
func started(t testing.TB, l *Layer) *Layer {
	t.Helper()
	if err := l.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// start returns a started layer in a directory.
func start(t testing.TB, dir string, options Options) *Layer {
	t.Helper()
	return started(t, New(dir, options))
}

// startInMemory returns a started layer on a fresh disk in memory.
func startInMemory(t testing.TB) *Layer {
	t.Helper()
	return started(t, newMemDisk().layer(t, Options{}))
}

func object(path string, created int64, data string) *meta.Object {
	return &meta.Object{Path: path, Index: key.LastIndex(path), Created: created, Data: json.RawMessage(data)}
}

func set(t testing.TB, l *Layer, paths ...string) {
	t.Helper()
	for i, path := range paths {
		if err := l.Set(path, object(path, int64(i+1), fmt.Sprintf("%q", path))); err != nil {
			t.Fatal(err)
		}
	}
}

// fill stores many paths in batches.
func fill(t testing.TB, l *Layer, paths []string) {
	t.Helper()
	for chunk := range slices.Chunk(paths, 1000) {
		changes := make([]storage.Change, len(chunk))
		for i, path := range chunk {
			changes[i] = storage.Change{Key: path, Object: object(path, 1, fmt.Sprintf("%q", path))}
		}
		if err := l.Commit(changes); err != nil {
			t.Fatal(err)
		}
	}
}

func keys(t testing.TB, l *Layer) []string {
	t.Helper()
	paths, err := l.Keys()
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestSetGetDel(t *testing.T) {
	l := startInMemory(t)
	want := object("users/1", 5, `{"a":1}`)
	want.Updated, want.Revision, want.Expires = 6, 7, 8
	stored := *want
	stored.Path, stored.Index = "elsewhere", "elsewhere"
	if err := l.Set("users/1", &stored); err != nil {
		t.Fatal(err)
	}
	clear(stored.Data)
	copy(stored.Data, `{"a":1}`)
	got, err := l.Get("users/1")
	if err != nil || !reflect.DeepEqual(got, *want) {
		t.Errorf("got %+v, %v, expected %+v", got, err, *want)
	}
	if cap(got.Data) != len(got.Data) {
		t.Error("the data's capacity is not clipped")
	}
	if _, err := l.Get("users/2"); !errors.Is(err, storage.ErrNotFound) || !strings.Contains(err.Error(), "users/2") {
		t.Errorf("get of an absent key: %v", err)
	}
	if err := l.Del("users/1"); err != nil {
		t.Error(err)
	}
	if err := l.Del("users/1"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("del of an absent key: %v", err)
	}
	if _, err := l.Get("users/1"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("get of a deleted key: %v", err)
	}
}

func TestValidation(t *testing.T) {
	l := startInMemory(t)
	good := object("a", 1, "1")
	_, getGlob := l.Get("a/*")
	_, getInvalid := l.Get("/a")
	_, listPlain := l.GetList("a/b")
	_, listInvalid := l.GetList("a//*")
	for _, c := range []struct {
		name string
		got  error
		want error
	}{
		{"get of a glob", getGlob, storage.ErrGlobNotAllowed},
		{"get of an invalid path", getInvalid, storage.ErrInvalidPath},
		{"list without a glob", listPlain, storage.ErrInvalidPattern},
		{"list of an invalid pattern", listInvalid, storage.ErrInvalidPath},
		{"set of a glob", l.Set("a/*", good), storage.ErrGlobNotAllowed},
		{"set of an invalid path", l.Set("a/../b", good), storage.ErrInvalidPath},
		{"set of nothing", l.Set("a", nil), storage.ErrInvalidStorageData},
		{"set of empty data", l.Set("a", &meta.Object{}), storage.ErrInvalidStorageData},
		{"set of no JSON", l.Set("a", object("a", 1, `{"a":`)), storage.ErrInvalidStorageData},
		{"set of two values", l.Set("a", object("a", 1, `1,"revision":2`)), storage.ErrInvalidStorageData},
		{"del of a glob", l.Del("a/*"), storage.ErrGlobNotAllowed},
		{"del of an invalid path", l.Del(""), storage.ErrInvalidPath},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, expected %v", c.name, c.got, c.want)
		}
	}
	for _, err := range l.Scan("a**") {
		if !errors.Is(err, storage.ErrInvalidPath) {
			t.Errorf("scan of an invalid pattern: %v", err)
		}
	}
	if got := keys(t, l); len(got) != 0 {
		t.Errorf("refused calls stored %q", got)
	}
}

func TestLifecycle(t *testing.T) {
	l := newMemDisk().layer(t, Options{})
	inactive := func(when string) {
		t.Helper()
		if l.Active() {
			t.Errorf("%s the layer is active", when)
		}
		for name, err := range callAll(t, l) {
			if !errors.Is(err, storage.ErrNotActive) {
				t.Errorf("%s: %s: %v, expected ErrNotActive", when, name, err)
			}
		}
		l.Clear()
		if l.SizeHint() != 0 {
			t.Errorf("%s the size hint is %d", when, l.SizeHint())
		}
		if skipped, n := l.Skipped(); n != 0 || len(skipped) != 0 || l.Recovery() != nil {
			t.Errorf("%s there is something skipped or recovered", when)
		}
	}
	inactive("before Start")
	l.Close()
	for range 2 {
		if err := l.Start(storage.LayerOptions{}); err != nil {
			t.Fatal(err)
		}
		if !l.Active() {
			t.Error("after Start the layer is not active")
		}
		if err := l.Start(storage.LayerOptions{}); !errors.Is(err, storage.ErrActive) {
			t.Errorf("a second Start: %v", err)
		}
		l.Close()
		l.Close()
		inactive("after Close")
	}
}

// callAll makes each call that returns an error, with good arguments.
func callAll(t *testing.T, l *Layer) map[string]error {
	errs := map[string]error{}
	_, errs["Get"] = l.Get("a")
	_, errs["GetList"] = l.GetList("*")
	_, errs["Keys"] = l.Keys()
	_, errs["Load"] = l.Load()
	_, errs["LastRevision"] = l.LastRevision()
	_, errs["Check"] = l.Check(t.Context(), func(error) {})
	errs["Compact"] = l.Compact(t.Context())
	errs["MarkIncomplete"] = l.MarkIncomplete("a copy")
	errs["Set"] = l.Set("a", object("a", 1, "1"))
	errs["Del"] = l.Del("a")
	errs["Commit"] = l.Commit([]storage.Change{{Key: "a", Object: object("a", 1, "1"), Revision: 1}})
	for _, err := range l.Scan("") {
		errs["Scan"] = err
	}
	return errs
}

func TestReopenKeepsEverything(t *testing.T) {
	dir := t.TempDir() + "/not/yet/there"
	l := start(t, dir, Options{})
	paths := []string{"a", "a-b/c", "a/b", "a/b/c", "b.c/d_e", "z"}
	set(t, l, paths...)
	if err := l.Del("z"); err != nil {
		t.Fatal(err)
	}
	before, err := l.Load()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	l = start(t, dir, Options{})
	after, err := l.Load()
	if err != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("loaded %v, %v, expected %v", after, err, before)
	}
	if got := keys(t, l); !slices.Equal(got, paths[:5]) {
		t.Errorf("the keys are %q, expected %q", got, paths[:5])
	}
}

func TestCommitInOrder(t *testing.T) {
	l := startInMemory(t)
	set(t, l, "old/1", "old/2")
	err := l.Commit([]storage.Change{
		{Key: "a", Object: object("a", 1, "1"), Revision: 1},
		{Revision: 2},
		{Key: "b", Object: object("b", 1, "1"), Revision: 3},
		{Key: "c", Object: object("c", 1, "1"), Revision: 4},
		{Key: "b", Revision: 5},
		{Key: "absent", Revision: 5},
		{Key: "c", Object: object("c", 1, "2"), Revision: 6},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := keys(t, l); !slices.Equal(got, []string{"c"}) {
		t.Errorf("the keys are %q, expected c", got)
	}
	if got, err := l.Get("c"); err != nil || string(got.Data) != "2" {
		t.Errorf("c is %s, %v", got.Data, err)
	}
}

func TestCommitRefusesOneEntry(t *testing.T) {
	good := storage.Change{Key: "a", Object: object("a", 1, "1"), Revision: 1}
	for _, c := range []struct {
		name string
		bad  storage.Change
		want error
	}{
		{"too large", storage.Change{Key: "b", Object: object("b", 1, strings.Repeat("1", 101)), Revision: 2}, nil},
		{"invalid path", storage.Change{Key: "/", Object: object("b", 1, "1"), Revision: 2}, storage.ErrInvalidPath},
		{"empty", storage.Change{Key: "b", Object: &meta.Object{}, Revision: 2}, storage.ErrInvalidStorageData},
		{"no JSON", storage.Change{Key: "b", Object: object("b", 1, "{"), Revision: 2}, storage.ErrInvalidStorageData},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := newMemDisk()
			l := started(t, disk.layer(t, Options{MaxData: 100}))
			err := l.Commit([]storage.Change{good, c.bad})
			var refused *storage.EntryError
			if !errors.As(err, &refused) || refused.Index != 1 {
				t.Fatalf("the error is %v, expected an EntryError of change 1", err)
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("the error is %v, expected %v", err, c.want)
			}
			if got := keys(t, l); len(got) != 0 {
				t.Errorf("the refused batch stored %q", got)
			}
			if _, err := disk.ReadNote(revisionFile); err == nil {
				t.Error("the refused batch reserved revisions")
			}
			if err := l.Commit([]storage.Change{good}); err != nil {
				t.Errorf("the batch without the entry: %v", err)
			}
		})
	}
}

func TestSetTooLarge(t *testing.T) {
	l := started(t, newMemDisk().layer(t, Options{MaxData: 100}))
	err := l.Set("b", object("b", 1, strings.Repeat("1", 101)))
	if err == nil || !strings.Contains(err.Error(), `"b"`) || !strings.Contains(err.Error(), "at most 100") {
		t.Errorf("the error is %v", err)
	}
	if err := l.Set("b", object("b", 1, strings.Repeat("1", 100))); err != nil {
		t.Errorf("the largest allowed: %v", err)
	}
}

func TestBatchTooLarge(t *testing.T) {
	l := startInMemory(t)
	l.maxBatch = 10_000
	half := object("b", 1, `"`+strings.Repeat("x", 5000)+`"`)
	changes := []storage.Change{{Key: "a", Object: half, Revision: 1}, {Key: "b", Object: half, Revision: 2}}
	err := l.Commit(changes)
	var refused *storage.EntryError
	if !errors.As(err, &refused) || refused.Index != 1 || !strings.Contains(err.Error(), "at most 10000") {
		t.Errorf("the error is %v, expected an EntryError of change 1", err)
	}
	if got := keys(t, l); len(got) != 0 {
		t.Errorf("the refused batch stored %q", got)
	}
	for n := range 200 {
		set(t, l, fmt.Sprintf("many/%d", n))
	}
	err = l.Commit([]storage.Change{{Key: "a", Object: object("a", 1, "1"), Revision: 3}, {Revision: 4}})
	if !errors.As(err, &refused) || refused.Index != 1 || !strings.Contains(err.Error(), "delete parts of it first") {
		t.Errorf("the error is %v, expected an EntryError of the clear", err)
	}
	l.Clear()
	if got := keys(t, l); len(got) != 200 {
		t.Errorf("a refused clear left %d objects", len(got))
	}
	set(t, l, "a")
}

// Data beyond the write buffer takes another way through LevelDB.
func TestLargeData(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, Options{WriteBuffer: 1 << 20})
	data := `"` + strings.Repeat("x", 8<<20) + `"`
	batch := []storage.Change{
		{Key: "large", Object: object("large", 1, data), Revision: 1},
		{Key: "small", Object: object("small", 1, "1"), Revision: 2},
	}
	if err := l.Commit(batch); err != nil {
		t.Fatal(err)
	}
	set(t, l, "after")
	for range 2 {
		l.Close()
		l = start(t, dir, Options{WriteBuffer: 1 << 20})
		if got, err := l.Get("large"); err != nil || string(got.Data) != data {
			t.Errorf("got %d bytes, %v", len(got.Data), err)
		}
		if got := keys(t, l); !slices.Equal(got, []string{"after", "large", "small"}) {
			t.Errorf("the keys are %q", got)
		}
	}
}

func TestClear(t *testing.T) {
	l := startInMemory(t)
	set(t, l, "a", "b/c", "z/z/z")
	l.Clear()
	if got := keys(t, l); len(got) != 0 {
		t.Errorf("after Clear there is %q", got)
	}
	set(t, l, "b/c")
	if got := keys(t, l); !slices.Equal(got, []string{"b/c"}) {
		t.Errorf("a set after Clear left %q", got)
	}
}

func TestGetListOrder(t *testing.T) {
	l := startInMemory(t)
	for i, path := range []string{"l/c", "l/b", "l/a", "l/d"} {
		if err := l.Set(path, object(path, int64(10-i/2), "1")); err != nil {
			t.Fatal(err)
		}
	}
	list, err := l.GetList("l/*")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, obj := range list {
		got = append(got, obj.Index)
	}
	if want := []string{"a", "d", "b", "c"}; !slices.Equal(got, want) {
		t.Errorf("the list is %q, expected %q", got, want)
	}
	if empty, err := l.GetList("none/*"); err != nil || len(empty) != 0 || empty == nil {
		t.Errorf("an empty list is %#v, %v", empty, err)
	}
}

func TestSizeHint(t *testing.T) {
	disk := newMemDisk()
	l := started(t, disk.layer(t, Options{}))
	set(t, l, "a", "b/c", "d")
	if got := l.SizeHint(); got != 3 {
		t.Errorf("with 3 objects the hint is %d", got)
	}
	const n = 20000
	var paths []string
	for i := range n {
		paths = append(paths, fmt.Sprintf("dir/%d", i))
	}
	fill(t, l, paths)
	l.Close()
	l = started(t, disk.layer(t, Options{}))
	if hint := l.SizeHint(); hint < n/4 || hint > n*4 {
		t.Errorf("with %d objects the hint is %d", n, hint)
	}
}
