package storage_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/oolith-db/oolith/storage"
)

// What a batch has gathered can be committed elsewhere.
func TestBatchChanges(t *testing.T) {
	var batch storage.Batch
	batch.SetWith("a", []byte("1"), storage.SetOptions{IfRevision: 3, TTL: 5})
	batch.SetWith("b", []byte("2"), storage.SetOptions{IfAbsent: true, Times: &storage.Times{Created: 1, Updated: 2}, Expires: 9})
	batch.Push("l/*", []byte("3"))
	batch.DelWith("d", storage.DelOptions{IfRevision: 4})
	batch.TouchWith("t", storage.SetOptions{KeepTTL: false, TTL: 7})
	changes, err := batch.Changes()
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, ch := range changes {
		got += fmt.Sprintf("%s %s %s %d %v %d %d %v; ", ch.Operation, ch.Path, ch.Data, ch.Options.IfRevision, ch.Options.IfAbsent, ch.Options.TTL, ch.Options.Expires, ch.Options.Times)
	}
	want := "set a 1 3 false 5 0 <nil>; set b 2 0 true 0 9 &{1 2}; push l/* 3 0 false 0 0 <nil>; del d  4 false 0 0 <nil>; touch t  0 false 7 0 <nil>; "
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	batch.Set("a//b", []byte("1"))
	if _, err := batch.Changes(); !errors.Is(err, storage.ErrInvalidPath) {
		t.Errorf("a change that cannot be: %v", err)
	}
}
