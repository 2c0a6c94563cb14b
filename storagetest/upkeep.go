package storagetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// This file checks layers with upkeep interfaces: Checker, Compacter and IncompleteMarker.

// offering returns the run of a clause. It checks nothing if the layer lacks the optional interface I.
func offering[I any](check func(t T, s *subject, l *reopener)) func(T, *subject) {
	return onEmbedded(func(t T, s *subject, l *reopener) {
		t.Helper()
		if _, ok := storage.As[I](l.EmbeddedLayer); !ok {
			t.Logf("%T is no %s: nothing is checked", l.EmbeddedLayer, reflect.TypeFor[I]().Name())
			return
		}
		check(t, s, l)
	})
}

// checked returns the findings of a check of the open instance.
func (l *reopener) checked(t T) (objects int, found []error) {
	t.Helper()
	checker, _ := storage.As[storage.Checker](l.EmbeddedLayer)
	objects, err := checker.Check(context.Background(), func(err error) { found = append(found, err) })
	must(t, "Check", err)
	return objects, found
}

func (l *reopener) wantSound(t T, when string, want int) {
	t.Helper()
	objects, found := l.checked(t)
	if objects != want || len(found) > 0 {
		t.Errorf("Check %s counts %d objects and reports %v, want %d and nothing", when, objects, found, want)
	}
}

func (l *reopener) compact(ctx context.Context) error {
	compacter, _ := storage.As[storage.Compacter](l.EmbeddedLayer)
	return compacter.Compact(ctx)
}

func (l *reopener) mark(reason string) error {
	marker, _ := storage.As[storage.IncompleteMarker](l.EmbeddedLayer)
	return marker.MarkIncomplete(reason)
}

// next closes the layer and returns another instance on its directory, not started.
func (l *reopener) next(t T) storage.EmbeddedLayer {
	t.Helper()
	closeActive(l.EmbeddedLayer)
	next := l.s.openEmbedded(t, l.dir)
	t.Cleanup(func() { closeActive(next) })
	l.EmbeddedLayer = next
	return next
}

func closeActive(l storage.EmbeddedLayer) {
	if l.Active() {
		l.Close()
	}
}

// overwritten fills a layer, overwrites and deletes much of it, and restarts it. It returns the content that can then
// be read. Other clauses check whether it is correct.
func (l *reopener) overwritten(t T) []meta.Object {
	t.Helper()
	for _, obj := range oddObjects() {
		put(t, l, obj)
	}
	for i := range int64(200) {
		path := fmt.Sprintf("d%d/%03d", i%3, i)
		put(t, l, object(path, i+1))
		if i%2 == 0 {
			must(t, "Del", l.Del(path))
		} else {
			put(t, l, object(path, i+1000))
		}
	}
	l.reopen(t)
	return readAll(t, l)
}

// readAll returns the content of a layer, read with Keys and Get.
func readAll(t T, l storage.Layer) []meta.Object {
	t.Helper()
	keys, err := l.Keys()
	must(t, "Keys", err)
	all := make([]meta.Object, len(keys))
	for i, path := range keys {
		all[i], err = l.Get(path)
		must(t, "Get", err)
	}
	return all
}

func checkSound(t T, _ *subject, l *reopener) {
	l.wantSound(t, "of an empty layer", 0)
	for i, path := range tree {
		put(t, l, object(path, int64(i)))
	}
	l.wantSound(t, "after writes", len(tree))
	l.Clear()
	l.wantSound(t, "after Clear", 0)
	l.wantSound(t, "after a restart", len(l.overwritten(t)))
}

func checkDamaged(t T, s *subject, l *reopener) {
	first, ok := damaged(t, l)
	if !ok {
		return
	}
	const second = "a/b/c"
	s.Corrupt(t, l.dir, second)
	if !startDamaged(t, l, first) {
		return
	}
	objects, found := l.checked(t)
	for _, path := range []string{first, second} {
		// Quoted, because one path may be the beginning of another.
		names := func(err error) bool { return err != nil && strings.Contains(err.Error(), fmt.Sprintf("%q", path)) }
		if !slices.ContainsFunc(found, names) {
			t.Errorf("Check reports %v, want a report that names the corrupt key %q", found, path)
		}
	}
	if want := len(tree) - 2; objects != want {
		t.Errorf("Check counts %d whole objects beside 2 corrupt ones, want %d", objects, want)
	}
}

