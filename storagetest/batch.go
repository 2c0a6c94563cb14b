package storagetest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// This file checks layers that are Batchers.

// batched is a started layer with its Batcher.
type batched struct {
	*reopener
}

// onBatcher returns the run of a clause. It checks nothing if the layer is not a Batcher.
func onBatcher(check func(t T, s *subject, l *batched)) func(T, *subject) {
	return onEmbedded(func(t T, s *subject, l *reopener) {
		t.Helper()
		if _, ok := storage.As[storage.Batcher](l.EmbeddedLayer); !ok {
			t.Logf("%T is no Batcher: nothing is checked", l.EmbeddedLayer)
			return
		}
		check(t, s, &batched{l})
	})
}

// batcher returns the Batcher of the open instance.
func (l *batched) batcher() storage.Batcher {
	b, _ := storage.As[storage.Batcher](l.EmbeddedLayer)
	return b
}

// commit commits a batch that must be accepted.
func (l *batched) commit(t T, changes ...storage.Change) {
	t.Helper()
	must(t, "Commit", l.batcher().Commit(changes))
}

func putChange(path string, n int64) storage.Change {
	obj := object(path, n)
	return storage.Change{Key: path, Object: &obj, Revision: uint64(n)}
}

func delChange(path string, revision uint64) storage.Change {
	return storage.Change{Key: path, Revision: revision}
}

func batchOrder(t T, _ *subject, l *batched) {
	l.commit(t, putChange("a/b", 1), putChange("a/b", 2), putChange("a/c", 3), delChange("a/c", 4),
		putChange("a/d", 5), delChange("a/d", 6), putChange("a/d", 7))
	wantContent(t, l, object("a/b", 2), object("a/d", 7))
	l.commit(t, putChange("x", 8), storage.Change{Clear: true, Revision: 9}, putChange("y", 10))
	wantContent(t, l, object("y", 10))
}

func batchRefused(t T, _ *subject, l *batched) {
	l.commit(t, putChange("a/b", 1), putChange("a/c", 2))
	bad := putChange("a//d", 5)
	err := l.batcher().Commit([]storage.Change{putChange("a/b", 3), delChange("a/c", 4), bad, putChange("a/e", 6)})
	if err == nil {
		t.Logf("Commit takes an invalid path without an error; the store never gives it one")
		return
	}
	var refused *storage.EntryError
	if errors.As(err, &refused) && refused.Index != 2 {
		t.Errorf("Commit refused change %d, want 2, the one with the invalid path", refused.Index)
	}
	wantContent(t, l, object("a/b", 1), object("a/c", 2))
	last, err := l.batcher().LastRevision()
	must(t, "LastRevision", err)
	if last != 2 {
		t.Errorf("LastRevision after a refused batch is %d, want 2", last)
	}
}

func batchAtomic(t T, s *subject, l *batched) {
	const rounds, width = 60, 5
	var done atomic.Bool
	readers := s.newReaders()
	s.together(t, 2, func(g int) {
		if g == 0 {
			defer done.Store(true)
			for round := int64(0); round < rounds || !readers.enough(); round++ {
				batch := make([]storage.Change, width)
				for i := range batch {
					batch[i] = putChange(fmt.Sprintf("a/%d", i), round*width+int64(i)+1)
				}
				if round%3 == 2 {
					for i := range batch {
						batch[i] = delChange(batch[i].Key, batch[i].Revision)
					}
				}
				if err := l.batcher().Commit(batch); err != nil {
					t.Errorf("Commit: %v", err)
					return
				}
			}
			return
		}
		defer readers.end()
		for !done.Load() {
			s.beats.advance()
			list, err := l.GetList("a/*")
			readers.read()
			if err != nil {
				t.Errorf("GetList: %v", err)
				return
			}
			if len(list) != 0 && len(list) != width {
				t.Errorf("GetList shows %d objects, want all %d of a batch or none", len(list), width)
				return
			}
			for _, obj := range list {
				if (obj.Created-1)/width != (list[0].Created-1)/width {
					t.Errorf("GetList shows %s of one batch and %s of another", list[0].Data, obj.Data)
					return
				}
			}
		}
	})
}

func batchDelAbsent(t T, _ *subject, l *batched) {
	l.commit(t, delChange("a/b", 1))
	l.commit(t, delChange("a/b", 2), putChange("a/c", 3), delChange("a/d", 4))
	wantContent(t, l, object("a/c", 3))
}

func batchCopies(t T, _ *subject, l *batched) {
	changes := []storage.Change{putChange("a/b", 1), putChange("a/c", 2)}
	given := []meta.Object{*changes[0].Object, *changes[1].Object}
	kept := slices.Clone(changes)
	l.commit(t, changes...)
	for i, c := range changes {
		if c != kept[i] || diff(*c.Object, object(c.Key, int64(i+1))) != "" {
			t.Errorf("Commit changed change %d", i)
		}
		for j := range given[i].Data {
			given[i].Data[j] = 'x'
		}
		*c.Object = meta.Object{}
		changes[i] = storage.Change{}
	}
	wantContent(t, l, object("a/b", 1), object("a/c", 2))
}

