package storage

import (
	"encoding/json"
	"runtime"
	"testing"
	"unsafe"
	"weak"

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

// A push allocates the object, and the index that it returns.
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

// The index that a push returns does not keep the object in memory.
func TestPushIndexKeepsNoData(t *testing.T) {
	l := New(LayeredConfig{Memory: NewMemoryLayer()})
	if err := l.Start(Options{}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	index, err := l.Push("list/*", json.RawMessage(`{"text":"hello"}`))
	if err != nil {
		t.Fatal(err)
	}
	obj, err := l.Get("list/" + index)
	if err != nil {
		t.Fatal(err)
	}
	data := weak.Make(unsafe.SliceData([]byte(obj.Data)))
	if err := l.Del("list/" + index); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	if data.Value() != nil {
		t.Error("it does")
	}
	runtime.KeepAlive(index)
}
