package storage

import (
	"encoding/json"
	"testing"

	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/key"
)

// A push that needs another path leaves the earlier one as it was: the persistent layer may still refer to it.
func TestPushLeavesItsEarlierPath(t *testing.T) {
	for name, again := range map[string]func(w *write, path string){
		"there is an object":       func(w *write, _ string) { w.found.exists = true },
		"the group was not stored": func(w *write, path string) { w.object.Path = path },
	} {
		t.Run(name, func(t *testing.T) {
			data := json.RawMessage(`{"text":"hello"}`)
			w := write{op: opPush, path: "list/*", made: pathtree.NewPush("list/*", data)}
			w.data = w.made.Data()
			first := w.name(1_700_000_000_000_000_000)
			again(&w, first)
			second := w.name(1_700_000_000_000_000_001)
			if want := key.At("list/*", 1_700_000_000_000_000_000); first != want {
				t.Errorf("the earlier path became %q, expected %q", first, want)
			}
			if want := key.At("list/*", 1_700_000_000_000_000_001); second != want || string(w.made.Data()) != string(data) {
				t.Errorf("%q with %s, expected %q with %s", second, w.made.Data(), want, data)
			}
		})
	}
}

// A push allocates the object, and the index that it returns, which does not keep the object in memory.
func TestPushAllocations(t *testing.T) {
	l := New(LayeredConfig{Memory: NewMemoryLayer()})
	if err := l.Start(Options{}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	data := json.RawMessage(`{"text":"hello"}`)
	if got := testing.AllocsPerRun(1000, func() {
		if _, err := l.Push("list/*", data); err != nil {
			t.Fatal(err)
		}
	}); got > 2 {
		t.Errorf("%v allocations, expected 2", got)
	}
}
