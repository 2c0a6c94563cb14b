package storagetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// This file checks conditions and updates, if a database offers them.

// conditional has the calls of *storage.Layered with conditions and times beyond a Database.
type conditional interface {
	SetWith(path string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error)
	PushWith(pattern string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error)
	DelWith(path string, opt storage.DelOptions) error
}

// updater has the update call of *storage.Layered beyond a Database.
type updater interface {
	Update(path string, change func(old meta.Object) (json.RawMessage, error)) (meta.Object, error)
}

// onConditional returns the run of a clause. It checks nothing if the database has no conditions.
func onConditional(check func(t T, s *subject, db storage.Database, c conditional)) func(T, *subject) {
	return onDatabase(func(t T, s *subject, db storage.Database) {
		t.Helper()
		c, ok := db.(conditional)
		if !ok {
			t.Logf("%T has no SetWith: nothing is checked", db)
			return
		}
		check(t, s, db, c)
	})
}

// onUpdater returns the run of a clause. It checks nothing if the database has no Update.
func onUpdater(check func(t T, s *subject, db storage.Database, u updater)) func(T, *subject) {
	return onDatabase(func(t T, s *subject, db storage.Database) {
		t.Helper()
		u, ok := db.(updater)
		if !ok {
			t.Logf("%T has no Update: nothing is checked", db)
			return
		}
		check(t, s, db, u)
	})
}

// wantConflict checks that an error is a *ConflictError with the expected and the found revision.
func wantConflict(t T, what string, err error, want storage.ConflictError) {
	t.Helper()
	wantErr(t, what, err, storage.ErrConflict)
	var got *storage.ConflictError
	if !errors.As(err, &got) {
		t.Errorf("%s: error is %v, want a *ConflictError", what, err)
	} else if *got != want {
		t.Errorf("%s: the conflict is %+v, want %+v", what, *got, want)
	}
}

func ifRevision(t T, _ *subject, db storage.Database, c conditional) {
	first := set(t, db, "c/a", 1)
	second, err := c.SetWith("c/a", dataOf(2), storage.SetOptions{IfRevision: first.Revision})
	must(t, "SetWith of the present revision", err)
	_, err = c.SetWith("c/a", dataOf(3), storage.SetOptions{IfRevision: first.Revision})
	wantConflict(t, "SetWith of an older revision", err,
		storage.ConflictError{Path: "c/a", Expected: first.Revision, Current: second.Revision})
	wantConflict(t, "DelWith of an older revision", c.DelWith("c/a", storage.DelOptions{IfRevision: first.Revision}),
		storage.ConflictError{Path: "c/a", Expected: first.Revision, Current: second.Revision})
	wantContent(t, db, second)
	must(t, "DelWith of the present revision", c.DelWith("c/a", storage.DelOptions{IfRevision: second.Revision}))
	_, err = c.SetWith("c/a", dataOf(3), storage.SetOptions{IfRevision: second.Revision})
	wantConflict(t, "SetWith of the revision of a deleted object", err, storage.ConflictError{Path: "c/a", Expected: second.Revision})
	wantConflict(t, "DelWith of an absent path", c.DelWith("c/none", storage.DelOptions{IfRevision: 1}),
		storage.ConflictError{Path: "c/none", Expected: 1})
	wantErr(t, "DelWith of an absent path without a condition", c.DelWith("c/a", storage.DelOptions{}), storage.ErrNotFound)
	wantContent(t, db)
}

func ifAbsent(t T, _ *subject, db storage.Database, c conditional) {
	first, err := c.SetWith("c/a", dataOf(1), storage.SetOptions{IfAbsent: true})
	must(t, "SetWith if absent", err)
	_, err = c.SetWith("c/a", dataOf(2), storage.SetOptions{IfAbsent: true})
	wantConflict(t, "SetWith if absent of what is there", err, storage.ConflictError{Path: "c/a", Current: first.Revision})
	wantContent(t, db, first)
	must(t, "Del", db.Del("c/a"))
	again, err := c.SetWith("c/a", dataOf(3), storage.SetOptions{IfAbsent: true})
	must(t, "SetWith if absent of what was deleted", err)
	wantContent(t, db, again)
}

