package patch_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/patch"
	"github.com/oolith-db/oolith/storage"
)

func newStore(t testing.TB) *storage.Layered {
	t.Helper()
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
	if err := store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

// holds verifies what a store holds at a path; "" stands for nothing.
func holds(t *testing.T, store *storage.Layered, path, want string) {
	t.Helper()
	if obj, err := store.Get(path); string(obj.Data) != want || (err == nil) != (want != "") {
		t.Errorf("%s is %s, %v, want %s", path, obj.Data, err, want)
	}
}

func TestMerge(t *testing.T) {
	store := newStore(t)
	made, err := patch.Merge(store, "a/1", []byte(`{"x":1,"y":{"z":null}}`))
	if err != nil || string(made.Data) != `{"x":1,"y":{}}` || made.Updated != 0 {
		t.Errorf("where nothing was: %s, %v", made.Data, err)
	}
	changed, err := patch.Merge(store, "a/1", []byte(`{"x":null,"y":{"z":2}}`))
	if err != nil || string(changed.Data) != `{"y":{"z":2}}` || changed.Created != made.Created || changed.Revision != made.Revision+1 {
		t.Errorf("where something was: %+v, %v", changed, err)
	}
	holds(t, store, "a/1", `{"y":{"z":2}}`)
}

func TestApply(t *testing.T) {
	store := newStore(t)
	if _, err := patch.Apply(store, "a/1", []byte(`[]`)); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("where nothing is: %v, want %v", err, storage.ErrNotFound)
	}
	if _, err := store.SetWith("a/1", []byte(`{"n":1}`), storage.SetOptions{TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	before, err := store.Get("a/1")
	if err != nil {
		t.Fatal(err)
	}
	obj, err := patch.Apply(store, "a/1", []byte(`[{"op":"replace","path":"/n","value":2}]`))
	if err != nil || string(obj.Data) != `{"n":2}` || obj.Expires != before.Expires || obj.Revision != before.Revision+1 {
		t.Errorf("%+v, %v, want a new revision of %+v", obj, err, before)
	}
}

// TestNothingIsWritten shows that what fails leaves the object, and its revision, alone.
func TestNothingIsWritten(t *testing.T) {
	store := newStore(t)
	if _, err := store.Set("a/1", []byte(`{"n":1}`)); err != nil {
		t.Fatal(err)
	}
	before, err := store.Get("a/1")
	if err != nil {
		t.Fatal(err)
	}
	apply := func(doc string) error { _, err := patch.Apply(store, "a/1", []byte(doc)); return err }
	merge := func(doc string) error { _, err := patch.Merge(store, "a/1", []byte(doc)); return err }
	for _, test := range []struct {
		name string
		err  error
		want error
	}{
		{"an operation behind one that applies", apply(`[{"op":"add","path":"/m","value":1},{"op":"remove","path":"/x"}]`), patch.ErrDoesNotApply},
		{"a test that fails", apply(`[{"op":"add","path":"/m","value":1},{"op":"test","path":"/n","value":2}]`), patch.ErrTestFailed},
		{"no JSON Patch", apply(`{}`), patch.ErrInvalidPatch},
		{"no JSON", merge(`{`), patch.ErrInvalidPatch},
		{"a path with a star", func() error { _, err := patch.Merge(store, "a/*", []byte(`{}`)); return err }(), storage.ErrGlobNotAllowed},
		{"a merge at another revision", func() error {
			_, err := patch.MergeWith(store, "a/1", []byte(`{"m":1}`), patch.Options{IfRevision: before.Revision + 1})
			return err
		}(), storage.ErrConflict},
		{"a patch of another revision", func() error {
			_, err := patch.ApplyWith(store, "a/1", []byte(`[]`), patch.Options{IfRevision: before.Revision + 1})
			return err
		}(), storage.ErrConflict},
		{"a merge of nothing at a revision", func() error {
			_, err := patch.MergeWith(store, "a/2", []byte(`{"m":1}`), patch.Options{IfRevision: 1})
			return err
		}(), storage.ErrConflict},
	} {
		if !errors.Is(test.err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, test.err, test.want)
		}
		if test.err != nil && !strings.Contains(test.err.Error(), `"a/`) {
			t.Errorf("%s: %v does not name the path", test.name, test.err)
		}
	}
	after, err := store.Get("a/1")
	if err != nil || after.Revision != before.Revision || string(after.Data) != `{"n":1}` {
		t.Errorf("the object is now %+v, %v, want %+v", after, err, before)
	}
	holds(t, store, "a/2", "")
	obj, err := patch.MergeWith(store, "a/1", []byte(`{"m":1}`), patch.Options{IfRevision: before.Revision})
	if err != nil || string(obj.Data) != `{"n":1,"m":1}` {
		t.Errorf("at its revision: %s, %v", obj.Data, err)
	}
}

// racing is a store in which another writer is faster, some times.
type racing struct {
	*storage.Layered
	t     *testing.T
	races int
}

func (r *racing) Update(path string, change func(meta.Object) (json.RawMessage, error)) (meta.Object, error) {
	return r.Layered.Update(path, func(old meta.Object) (json.RawMessage, error) {
		if r.races > 0 {
			r.races--
			if _, err := r.Set(path, fmt.Appendf(nil, `{"left":%d}`, r.races)); err != nil {
				r.t.Error(err)
			}
		}
		return change(old)
	})
}

// TestPatchesAreRetried shows that a patch is applied to what another writer left meanwhile.
func TestPatchesAreRetried(t *testing.T) {
	store := newStore(t)
	if _, err := patch.Merge(&racing{store, t, 3}, "a", []byte(`{"m":1}`)); err != nil {
		t.Error(err)
	}
	holds(t, store, "a", `{"left":0,"m":1}`)
	if _, err := patch.Apply(&racing{store, t, 3}, "a", []byte(`[{"op":"add","path":"/p","value":[]},{"op":"add","path":"/p/-","value":1}]`)); err != nil {
		t.Error(err)
	}
	holds(t, store, "a", `{"left":0,"p":[1]}`)
}

func TestConcurrentPatches(t *testing.T) {
	store := newStore(t)
	if _, err := store.Set("a", []byte(`{"list":[]}`)); err != nil {
		t.Fatal(err)
	}
	const goroutines, each = 8, 50
	var patching sync.WaitGroup
	for g := range goroutines {
		patching.Go(func() {
			for i := range each {
				if _, err := patch.Apply(store, "a", []byte(`[{"op":"add","path":"/list/-","value":1}]`)); err != nil {
					t.Error(err)
				}
				if _, err := patch.Merge(store, "a", fmt.Appendf(nil, `{"g%d":%d}`, g, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	patching.Wait()
	obj, err := store.Get("a")
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		List []int
		G0   int
	}
	if err := json.Unmarshal(obj.Data, &got); err != nil || len(got.List) != goroutines*each || got.G0 != each-1 {
		t.Errorf("%d items and g0 at %d, %v, want %d and %d", len(got.List), got.G0, err, goroutines*each, each-1)
	}
}
