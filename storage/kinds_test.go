package storage

import (
	"fmt"
	"iter"
	"maps"
	"runtime"
	"slices"
	"testing"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// fakeAsync is a fakeBatcher that orders a batch before it is durable.
type fakeAsync struct {
	*fakeBatcher
	// sync runs in each wait, holding no lock, with the batch; its error is wait's.
	sync func([]Change) error
}

func (f *fakeAsync) CommitAsync(changes []Change) (wait func() error, err error) {
	if err := f.Commit(changes); err != nil {
		return nil, err
	}
	if f.sync == nil {
		return func() error { return nil }, nil
	}
	kept := slices.Clone(changes)
	return func() error { return f.sync(kept) }, nil
}

// fakeScanner is a fakeBatcher that streams.
type fakeScanner struct {
	*fakeBatcher
	// scanned runs before each object that a scan yields; its error ends the scan.
	scanned func(path string) error
	// closing runs before Close.
	closing func()
}

func (f *fakeScanner) Close() {
	if f.closing != nil {
		f.closing()
	}
	f.fakeBatcher.Close()
}

func (f *fakeScanner) Scan(pattern string) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		var found []meta.Object
		err := f.call("Scan", pattern, func() error {
			for path, obj := range maps.All(f.objects) {
				if pattern == "" || key.Match(pattern, path) {
					found = append(found, placed(obj, path))
				}
			}
			return nil
		})
		slices.SortFunc(found, compareByPlace)
		for _, obj := range found {
			if f.scanned != nil && err == nil {
				err = f.scanned(obj.Path)
			}
			if err != nil || !yield(obj, nil) {
				break
			}
		}
		if err != nil {
			yield(meta.Object{}, err)
		}
	}
}

// kind is a way to put a store together.
type kind struct {
	name string
	// over makes the layers of a store over a fake, which holds what is durable.
	over       func(fake *fakeBatcher) LayeredConfig
	persistent bool // over a fake
	batches    bool // it takes batches of several changes
	fromLayer  bool // its lists come from the layer
}

func kinds() []kind {
	plain := func(f *fakeBatcher) EmbeddedLayer { return f.fakeLayer }
	batcher := func(f *fakeBatcher) EmbeddedLayer { return f }
	scanner := func(f *fakeBatcher) EmbeddedLayer { return &fakeScanner{fakeBatcher: f} }
	async := func(f *fakeBatcher) EmbeddedLayer {
		// A sync takes its time, so that groups overlap.
		return &fakeAsync{fakeBatcher: f, sync: func([]Change) error { runtime.Gosched(); return nil }}
	}
	with := func(layer func(*fakeBatcher) EmbeddedLayer) func(*fakeBatcher) LayeredConfig {
		return func(f *fakeBatcher) LayeredConfig {
			return LayeredConfig{Memory: NewMemoryLayer(), Embedded: layer(f)}
		}
	}
	without := func(layer func(*fakeBatcher) EmbeddedLayer) func(*fakeBatcher) LayeredConfig {
		return func(f *fakeBatcher) LayeredConfig { return LayeredConfig{Embedded: layer(f)} }
	}
	cache := func(layer func(*fakeBatcher) EmbeddedLayer) func(*fakeBatcher) LayeredConfig {
		return func(f *fakeBatcher) LayeredConfig {
			cfg := with(layer)(f)
			cfg.MemoryOptions.SkipLoadMemory = true
			return cfg
		}
	}
	tiny := func(layer func(*fakeBatcher) EmbeddedLayer) func(*fakeBatcher) LayeredConfig {
		return func(f *fakeBatcher) LayeredConfig {
			cfg := cache(layer)(f)
			cfg.MemoryOptions.CacheBytes = 3 * 300 // of three objects, so that they come and go
			return cfg
		}
	}
	memory := func(*fakeBatcher) LayeredConfig { return LayeredConfig{Memory: NewMemoryLayer()} }
	return []kind{
		{"memory", memory, false, true, false},
		{"memory over plain", with(plain), true, false, false},
		{"memory over batcher", with(batcher), true, true, false},
		{"memory over async", with(async), true, true, false},
		{"memory over scanner", with(scanner), true, true, false},
		{"plain only", without(plain), true, false, true},
		{"batcher only", without(batcher), true, true, true},
		{"scanner only", without(scanner), true, true, true},
		{"cache of plain", cache(plain), true, false, true},
		{"cache of batcher", cache(batcher), true, true, true},
		{"cache of scanner", cache(scanner), true, true, true},
		{"tiny cache of scanner", tiny(scanner), true, true, true},
	}
}

// each runs a test on a started store of each kind that it is for.
func each(t *testing.T, options Options, only func(kind) bool, test func(t *testing.T, k kind, s *Layered, fake *fakeBatcher)) {
	t.Helper()
	for _, k := range kinds() {
		if only == nil || only(k) {
			t.Run(k.name, func(t *testing.T) {
				fake := newFakeBatcher()
				test(t, k, start(t, k.over(fake), options), fake)
			})
		}
	}
}

func batching(k kind) bool { return k.batches }

// queueing are those that have a queue: without a persistent layer a write waits for nothing but its turn.
func queueing(k kind) bool { return k.batches && k.persistent }

func restart(t testing.TB, s *Layered) {
	t.Helper()
	s.Close()
	must(t, s.Start(Options{}))
}

// object returns what a store holds at a path.
func object(t testing.TB, s *Layered, path string) meta.Object {
	t.Helper()
	obj, err := s.Get(path)
	must(t, err)
	return obj
}

// same reports whether two objects are equal in all that a store says about them.
func same(a, b meta.Object) bool { return show(a) == show(b) }

func show(o meta.Object) string {
	return fmt.Sprintf("%s (%s) %s: created %d, updated %d, revision %d, expires %d",
		o.Path, o.Index, o.Data, o.Created, o.Updated, o.Revision, o.Expires)
}

// content is all that the layer of a store holds.
func (f *fakeBatcher) content() map[string]meta.Object {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.objects)
}

// hooks counts the paths of a hook.
type hooks struct {
	tape
}

func (h *hooks) run(path string) { h.record(Event{Key: path}) }

// paths returns the paths in their order, and forgets them.
func (h *hooks) paths() (paths []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		paths = append(paths, e.Key)
	}
	h.events = nil
	return paths
}