func oneSwapWins(t T, s *subject, db storage.Database, c conditional) {
	for range 10 {
		revision := set(t, db, "swap/a", 0).Revision
		var won atomic.Int64
		s.together(t, 6, func(g int) {
			obj, err := c.SetWith("swap/a", dataOf(int64(g+1)), storage.SetOptions{IfRevision: revision})
			switch {
			case err == nil:
				won.Add(1)
				if numberOf(obj.Data) != int64(g+1) {
					t.Errorf("SetWith returns %s, want %s", obj.Data, dataOf(int64(g+1)))
				}
			case !errors.Is(err, storage.ErrConflict):
				t.Errorf("SetWith: %v", err)
			}
		})
		if won.Load() != 1 {
			t.Errorf("%d of 6 writes of one revision succeeded", won.Load())
			return
		}
	}
}

func setWithReturns(t T, _ *subject, db storage.Database, c conditional) {
	first, err := c.SetWith("w/a", dataOf(1), storage.SetOptions{})
	must(t, "SetWith", err)
	wantContent(t, db, first)
	if numberOf(first.Data) != 1 || first.Updated != 0 {
		t.Errorf("SetWith of a new object returns %s, updated %d", first.Data, first.Updated)
	}
	second, err := c.SetWith("w/a", dataOf(2), storage.SetOptions{})
	must(t, "SetWith", err)
	if second.Created != first.Created || second.Updated == 0 || second.Revision <= first.Revision {
		t.Errorf("a second SetWith returns created %d, updated %d, revision %d", second.Created, second.Updated, second.Revision)
	}
	third, err := c.SetWith("w/b", dataOf(3), storage.SetOptions{Times: &storage.Times{Created: 5, Updated: 6}})
	must(t, "SetWith times", err)
	if third.Created != 5 || third.Updated != 6 {
		t.Errorf("SetWith times returns created %d, updated %d, want 5 and 6", third.Created, third.Updated)
	}
	pushed, err := c.PushWith("w/p/*", dataOf(4), storage.SetOptions{})
	must(t, "PushWith", err)
	wantContent(t, db, second, third, pushed)
}

func setWithInvalid(t T, _ *subject, db storage.Database, c conditional) {
	there := set(t, db, "w/a", 1)
	setWith := func(path, data string, opt storage.SetOptions) error {
		_, err := c.SetWith(path, json.RawMessage(data), opt)
		return err
	}
	pushWith := func(path, data string, opt storage.SetOptions) error {
		_, err := c.PushWith(path, json.RawMessage(data), opt)
		return err
	}
	both := storage.SetOptions{IfAbsent: true, IfRevision: 1}
	wantErr(t, "SetWith of both conditions", setWith("w/b", "1", both), storage.ErrInvalidOptions)
	wantErr(t, "SetWith of a glob", setWith("w/*", "1", storage.SetOptions{}), storage.ErrGlobNotAllowed)
	wantErr(t, "SetWith of broken data", setWith("w/b", "{", storage.SetOptions{}), storage.ErrInvalidStorageData)
	wantErr(t, "SetWith of no data", setWith("w/b", "", storage.SetOptions{}), storage.ErrInvalidStorageData)
	wantErr(t, "PushWith without a glob", pushWith("w/b", "1", storage.SetOptions{}), storage.ErrGlobRequired)
	wantErr(t, "PushWith of a glob in the middle", pushWith("*/b", "1", storage.SetOptions{}), storage.ErrInvalidPath)
	wantErr(t, "PushWith if absent", pushWith("w/*", "1", storage.SetOptions{IfAbsent: true}), storage.ErrInvalidOptions)
	wantErr(t, "PushWith of a revision", pushWith("w/*", "1", storage.SetOptions{IfRevision: 1}), storage.ErrInvalidOptions)
	wantErr(t, "PushWith times", pushWith("w/*", "1", storage.SetOptions{Times: &storage.Times{}}), storage.ErrInvalidOptions)
	wantErr(t, "DelWith of a glob", c.DelWith("w/*", storage.DelOptions{}), storage.ErrGlobNotAllowed)
	for _, p := range invalidPaths {
		wantErr(t, "SetWith, "+p.name, setWith(p.path, "1", storage.SetOptions{}), storage.ErrInvalidPath)
		wantErr(t, "DelWith, "+p.name, c.DelWith(p.path, storage.DelOptions{}), storage.ErrInvalidPath)
	}
	wantContent(t, db, there)
}

