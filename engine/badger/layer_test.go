package badger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// start returns a started layer in a directory, closed at the end of the test.
func start(t testing.TB, dir string, options Options) *Layer {
	t.Helper()
	l := New(dir, options)
	if err := l.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// startSmall returns a started layer of little size in a new directory.
func startSmall(t testing.TB) *Layer {
	t.Helper()
	return start(t, t.TempDir(), small())
}

func object(path string, created int64, data string) *meta.Object {
	return &meta.Object{Path: path, Index: key.LastIndex(path), Created: created, Data: json.RawMessage(data)}
}

// numbered returns paths with a number each, in the order of their numbers.
func numbered(dir string, n int) []string {
	paths := make([]string, n)
	for i := range paths {
		paths[i] = fmt.Sprintf("%s/%06d", dir, i)
	}
	return paths
}

// set stores the path itself, as a string, at each path, in one batch.
func set(t testing.TB, l *Layer, paths ...string) {
	t.Helper()
	changes := make([]storage.Change, len(paths))
	for i, path := range paths {
		changes[i] = storage.Change{Key: path, Object: object(path, int64(i+1), fmt.Sprintf("%q", path))}
	}
	if err := l.Commit(changes); err != nil {
		t.Fatal(err)
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
	l := startSmall(t)
	want := object("users/1", 5, `{"a":1}`)
	want.Updated, want.Revision = 6, 7
	stored := *want
	stored.Path, stored.Index, stored.Data = "elsewhere", "elsewhere", json.RawMessage(`{"a":1}`)
	if err := l.Set("users/1", &stored); err != nil {
		t.Fatal(err)
	}
	copy(stored.Data, `{"b":2}`)
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
	l := startSmall(t)
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
		{"set of a zero byte", l.Set("a\x00b", good), storage.ErrInvalidPath},
		{"set of nothing", l.Set("a", nil), storage.ErrInvalidStorageData},
		{"set of empty data", l.Set("a", &meta.Object{}), storage.ErrInvalidStorageData},
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
	l := New(t.TempDir(), small())
	inactive := func(when string) {
		t.Helper()
		if l.Active() {
			t.Errorf("%s the layer is active", when)
		}
		for name, err := range callAll(l) {
			if !errors.Is(err, storage.ErrNotActive) {
				t.Errorf("%s: %s: %v, expected ErrNotActive", when, name, err)
			}
		}
		l.Clear()
		if l.SizeHint() != 0 {
			t.Errorf("%s the size hint is %d", when, l.SizeHint())
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
func callAll(l *Layer) map[string]error {
	errs := map[string]error{}
	_, errs["Get"] = l.Get("a")
	_, errs["GetList"] = l.GetList("*")
	_, errs["Keys"] = l.Keys()
	_, errs["Load"] = l.Load()
	_, errs["LastRevision"] = l.LastRevision()
	errs["Set"] = l.Set("a", object("a", 1, "1"))
	errs["Del"] = l.Del("a")
	errs["Commit"] = l.Commit([]storage.Change{{Key: "a", Object: object("a", 1, "1"), Revision: 1}})
	for _, err := range l.Scan("") {
		errs["Scan"] = err
	}
	_, errs["Check"] = l.Check(context.Background(), func(error) {})
	errs["Compact"] = l.Compact(context.Background())
	errs["MarkIncomplete"] = l.MarkIncomplete("a copy")
	_, errs["ID"] = l.ID()
	return errs
}

func TestReopenKeepsEverything(t *testing.T) {
	dir := t.TempDir() + "/not/yet/there"
	l := start(t, dir, small())
	paths := []string{"a", "a-b/c", "a/b", "a/b/c", "b.c/d_e", "z"}
	set(t, l, paths...)
	large := `"` + strings.Repeat("large ", 10_000) + `"` // in the value log
	if err := l.Set("large", object("large", 1, large)); err != nil {
		t.Fatal(err)
	}
	if err := l.Del("z"); err != nil {
		t.Fatal(err)
	}
	before, err := l.Load()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	l = start(t, dir, small())
	after, err := l.Load()
	if err != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("loaded %v, %v, expected %v", after, err, before)
	}
	if got, want := keys(t, l), append(paths[:5:5], "large"); !slices.Equal(got, want) {
		t.Errorf("the keys are %q, expected %q", got, want)
	}
}

func TestCommitInOrder(t *testing.T) {
	l := startSmall(t)
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

func TestLastRevision(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, small())
	expect := func(want uint64) {
		t.Helper()
		if got, err := l.LastRevision(); err != nil || got != want {
			t.Errorf("the last revision is %d, %v, expected %d", got, err, want)
		}
	}
	expect(0)
	for _, c := range []struct {
		change storage.Change
		want   uint64
	}{
		{storage.Change{Key: "a", Object: object("a", 1, "1"), Revision: 3}, 3},
		{storage.Change{Key: "a", Revision: 9}, 9},
		{storage.Change{Key: "b", Object: object("b", 1, "1"), Revision: 4}, 9},
		{storage.Change{Revision: 11}, 11},
	} {
		if err := l.Commit([]storage.Change{c.change}); err != nil {
			t.Fatal(err)
		}
		expect(c.want)
	}
	if err := l.Commit(nil); err != nil {
		t.Errorf("an empty batch: %v", err)
	}
	l.Clear()
	expect(11)
	l.Close()
	l = start(t, dir, small())
	expect(11)
}

func TestCommitRefusesOneEntry(t *testing.T) {
	options := small()
	options.MaxData = 100
	good := storage.Change{Key: "a", Object: object("a", 1, "1"), Revision: 1}
	for _, c := range []struct {
		name string
		bad  storage.Change
		want error
	}{
		{"too large", storage.Change{Key: "b", Object: object("b", 1, strings.Repeat("1", 101)), Revision: 2}, nil},
		{"invalid path", storage.Change{Key: "/", Object: object("b", 1, "1"), Revision: 2}, storage.ErrInvalidPath},
		{"empty", storage.Change{Key: "b", Object: &meta.Object{}, Revision: 2}, storage.ErrInvalidStorageData},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := start(t, t.TempDir(), options)
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
			if err := l.Commit([]storage.Change{good}); err != nil {
				t.Errorf("the batch without the entry: %v", err)
			}
		})
	}
}

// The longest path and the largest object are stored, one byte more is refused by name.
func TestLargestEntry(t *testing.T) {
	options := small()
	options.ValueLogFileSize = 1 << 20
	l := start(t, t.TempDir(), options)
	path := strings.Repeat("p", 1024)
	most := l.options.MaxData
	for _, c := range []struct {
		size int
		ok   bool
	}{{most, true}, {most + 1, false}} {
		data := `"` + strings.Repeat("x", c.size-2) + `"`
		err := l.Set(path, object(path, 1, data))
		if c.ok != (err == nil) {
			t.Errorf("an object of %d bytes: %v", c.size, err)
		}
		if err != nil && (!strings.Contains(err.Error(), fmt.Sprintf("%q", path)) || !strings.Contains(err.Error(), fmt.Sprint("at most ", most))) {
			t.Errorf("the error is %v", err)
		}
	}
	if got, err := l.Get(path); err != nil || len(got.Data) != most {
		t.Errorf("got %d bytes, %v, expected %d", len(got.Data), err, most)
	}
}

func TestClear(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, small())
	for round := range 3 {
		set(t, l, "a", "b/c", "z/z/z")
		l.Clear()
		if got := keys(t, l); len(got) != 0 {
			t.Errorf("round %d: after Clear there is %q", round, got)
		}
	}
	set(t, l, "b/c")
	l.Close()
	l = start(t, dir, small())
	if got := keys(t, l); !slices.Equal(got, []string{"b/c"}) {
		t.Errorf("a set after Clear left %q", got)
	}
}

func TestGetListOrder(t *testing.T) {
	l := startSmall(t)
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
	dir := t.TempDir()
	l := start(t, dir, small())
	const n = 20_000
	set(t, l, numbered("dir", n)...)
	if hint := l.SizeHint(); hint != n {
		t.Errorf("with %d objects the hint is %d", n, hint)
	}
	crashed := copyOf(t, dir)
	for name, at := range map[string]string{"a crash": crashed, "a close": dir} {
		l.Close()
		reopened := start(t, at, small())
		if hint := reopened.SizeHint(); hint < n || hint > n*2 {
			t.Errorf("with %d objects the hint after %s is %d", n, name, hint)
		}
	}
}

func TestCloseDuringEverything(t *testing.T) {
	l := New(t.TempDir(), small())
	stop := make(chan struct{})
	var group sync.WaitGroup
	calls := []func(int) error{
		func(i int) error { path := fmt.Sprintf("d/%d", i%500); return l.Set(path, object(path, 1, `"x"`)) },
		func(i int) error { return l.Del(fmt.Sprintf("d/%d", i%500)) },
		func(i int) error {
			return l.Commit([]storage.Change{{Key: "b/a", Object: object("b/a", 1, "1"), Revision: uint64(i + 1)}, {Key: "b/b"}})
		},
		func(i int) error { _, err := l.Get(fmt.Sprintf("d/%d", i%500)); return err },
		func(int) error { _, err := l.GetList("d/*"); return err },
		func(int) error { _, err := l.Keys(); return err },
		func(int) error { _, err := l.Load(); return err },
		func(int) error { _, err := l.LastRevision(); return err },
		func(int) error { l.Clear(); return nil },
		func(int) error { l.SizeHint(); l.Active(); return nil },
		func(int) error {
			_, err := l.Check(t.Context(), func(err error) { t.Errorf("check: %v", err) })
			return err
		},
		func(int) error { return l.Compact(t.Context()) },
		func(int) error { return l.MarkIncomplete("") },
		func(int) error {
			for _, err := range l.Scan("*/*") {
				if err != nil {
					return err
				}
				if _, err := l.Get("d/1"); err != nil && !errors.Is(err, storage.ErrNotFound) {
					return err
				}
			}
			return nil
		},
	}
	for n, call := range calls {
		group.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				err := call(i)
				if err != nil && !errors.Is(err, storage.ErrNotActive) && !errors.Is(err, storage.ErrNotFound) {
					t.Errorf("call %d: %v", n, err)
					return
				}
			}
		})
	}
	for range 5 {
		if err := l.Start(storage.LayerOptions{}); err != nil {
			t.Error(err)
			break
		}
		if err := l.Set("round/1", object("round/1", 1, "1")); err != nil {
			t.Error(err)
		}
		var closers sync.WaitGroup
		for range 2 {
			closers.Go(l.Close)
		}
		closers.Wait()
	}
	close(stop)
	group.Wait()
}