func batchSurvives(t T, _ *subject, l *batched) {
	l.commit(t, putChange("gone", 1))
	l.commit(t, storage.Change{Clear: true, Revision: 2})
	l.commit(t, putChange("a/b", 3), putChange("a/c", 4), putChange("a/d", 5))
	l.commit(t, delChange("a/c", 6))
	l.reopen(t)
	wantContent(t, l, object("a/b", 3), object("a/d", 5))
}

func (l *batched) wantRevision(t T, when string, want uint64) {
	t.Helper()
	got, err := l.batcher().LastRevision()
	must(t, "LastRevision", err)
	if got != want {
		t.Errorf("LastRevision %s is %d, want %d", when, got, want)
	}
}

func batchRevision(t T, _ *subject, l *batched) {
	l.wantRevision(t, "of an empty layer", 0)
	l.commit(t, putChange("a/b", 1))
	l.wantRevision(t, "after one change", 1)
	l.commit(t, putChange("a/b", 2), putChange("a/c", 3), delChange("a/b", 4), delChange("a/c", 4))
	l.wantRevision(t, "after deletes", 4)
	l.commit(t, storage.Change{Clear: true, Revision: 9})
	l.wantRevision(t, "after a clear", 9)
	obj := object("a/z", 1)
	l.commit(t, storage.Change{Key: "a/z", Object: &obj, Revision: math.MaxUint64})
	l.wantRevision(t, "after the highest there is", math.MaxUint64)
}

func batchRevisionSurvives(t T, _ *subject, l *batched) {
	l.commit(t, putChange("a/b", 1), putChange("a/c", 7))
	l.reopen(t)
	l.wantRevision(t, "after a restart", 7)
	l.commit(t, delChange("a/c", 8))
	l.reopen(t)
	l.wantRevision(t, "after a delete and a restart", 8)
	l.commit(t, storage.Change{Clear: true, Revision: 11})
	l.reopen(t)
	l.wantRevision(t, "after a clear and a restart", 11)
}

func batchKeepsRevisions(t T, s *subject, l *batched) {
	for i := range int64(5) {
		obj := object(fmt.Sprintf("d/%d", i), 9-i)
		obj.Revision = 0
		put(t, l, obj)
	}
	l.Close()
	open := func() *storage.Layered {
		store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: s.openEmbedded(t, l.dir)})
		must(t, "Start of a store", store.Start(quiet(storage.Options{})))
		return store
	}
	list := func(store *storage.Layered) []meta.Object {
		objects, err := store.GetList("d/*")
		must(t, "GetList", err)
		return objects
	}
	store := open()
	first := list(store)
	store.Close()
	var last uint64
	for _, obj := range first {
		if obj.Revision <= last {
			t.Errorf("%s has revision %d, the object before it in the list %d", obj.Path, obj.Revision, last)
		}
		last = obj.Revision
	}
	store = open()
	defer store.Close()
	for i, obj := range list(store) {
		if i >= len(first) || obj.Path != first[i].Path || obj.Revision != first[i].Revision {
			t.Errorf("after a restart %s has revision %d, or is at another place in the list", obj.Path, obj.Revision)
		}
	}
	_, err := store.SetWith("d/1", dataOf(1), storage.SetOptions{IfRevision: first[3].Revision})
	must(t, "SetWith of the revision that was read", err)
	_, err = store.SetWith("d/1", dataOf(2), storage.SetOptions{IfRevision: first[3].Revision})
	wantErr(t, "a second SetWith of it", err, storage.ErrConflict)
}

func batchInactive(t T, s *subject) {
	l := s.openEmbedded(t, t.TempDir())
	b, ok := storage.As[storage.Batcher](l)
	if !ok {
		t.Logf("%T is no Batcher: nothing is checked", l)
		return
	}
	check := func(when string) {
		wantErr(t, "Commit "+when, b.Commit([]storage.Change{putChange("a/b", 1)}), storage.ErrNotActive)
		_, err := b.LastRevision()
		wantErr(t, "LastRevision "+when, err, storage.ErrNotActive)
	}
	check("before Start")
	startLayer(t, l)
	l.Close()
	check("after Close")
}

func batchWhole(t T, _ *subject, l *batched) {
	want := oddObjects()
	changes := make([]storage.Change, len(want))
	for i := range want {
		want[i].Revision = uint64(i + 1)
		obj := want[i]
		changes[i] = storage.Change{Key: obj.Path, Object: &obj, Revision: obj.Revision}
	}
	l.commit(t, changes...)
	wantContent(t, l, want...)
	wantLoaded(t, l, want)
}

func batchNoChange(t T, _ *subject, l *batched) {
	l.commit(t, putChange("a/b", 1))
	obj := object("a/c", 2)
	for what, change := range map[string]storage.Change{
		"the zero Change":            {},
		"a Change without a key":     {Revision: 2},
		"a put without a key":        {Object: &obj, Revision: 2},
		"a clear that names a key":   {Clear: true, Key: "a/b", Revision: 2},
		"a clear that has an object": {Clear: true, Object: &obj, Revision: 2},
		"a clear that is a put, too": {Clear: true, Key: "a/c", Object: &obj, Revision: 2},
	} {
		if err := l.batcher().Commit([]storage.Change{change}); err == nil {
			t.Errorf("Commit of %s is no error", what)
		}
		wantContent(t, l, object("a/b", 1))
	}
}
