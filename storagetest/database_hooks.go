package storagetest

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// This file checks the hooks of a database.

// recording collects the paths that a hook is called with.
type recording struct {
	// mu guards calls.
	mu    sync.Mutex
	calls []string
}

func (r *recording) add(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, path)
}

// take returns the calls since the previous take.
func (r *recording) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}

func afterWriteRuns(t T, s *subject) {
	var hook recording
	db := s.started(t, storage.Options{AfterWrite: hook.add})
	check := func(what string, want ...string) {
		t.Helper()
		if got := hook.take(); !slices.Equal(got, want) {
			t.Errorf("AfterWrite calls when %s returned: %q, want %q", what, got, want)
		}
	}
	_, err := db.Set("a/b", dataOf(1))
	must(t, "Set", err)
	check("Set", "a/b")
	_, err = db.Set("a/b", dataOf(2))
	must(t, "Set", err)
	check("the second Set", "a/b")
	index, err := db.Push("p/*", dataOf(1))
	must(t, "Push", err)
	check("Push", "p/"+index)
	_, err = db.SetWithMeta("a/c", dataOf(1), 1, 2)
	must(t, "SetWithMeta", err)
	check("SetWithMeta", "a/c")
	_, err = db.GetAndLock("a/b")
	must(t, "GetAndLock", err)
	_, err = db.SetAndUnlock("a/b", dataOf(3))
	must(t, "SetAndUnlock", err)
	check("SetAndUnlock", "a/b")
	must(t, "Del", db.Del("a/b"))
	check("Del", "a/b")
	must(t, "Del of a glob", db.Del("a/*"))
	check("Del of a glob", "a/*")
}

func afterWriteSilent(t T, s *subject) {
	var hook recording
	db := s.started(t, storage.Options{AfterWrite: hook.add})
	set(t, db, "a/b", 1)
	set(t, db, "a/c", 1)
	hook.take()
	must(t, "DelSilent", db.DelSilent("a/b"))
	must(t, "DelSilent of a glob", db.DelSilent("a/*"))
	_, err := db.Set("a/b", nil)
	wantErr(t, "Set of no data", err, storage.ErrInvalidStorageData)
	_, err = db.Set("a//b", dataOf(1))
	wantErr(t, "Set of an invalid path", err, storage.ErrInvalidPath)
	_, err = db.Push("a/b", dataOf(1))
	wantErr(t, "Push without a star", err, storage.ErrGlobRequired)
	wantErr(t, "Del of an absent path", db.Del("none"), storage.ErrNotFound)
	_, err = db.SetAndUnlock("a/b", dataOf(1))
	wantErr(t, "SetAndUnlock without a lock", err, storage.ErrLockNotFound)
	if got := hook.take(); len(got) != 0 {
		t.Errorf("AfterWrite calls: %q, want none", got)
	}
}

func afterWriteCalls(t T, s *subject) {
	var db storage.Database
	var depth atomic.Int32
	hook := func(path string) {
		if depth.Add(1) > 1 {
			return
		}
		// The hook runs in the writer's goroutine, so it must not end the clause.
		for _, c := range errorCalls(db) {
			if c.name == "GetAndLock" {
				continue
			}
			_, err := db.Set("a/b", dataOf(1))
			wantErr(t, "Set in AfterWrite", err, nil)
			if c.name == "SetAndUnlock" || c.name == "Unlock" {
				_, err := db.GetAndLock("a/b")
				wantErr(t, "GetAndLock in AfterWrite", err, nil)
			}
			if err := c.call(); err != nil {
				t.Errorf("%s in AfterWrite: %v", c.name, err)
			}
		}
		db.Clear()
		db.WatchSharded()
	}
	db = s.started(t, storage.Options{AfterWrite: hook})
	writes := []errorCall{
		{"Set", func() error { _, err := db.Set("a/b", dataOf(1)); return err }},
		{"Push", func() error { _, err := db.Push("a/*", dataOf(1)); return err }},
		{"SetWithMeta", func() error { _, err := db.SetWithMeta("a/b", dataOf(1), 1, 2); return err }},
		{"Del of a glob", func() error { return db.Del("a/*") }},
	}
	for _, w := range writes {
		depth.Store(1)
		set(t, db, "a/b", 1)
		depth.Store(0)
		s.within(t, w.name+" with an AfterWrite that calls the store", func() {
			if err := w.call(); err != nil {
				t.Errorf("%s: %v", w.name, err)
			}
		})
		if depth.Load() == 0 {
			t.Errorf("AfterWrite did not run for %s", w.name)
		}
	}
}

func afterWritePanics(t T, s *subject) {
	var armed atomic.Bool
	db := s.started(t, storage.Options{AfterWrite: func(string) {
		if armed.CompareAndSwap(true, false) {
			panic("a panic of AfterWrite, on purpose")
		}
	}})
	set(t, db, "a/b", 1)
	_, err := db.GetAndLock("a/b")
	must(t, "GetAndLock", err)
	for _, w := range []errorCall{
		{"Set", func() error { _, err := db.Set("a/b", dataOf(2)); return err }},
		{"Push", func() error { _, err := db.Push("a/*", dataOf(2)); return err }},
		{"SetAndUnlock", func() error { _, err := db.SetAndUnlock("a/b", dataOf(3)); return err }},
		{"Del", func() error { return db.Del("a/b") }},
		{"Del of a glob", func() error { return db.Del("a/*") }},
	} {
		armed.Store(true)
		func() {
			defer func() { _ = recover() }()
			if err := w.call(); err != nil {
				t.Errorf("%s: %v", w.name, err)
			}
		}()
		armed.Store(false)
		s.within(t, "calls after a panic in AfterWrite of "+w.name, func() {
			if _, err := db.Set("x/y", dataOf(1)); err != nil {
				t.Errorf("Set after a panic in AfterWrite of %s: %v", w.name, err)
			}
			if _, err := db.GetList("x/*"); err != nil {
				t.Errorf("GetList after a panic in AfterWrite of %s: %v", w.name, err)
			}
		})
	}
	wantErr(t, "Unlock after SetAndUnlock", db.Unlock("a/b"), storage.ErrLockNotFound)
	s.within(t, "Close", db.Close)
}