func compactKeeps(t T, _ *subject, l *reopener) {
	must(t, "Compact of an empty layer", l.compact(context.Background()))
	want := l.overwritten(t)
	for range 2 {
		must(t, "Compact", l.compact(context.Background()))
		wantContent(t, l, want...)
		l.reopen(t)
		wantContent(t, l, want...)
	}
}

// compactBesideWrites compacts while a writer and a reader run. Both run until after the compaction has ended.
func compactBesideWrites(t T, s *subject, l *reopener) {
	stable := l.overwritten(t)
	want := slices.Clone(stable)
	writing, reading, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s.together(t, 3, func(g int) {
		switch g {
		case 0:
			defer close(done)
			<-writing
			<-reading
			for range 3 {
				if err := l.compact(context.Background()); err != nil {
					t.Errorf("Compact beside writes: %v", err)
					return
				}
			}
		case 1:
			err := beside(writing, done, func(i int) error {
				obj := object(fmt.Sprintf("new/%06d", i), int64(i+1))
				want = append(want, obj)
				return l.Set(obj.Path, &obj)
			})
			if err != nil {
				t.Errorf("Set during Compact: %v", err)
			}
		case 2:
			err := beside(reading, done, func(i int) error {
				want := stable[i%len(stable)]
				obj, err := l.Get(want.Path)
				if d := diff(obj, want); err == nil && d != "" {
					err = errors.New(d)
				}
				return err
			})
			if err != nil {
				t.Errorf("Get during Compact: %v", err)
			}
		}
	})
	wantContent(t, l, want...)
	l.reopen(t)
	wantContent(t, l, want...)
}

// beside makes calls, numbered from 0. It stops after a call that began when done was already closed, or at the first
// error. It closes begun after the first call.
func beside(begun chan<- struct{}, done <-chan struct{}, call func(i int) error) error {
	began := sync.OnceFunc(func() { close(begun) })
	defer began()
	for i := 0; ; i++ {
		last := false
		select {
		case <-done:
			last = true
		default:
		}
		if err := call(i); err != nil || last {
			return err
		}
		began()
	}
}

// wantIncomplete checks that a marked layer does not start and holds nothing afterwards.
func wantIncomplete(t T, l storage.EmbeddedLayer, when string) (text string) {
	t.Helper()
	err := l.Start(storage.LayerOptions{})
	wantErr(t, "Start "+when, err, storage.ErrIncomplete)
	if l.Active() {
		t.Errorf("the layer is active %s", when)
		l.Close()
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

func markRefuses(t T, _ *subject, l *reopener) {
	put(t, l, object("a/b", 1))
	must(t, "MarkIncomplete", l.mark("copy from an old place"))
	const reason = "restore of \"Tuesday\", begun at noon"
	must(t, "MarkIncomplete again", l.mark(reason))
	wantObject(t, l, object("a/b", 1))
	next := l.next(t)
	for _, when := range []string{"of a marked layer", "of a marked layer for the second time"} {
		text := wantIncomplete(t, next, when)
		if !strings.Contains(text, reason) || strings.Contains(text, "old place") || strings.Contains(text, "\n") {
			t.Errorf("Start %s: error %q, want one line with the newest reason %q", when, text, reason)
		}
	}
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Persistent: next})
	wantErr(t, "Start of a store over a marked layer", store.Start(quiet(storage.Options{})), storage.ErrIncomplete)
}

func markAllowed(t T, _ *subject, l *reopener) {
	put(t, l, object("a/b", 1))
	must(t, "MarkIncomplete", l.mark("a copy"))
	allow := storage.LayerOptions{AllowIncomplete: true}
	next := l.next(t)
	must(t, "Start with AllowIncomplete", next.Start(allow))
	wantContent(t, next, object("a/b", 1))
	put(t, next, object("a/c", 2))
	next = l.next(t)
	wantIncomplete(t, next, "after one with AllowIncomplete")
	must(t, "Start with AllowIncomplete after a refused one", next.Start(allow))
	wantContent(t, next, object("a/b", 1), object("a/c", 2))
}

