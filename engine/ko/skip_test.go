package ko

import (
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/storage"
)

// withUndecodable is a database of the older software with one object and entries that are none.
func withUndecodable(t *testing.T) (dir string) {
	dir = t.TempDir()
	makeOlder(t, dir, func(o *older) {
		o.putRaw("a/good", `{"created":1,"data":1}`)
		o.putRaw("a/bad", `{"created":2,"updated":0,"index":"bad","path":"a/bad","data":null}`[:20]) // cut off
		o.putRaw("a/none", `{"created":3,"index":"none","path":"a/none"}`)
	})
	return dir
}

// The error of a store that loads names the key and all ways out, which then work.
func TestUndecodableWaysOut(t *testing.T) {
	dir := withUndecodable(t)
	loading := func(options Options, logger *slog.Logger) (*storage.Layered, error) {
		db := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Persistent: New(dir, options)})
		if logger == nil {
			logger = slog.New(slog.DiscardHandler)
		}
		return db, db.Start(storage.Options{Logger: logger})
	}
	_, err := loading(Options{}, nil)
	for _, text := range []string{`"a/bad"`, "set or delete exactly this key", "invalid=skip"} {
		if !errors.Is(err, storage.ErrUndecodable) || !strings.Contains(err.Error(), text) {
			t.Errorf("the start: %v, want %s in it", err, text)
		}
	}
	var logged strings.Builder
	for range 2 { // also when it was closed in order in between
		db, err := loading(Options{SkipInvalid: true}, slog.New(slog.NewTextHandler(&logged, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if keys, err := db.Keys(); err != nil || !slices.Equal(keys, []string{"a/good"}) {
			t.Errorf("the keys are %q, %v", keys, err)
		}
		db.Close()
	}
	if !strings.Contains(logged.String(), "count=2") || !strings.Contains(logged.String(), "a/none") {
		t.Errorf("logged is %q", logged.String())
	}
	db, err := loading(Options{SkipInvalid: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, set := db.Set("a/bad", json.RawMessage(`{"mended":true}`))
	if err := errors.Join(set, db.Del("a/none")); err != nil {
		t.Error(err)
	}
	if keys, err := db.Keys(); err != nil || !slices.Equal(keys, []string{"a/bad", "a/good"}) {
		t.Errorf("after a set the keys are %q, %v", keys, err)
	}
	db.Close()
	if db, err = loading(Options{}, nil); err != nil {
		t.Fatal(err)
	}
	if obj, err := db.Get("a/bad"); err != nil || string(obj.Data) != `{"mended":true}` {
		t.Errorf("what was set is %s, %v", obj.Data, err)
	}
	db.Close()
}

// Every read of more than one object agrees on what is left out, and the check tells it.
func TestSkipUndecodable(t *testing.T) {
	l := start(t, withUndecodable(t), Options{SkipInvalid: true})
	if keys, n := l.Skipped(); n != 2 || !slices.Equal(keys, []string{"a/bad", "a/none"}) {
		t.Errorf("skipped are %q, %d", keys, n)
	}
	objects, err := l.Load()
	if err != nil || len(objects) != 1 {
		t.Errorf("Load returns %v, %v", objects, err)
	}
	if list, err := l.GetList("a/*"); err != nil || len(list) != 1 {
		t.Errorf("GetList returns %v, %v", list, err)
	}
	if keys := enginetest.Keys(t, l); !slices.Equal(keys, []string{"a/good"}) {
		t.Errorf("Keys returns %q", keys)
	}
	if _, err := l.Get("a/bad"); !errors.Is(err, storage.ErrUndecodable) {
		t.Errorf("Get: %v, want ErrUndecodable", err)
	}
	if n, found := enginetest.Checked(t, l); n != 1 || len(found) != 2 {
		t.Errorf("the check counts %d and finds %q", n, found)
	}
	if err := l.Commit([]storage.Change{{Clear: true, Revision: 9}}); err != nil {
		t.Error(err)
	}
	if _, err := l.Get("a/bad"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Get after a clear: %v, want ErrNotFound", err)
	}
}