// readCall is a read call and the argument that BeforeRead receives for it.
type readCall struct {
	name, path string
	call       func(db storage.Database) error
}

var readCalls = []readCall{
	{"Get", "a/b", func(db storage.Database) error { _, err := db.Get("a/b"); return err }},
	{"GetAndLock", "a/b", func(db storage.Database) error {
		if _, err := db.GetAndLock("a/b"); err != nil {
			return err
		}
		return db.Unlock("a/b")
	}},
	{"GetList", "a/*", func(db storage.Database) error { _, err := db.GetList("a/*"); return err }},
	{"GetListDescending", "a/*", func(db storage.Database) error { _, err := db.GetListDescending("a/*"); return err }},
	{"GetN", "a/*", func(db storage.Database) error { _, err := db.GetN("a/*", 1); return err }},
	{"GetNAscending", "a/*", func(db storage.Database) error { _, err := db.GetNAscending("a/*", 1); return err }},
	{"GetNRange", "a/*", func(db storage.Database) error { _, err := db.GetNRange("a/*", 1, 0, 1); return err }},
	{"KeysRange", "a/*", func(db storage.Database) error { _, err := db.KeysRange("a/*", 0, 1); return err }},
	{"Keys", "", func(db storage.Database) error { _, err := db.Keys(); return err }},
}

func beforeReadRuns(t T, s *subject) {
	var hook recording
	db := s.started(t, storage.Options{BeforeRead: hook.add})
	_, err := db.Set("a/b", dataOf(1))
	must(t, "Set", err)
	_, err = db.Set("a/b", dataOf(2))
	must(t, "Set", err)
	must(t, "Del", db.Del("none/*"))
	if got := hook.take(); len(got) != 0 {
		t.Errorf("BeforeRead calls of writes: %q, want none", got)
	}
	for _, r := range readCalls {
		must(t, r.name, r.call(db))
		if got := hook.take(); !slices.Equal(got, []string{r.path}) {
			t.Errorf("BeforeRead calls of %s: %q, want %q once", r.name, got, r.path)
		}
	}
	_, err = db.Get("absent")
	wantErr(t, "Get", err, storage.ErrNotFound)
	if got := hook.take(); !slices.Equal(got, []string{"absent"}) {
		t.Errorf("BeforeRead calls of Get of an absent path: %q, want one", got)
	}
}

func beforeReadFirst(t T, s *subject) {
	var db storage.Database
	var n atomic.Int64
	var busy atomic.Bool
	db = s.started(t, storage.Options{BeforeRead: func(string) {
		if !busy.CompareAndSwap(false, true) {
			return
		}
		defer busy.Store(false)
		if _, err := db.SetWithMeta("a/b", dataOf(n.Load()), 1, n.Load()); err != nil {
			t.Errorf("SetWithMeta in BeforeRead: %v", err)
		}
	}})
	read := func(what string, call func() (meta.Object, error)) {
		t.Helper()
		s.within(t, what+" with a BeforeRead that writes", func() {
			want := n.Add(1)
			obj, err := call()
			if err != nil || obj.Updated != want {
				t.Errorf("%s reads write %d (error %v), want %d, that of BeforeRead", what, obj.Updated, err, want)
			}
		})
	}
	first := func(list []meta.Object, err error) (meta.Object, error) {
		if err != nil || len(list) == 0 {
			return meta.Object{}, fmt.Errorf("list of %d objects: %w", len(list), err)
		}
		return list[0], nil
	}
	read("Get", func() (meta.Object, error) { return db.Get("a/b") })
	read("GetAndLock", func() (meta.Object, error) { return db.GetAndLock("a/b") })
	read("GetList", func() (meta.Object, error) { return first(db.GetList("a/*")) })
	read("GetListDescending", func() (meta.Object, error) { return first(db.GetListDescending("a/*")) })
	read("GetN", func() (meta.Object, error) { return first(db.GetN("a/*", 1)) })
	read("GetNAscending", func() (meta.Object, error) { return first(db.GetNAscending("a/*", 1)) })
	read("GetNRange", func() (meta.Object, error) { return first(db.GetNRange("a/*", 1, 0, math.MaxInt64)) })
}

func afterWriteOrder(t T, s *subject) {
	var db storage.Database
	var events *collector
	var armed atomic.Bool
	hook := func(path string) {
		if !armed.Load() {
			return
		}
		if !events.arrives(s, func(e storage.Event) bool { return e.Key == path }) {
			t.Errorf("in AfterWrite of %s its event has not been published", path)
		}
		if _, err := db.Get(path); err != nil {
			t.Errorf("Get in AfterWrite of %s: %v", path, err)
		}
	}
	db = s.started(t, storage.Options{AfterWrite: hook})
	events = collect(t, db)
	armed.Store(true)
	for i := range int64(20) {
		_, err := db.Set(fmt.Sprintf("a/%d", i), dataOf(i))
		must(t, "Set", err)
	}
	armed.Store(false)
}