func markTakenAway(t T, _ *subject, l *reopener) {
	must(t, "MarkIncomplete with an empty reason and no mark", l.mark(""))
	put(t, l, object("a/b", 1))
	must(t, "MarkIncomplete", l.mark("a copy"))
	must(t, "MarkIncomplete with an empty reason", l.mark(""))
	l.reopen(t)
	must(t, "MarkIncomplete", l.mark("a copy"))
	next := l.next(t)
	must(t, "Start with AllowIncomplete", next.Start(storage.LayerOptions{AllowIncomplete: true}))
	must(t, "MarkIncomplete with an empty reason and AllowIncomplete", l.mark(""))
	l.reopen(t)
	wantContent(t, l, object("a/b", 1))
	must(t, "Start with AllowIncomplete of what is whole", l.next(t).Start(storage.LayerOptions{AllowIncomplete: true}))
}

func markIsNoContent(t T, _ *subject, l *reopener) {
	put(t, l, object("a/b", 1))
	must(t, "MarkIncomplete", l.mark("a copy"))
	wantContent(t, l, object("a/b", 1))
	wantLoaded(t, l, []meta.Object{object("a/b", 1)})
	l.Clear()
	if batcher, ok := storage.As[storage.Batcher](l.EmbeddedLayer); ok {
		must(t, "Commit", batcher.Commit([]storage.Change{{Clear: true, Revision: 2}}))
	}
	wantContent(t, l)
	wantIncomplete(t, l.next(t), "after Clear")
}

// upkeepCalls returns the calls of the optional interfaces of a layer.
func upkeepCalls(l storage.EmbeddedLayer) map[string]func(context.Context) error {
	calls := map[string]func(context.Context) error{}
	if checker, ok := storage.As[storage.Checker](l); ok {
		calls["Check"] = func(ctx context.Context) error {
			_, err := checker.Check(ctx, func(error) {})
			return err
		}
	}
	if compacter, ok := storage.As[storage.Compacter](l); ok {
		calls["Compact"] = compacter.Compact
	}
	return calls
}

func upkeepInactive(t T, s *subject) {
	l := s.openEmbedded(t, t.TempDir())
	calls := upkeepCalls(l)
	if marker, ok := storage.As[storage.IncompleteMarker](l); ok {
		calls["MarkIncomplete"] = func(context.Context) error { return marker.MarkIncomplete("a copy") }
	}
	check := func(when string) {
		for name, call := range calls {
			wantErr(t, name+" "+when, call(context.Background()), storage.ErrNotActive)
		}
	}
	check("before Start")
	startLayer(t, l)
	l.Close()
	check("after Close")
}

func upkeepContext(t T, _ *subject, l *reopener) {
	for i := range int64(10) {
		put(t, l, object(fmt.Sprintf("a/%d", i), i))
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for name, call := range upkeepCalls(l.EmbeddedLayer) {
		wantErr(t, name+" with a context that is done", call(ctx), context.Canceled)
	}
}

func idStays(t T, _ *subject, l *reopener) {
	id := func() uint64 {
		t.Helper()
		identified, _ := storage.As[storage.Identified](l.EmbeddedLayer)
		id, err := identified.ID()
		must(t, "ID", err)
		if id == 0 {
			t.Errorf("ID is 0")
		}
		return id
	}
	first := id()
	put(t, l, object("a/b", 1))
	l.Clear()
	if again := id(); again != first {
		t.Errorf("ID is %d after a clear, it was %d", again, first)
	}
	l.reopen(t)
	if again := id(); again != first {
		t.Errorf("ID is %d after a restart, it was %d", again, first)
	}
	l.Close()
	l.dir = t.TempDir()
	l.open(t)
	if other := id(); other == first {
		t.Errorf("two stores have the ID %d", other)
	}
}
