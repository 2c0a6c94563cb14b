package storagetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// TestDelays makes each call of the persistent layer in turn slow, or slow and refused, while writers,
// deletes of whole directories and a reader meet in it: memory, layer, events and hook agree afterwards.
func TestDelays(t *testing.T) {
	atEachCall(t, []faultKind{
		{"slow", Fault{Delay: time.Millisecond}},
		{"slow and refused", Fault{Method: "Commit", Delay: time.Millisecond, Err: &storage.EntryError{Err: errInjected}}},
		{"slow and refused in the middle", Fault{Method: "Commit", Delay: time.Millisecond, Err: &storage.EntryError{Index: 1, Err: errInjected}}},
	}, delayAt)
}

// delayAt lets writers meet with a fault at one call. It returns false when there were fewer calls.
func delayAt(t *testing.T, layer storage.EmbeddedLayer, cache bool, fault Fault) bool {
	t.Helper()
	faults, db := withFault(layer, cache, fault)
	var hook recording
	must(t, "Start", db.Start(quiet(storage.Options{AfterWrite: hook.add})))
	events := watch(db)
	acknowledged := meet(t, db)
	calls := faults.Calls(fault.Method)
	faults.Reset()

	read := contentOf(t, db)
	db.Close()
	told := NewModel()
	var keys []string
	for _, e := range events.all() {
		keys = append(keys, e.Key)
		if e.Operation == storage.OperationSet {
			told.Put(*e.Object)
		} else {
			told.Del(e.Key)
		}
	}
	must(t, "Start of the layer alone", layer.Start(storage.LayerOptions{}))
	defer layer.Close()
	if d := differences(contentOf(t, layer), read, false); d != "" {
		t.Errorf("the persistent layer, beside what was read: %s", d)
	}
	if d := differences(told, read, false); d != "" {
		t.Errorf("the events make something else than what was read: %s", d)
	}
	hooked := hook.take()
	for _, list := range [][]string{acknowledged, keys, hooked} {
		slices.Sort(list)
	}
	if !slices.Equal(keys, acknowledged) || !slices.Equal(hooked, acknowledged) {
		t.Errorf("acknowledged, in the events, and told to AfterWrite:\n%q\n%q\n%q", acknowledged, keys, hooked)
	}
	return calls >= fault.N
}

// meet lets three writers and a reader loose on the same few paths. It returns what was
// acknowledged, in no order.
func meet(t *testing.T, db storage.Database) (acknowledged []string) {
	var mu sync.Mutex // guards acknowledged
	var group sync.WaitGroup
	for w := range 3 {
		group.Go(func() {
			for i := range 8 {
				path := fmt.Sprintf("%c/%d", 'a'+i%2, (i+w)%3)
				var err error
				switch (i + 3*w) % 8 {
				case 3:
					err = db.Del(path)
				case 6:
					path = path[:2] + "*"
					err = db.Del(path)
				default:
					_, err = db.Set(path, dataOf(int64(10*w+i)))
				}
				switch {
				case err == nil:
					mu.Lock()
					acknowledged = append(acknowledged, path)
					mu.Unlock()
				case !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, errInjected):
					t.Errorf("a write of %s: %v", path, err)
				}
			}
		})
	}
	group.Go(func() {
		for range 8 {
			if _, err := db.GetList("a/*"); err != nil {
				t.Errorf("a list among the writes: %v", err)
			}
			if _, err := db.Get("b/1"); err != nil && !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("a read among the writes: %v", err)
			}
		}
	})
	group.Wait()
	return acknowledged
}
