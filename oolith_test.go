package oolith_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oolith-db/oolith"
	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/engine/pebble"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

func TestOpenWriteCloseOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "some", "data")
	for _, url := range []string{"pebble:" + dir, "pebble:" + dir + "-unsynced?sync=off"} {
		store, err := oolith.Open(url, pebble.Engine)
		if err != nil {
			t.Fatal(err)
		}
		pushed, err := store.Push("cities/*", json.RawMessage(`{"name":"Lisbon"}`))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"cities/a", "cities/b", "gone"} {
			if _, err := store.Set(path, json.RawMessage(`{"name":"`+path+`"}`)); err != nil {
				t.Fatal(err)
			}
		}
		if err := store.Del("gone"); err != nil {
			t.Fatal(err)
		}
		before, err := store.GetList("cities/*")
		if err != nil {
			t.Fatal(err)
		}
		store.Close()

		store, err = oolith.Open(url, pebble.Engine)
		if err != nil {
			t.Fatal(err)
		}
		after, err := store.GetList("cities/*")
		if err != nil || len(after) != 3 || !slices.EqualFunc(before, after, sameObject) {
			t.Errorf("%s: after a restart there is %+v, %v, expected %+v", url, after, err, before)
		}
		if after[0].Index != pushed {
			t.Errorf("%s: the first object is %q, expected %q", url, after[0].Index, pushed)
		}
		if _, err := store.Set("new", json.RawMessage("1")); err != nil {
			t.Fatal(err)
		}
		fresh, err := store.Get("new")
		if err != nil || fresh.Revision <= after[2].Revision+1 {
			t.Errorf("%s: the revision after a restart is %d, %v, expected more than that of the delete, %d",
				url, fresh.Revision, err, after[2].Revision+2)
		}
		store.Close()
	}
}

func sameObject(a, b meta.Object) bool {
	return a.Path == b.Path && a.Index == b.Index && a.Created == b.Created && a.Updated == b.Updated &&
		a.Revision == b.Revision && string(a.Data) == string(b.Data)
}

func TestOpenRefuses(t *testing.T) {
	if store, err := oolith.Open("papple:./data"); store != nil || !errors.Is(err, engine.ErrInvalidURL) {
		t.Errorf("an unknown scheme opens %v, %v", store, err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := oolith.Open("pebble:"+file, pebble.Engine)
	if store != nil || err == nil || !strings.Contains(err.Error(), "is a file") {
		t.Errorf("a file opens %v, %v", store, err)
	}
}

func TestOpenInUse(t *testing.T) {
	url := "pebble:" + t.TempDir() + "/data"
	store, err := oolith.Open(url, pebble.Engine)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if second, err := oolith.Open(url, pebble.Engine); second != nil || err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second opening gives %v, %v", second, err)
	}
}

func TestOpenOptions(t *testing.T) {
	var written []string
	store, err := oolith.OpenWith("memory:", storage.Options{
		AfterWrite: func(key string) { written = append(written, key) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Set("a", json.RawMessage("1")); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(written, []string{"a"}) {
		t.Errorf("the hook saw %q", written)
	}
}
