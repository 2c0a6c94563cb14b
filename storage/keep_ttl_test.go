package storage_test

import (
	"errors"
	"testing"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// KeepTTL leaves the end of an object as it is, and gives none to a new one.
func TestKeepTTL(t *testing.T) {
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
	if err := store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	keep := storage.SetOptions{KeepTTL: true}
	first, err := store.SetWith("a", []byte("1"), storage.SetOptions{TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	second, err := store.SetWith("a", []byte("2"), keep)
	if err != nil || second.Expires != first.Expires || first.Expires == 0 {
		t.Errorf("the end was %d, and is %d, %v", first.Expires, second.Expires, err)
	}
	var batch storage.Batch
	batch.SetWith("a", []byte("3"), storage.SetOptions{KeepTTL: true, IfRevision: second.Revision})
	batch.SetWith("new", []byte("1"), keep)
	objects, err := store.Commit(&batch)
	if err != nil || objects[0].Expires != first.Expires || objects[1].Expires != 0 {
		t.Errorf("in a batch: %+v, %v", objects, err)
	}
	if plain, err := store.SetWith("a", []byte("4"), storage.SetOptions{}); err != nil || plain.Expires != 0 {
		t.Errorf("a write without it: %+v, %v", plain, err)
	}
	for _, opt := range []storage.SetOptions{{KeepTTL: true, TTL: time.Hour}, {KeepTTL: true, Expires: 1}} {
		if _, err := store.SetWith("a", []byte("5"), opt); !errors.Is(err, storage.ErrInvalidOptions) {
			t.Errorf("%+v: %v", opt, err)
		}
	}
}
