package storage

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// fakeLayer is a persistent layer whose every call a test can stop, fail or watch. It has
// the required methods only. What it holds outlives Close.
type fakeLayer struct {
	// before and after run around each call but Active, holding no lock, with the name of
	// the method and its key. An error of before is the call's. Set them before Start, or
	// by onCall.
	before func(method, key string) error
	after  func(method, key string)

	mu      sync.Mutex // guards the fields below
	active  bool
	objects map[string]meta.Object
}

func newFake() *fakeLayer { return &fakeLayer{objects: make(map[string]meta.Object)} }

// call runs do, which holds mu, between the hooks.
func (f *fakeLayer) call(method, key string, do func() error) error {
	f.mu.Lock()
	before := f.before
	f.mu.Unlock()
	if before != nil {
		if err := before(method, key); err != nil {
			return err
		}
	}
	f.mu.Lock()
	err := ErrNotActive
	if f.active || method == "Start" {
		err = do()
	}
	f.mu.Unlock()
	if f.after != nil {
		f.after(method, key)
	}
	return err
}

// onCall sets before while the store runs.
func (f *fakeLayer) onCall(before func(method, key string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = before
}

func (f *fakeLayer) Active() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.active
}

func (f *fakeLayer) Start(LayerOptions) error {
	return f.call("Start", "", func() error {
		if f.active {
			return ErrActive
		}
		f.active = true
		return nil
	})
}

func (f *fakeLayer) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active = false
}

func (f *fakeLayer) Get(path string) (obj meta.Object, err error) {
	err = f.call("Get", path, func() error {
		var ok bool
		if obj, ok = f.objects[path]; !ok {
			return ErrNotFound
		}
		return nil
	})
	return obj, err
}

func (f *fakeLayer) GetList(pattern string) (found []meta.Object, err error) {
	err = f.call("GetList", pattern, func() error {
		for path, obj := range f.objects {
			if key.Match(pattern, path) {
				found = append(found, obj)
			}
		}
		slices.SortFunc(found, func(a, b meta.Object) int {
			return int(a.Created - b.Created)
		})
		return nil
	})
	return found, err
}

func (f *fakeLayer) Set(path string, obj *meta.Object) error {
	return f.call("Set", path, func() error { f.put(path, obj); return nil })
}

func (f *fakeLayer) put(path string, obj *meta.Object) {
	o := *obj
	o.Data = bytes.Clone(obj.Data)
	f.objects[path] = o
}

func (f *fakeLayer) Del(path string) error {
	return f.call("Del", path, func() error {
		if _, ok := f.objects[path]; !ok {
			return ErrNotFound
		}
		delete(f.objects, path)
		return nil
	})
}

func (f *fakeLayer) Keys() (keys []string, err error) {
	err = f.call("Keys", "", func() error { keys = slices.Sorted(maps.Keys(f.objects)); return nil })
	return keys, err
}

func (f *fakeLayer) Clear() {
	_ = f.call("Clear", "", func() error { clear(f.objects); return nil })
}

func (f *fakeLayer) Load() (all map[string]*meta.Object, err error) {
	err = f.call("Load", "", func() error {
		all = make(map[string]*meta.Object)
		for path, obj := range f.objects {
			all[path] = &obj
		}
		return nil
	})
	return all, err
}

// fakeBatcher is a fakeLayer that commits batches.
type fakeBatcher struct {
	*fakeLayer
	// commit runs before each Commit, holding no lock; its error is Commit's. Set it before Start, or
	// by onCommit.
	commit func([]Change) error

	// Guarded by fakeLayer.mu.
	last    uint64
	batches [][]Change
}

func newFakeBatcher() *fakeBatcher { return &fakeBatcher{fakeLayer: newFake()} }

func (f *fakeBatcher) Commit(changes []Change) error {
	f.mu.Lock()
	commit := f.commit
	f.mu.Unlock()
	if commit != nil {
		if err := commit(changes); err != nil {
			return err
		}
	}
	return f.call("Commit", "", func() error {
		f.batches = append(f.batches, slices.Clone(changes))
		for _, c := range changes {
			switch {
			case c.IsClear():
				clear(f.objects)
			case c.Object == nil:
				delete(f.objects, c.Key)
			default:
				f.put(c.Key, c.Object)
			}
			f.last = max(f.last, c.Revision)
		}
		return nil
	})
}

// onCommit sets commit while the store runs.
func (f *fakeBatcher) onCommit(commit func([]Change) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.commit = commit
}

func (f *fakeBatcher) LastRevision() (revision uint64, err error) {
	err = f.call("LastRevision", "", func() error { revision = f.last; return nil })
	return revision, err
}

// commits returns how many keys each Commit changed.
func (f *fakeBatcher) commits() (sizes []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, batch := range f.batches {
		sizes = append(sizes, len(batch))
	}
	return sizes
}

// start returns a started store, which the end of the test closes.
func start(t testing.TB, cfg LayeredConfig, options Options) *Layered {
	t.Helper()
	s := New(cfg, options)
	must(t, s.Start(Options{}))
	t.Cleanup(s.Close)
	return s
}

// inMemory returns a started store without a persistent layer.
func inMemory(t testing.TB) *Layered {
	t.Helper()
	return start(t, LayeredConfig{Memory: NewMemoryLayer()}, Options{})
}

// withLayer returns a started store with memory over a layer.
func withLayer(t testing.TB, layer EmbeddedLayer) *Layered {
	t.Helper()
	return start(t, LayeredConfig{Memory: NewMemoryLayer(), Embedded: layer}, Options{})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func set(t testing.TB, s *Layered, path, data string) {
	t.Helper()
	if _, err := s.Set(path, []byte(data)); err != nil {
		t.Error(err)
	}
}

// expect verifies what a store holds at a path; "" stands for nothing.
func expect(t testing.TB, s *Layered, path, want string) {
	t.Helper()
	obj, err := s.Get(path)
	if got := string(obj.Data); got != want || (err == nil) != (want != "") {
		t.Errorf("Get(%q) = %q, %v, want %q", path, got, err, want)
	}
}

// tape records events. It can be used from any number of goroutines.
type tape struct {
	mu     sync.Mutex // guards the fields below
	events []Event
}

func (r *tape) record(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// lines returns the events as text: "set a 1", "del a 1", "del a/*", "clear ".
func (r *tape) lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := make([]string, len(r.events))
	for i, e := range r.events {
		lines[i] = e.Operation + " " + e.Key
		if e.Object != nil {
			lines[i] += " " + string(e.Object.Data)
		}
	}
	return lines
}

// logs returns a logger and what was logged so far.
func logs() (*slog.Logger, func() string) {
	var mu sync.Mutex
	var out bytes.Buffer
	w := writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return out.Write(p)
	})
	return slog.New(slog.NewTextHandler(w, nil)), func() string {
		mu.Lock()
		defer mu.Unlock()
		return out.String()
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func numbered(n int) string { return fmt.Sprintf("k/%d", n) }

// inUse is an object that an earlier process has left.
func inUse(path string) meta.Object {
	return meta.Object{Path: path, Index: key.LastIndex(path), Data: []byte("1"), Created: 1}
}