// increment adds one to the number in an object. An absent object counts as 0.
func increment(old meta.Object) (json.RawMessage, error) {
	return dataOf(max(numberOf(old.Data), 0) + 1), nil
}

func updateStores(t T, _ *subject, db storage.Database, u updater) {
	got, err := u.Update("u/a", func(old meta.Object) (json.RawMessage, error) {
		if d := diff(old, meta.Object{Path: "u/a", Index: "a"}); d != "" {
			t.Errorf("Update of an absent path: the function gets an object whose %s", d)
		}
		return increment(old)
	})
	must(t, "Update", err)
	wantContent(t, db, got)
	again, err := u.Update("u/a", func(old meta.Object) (json.RawMessage, error) {
		if d := diff(old, got); d != "" {
			t.Errorf("Update: the function gets an object whose %s", d)
		}
		return increment(old)
	})
	must(t, "Update", err)
	wantContent(t, db, again)
	if numberOf(again.Data) != 2 || again.Created != got.Created || again.Updated == 0 {
		t.Errorf("a second Update returns %s, created %d, updated %d", again.Data, again.Created, again.Updated)
	}
}

func updatesAddUp(t T, s *subject, db storage.Database, u updater) {
	const goroutines, rounds = 6, 20
	s.together(t, goroutines, func(g int) {
		for i := range rounds {
			s.beats.advance()
			if _, err := u.Update(fmt.Sprintf("n/%d", (g+i)%2), increment); err != nil {
				t.Errorf("Update: %v", err)
				return
			}
		}
	})
	if sum := numberOf(get(t, db, "n/0").Data) + numberOf(get(t, db, "n/1").Data); sum != goroutines*rounds {
		t.Errorf("%d increments add up to %d", goroutines*rounds, sum)
	}
}

func updateAgain(t T, _ *subject, db storage.Database, u updater) {
	set(t, db, "o/a", 1)
	for what, overtake := range map[string]func() error{
		"Set":           func() error { _, err := db.Set("o/a", dataOf(10)); return err },
		"Del":           func() error { return db.Del("o/a") },
		"Del of a glob": func() error { return db.Del("o/*") },
	} {
		set(t, db, "o/a", 1)
		calls := 0
		got, err := u.Update("o/a", func(old meta.Object) (json.RawMessage, error) {
			if calls++; calls == 1 {
				if err := overtake(); err != nil {
					t.Errorf("%s within an update: %v", what, err)
				}
			}
			return increment(old)
		})
		must(t, "Update that a "+what+" overtakes", err)
		want := int64(1)
		if what == "Set" {
			want = 11
		}
		if calls != 2 || numberOf(got.Data) != want {
			t.Errorf("Update that a %s overtakes: %d calls, %s, want 2 and %s", what, calls, got.Data, dataOf(want))
		}
	}
}

func updateFails(t T, _ *subject, db storage.Database, u updater) {
	there := set(t, db, "f/a", 1)
	own := errors.New("an error of the function")
	fail := func(data string, err error) func(meta.Object) (json.RawMessage, error) {
		return func(meta.Object) (json.RawMessage, error) { return json.RawMessage(data), err }
	}
	for _, c := range []struct {
		path, data string
		err, want  error
	}{
		{"f/a", "2", own, own}, {"f/none", "2", own, own}, {"f/a", "2", storage.ErrNoop, storage.ErrNoop},
		{"f/a", "{", nil, storage.ErrInvalidStorageData}, {"f/*", "2", nil, storage.ErrGlobNotAllowed},
		{"f//a", "2", nil, storage.ErrInvalidPath},
	} {
		_, err := u.Update(c.path, fail(c.data, c.err))
		wantErr(t, fmt.Sprintf("Update %s to %s", c.path, c.data), err, c.want)
	}
	wantContent(t, db, there)
}
