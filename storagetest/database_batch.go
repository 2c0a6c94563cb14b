package storagetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// This file checks batches, if a database offers them. Conditions and updates are in database_conditions.go.

var batchClauses = []Clause{
	{"DATABASE-A0", "Commit makes all changes of a batch and returns the objects as they are stored, in its order.", onCommitter(commitAll)},
	{"DATABASE-A1", "A batch of which one change cannot be made makes none, and the error says why.", onCommitter(commitNone)},
	{"DATABASE-A2", "The revisions of a batch follow each other, in its order.", onCommitter(commitRevisions)},
	{"DATABASE-A3", "A reader that sees one change of a batch sees all of them.", onCommitter(commitAtOnce)},
	{"DATABASE-A4", "A Watch sees the events of a batch one behind the other.", onCommitter(commitEvents)},
	{"DATABASE-A5", "After a restart a batch is there as a whole, its deletes too.", onCommitter(commitRestart)},
	{"DATABASE-A6", "AfterWrite runs once for each change of a batch, in its order, and not for a batch that failed.", commitHook},

	{"DATABASE-A7", "A write with IfRevision is made if the object has that revision, and is a *ConflictError with the present one otherwise.", onConditional(ifRevision)},
	{"DATABASE-A8", "A write with IfAbsent is made if there is no object, and is a *ConflictError otherwise.", onConditional(ifAbsent)},
	{"DATABASE-A9", "Of many who write with IfRevision of one revision at once, exactly one succeeds.", onConditional(oneSwapWins)},
	{"DATABASE-AA", "SetWith and PushWith return the object as it is stored, with the times that were asked for.", onConditional(setWithReturns)},
	{"DATABASE-AB", "SetWith, PushWith and DelWith refuse what contradicts itself, with ErrInvalidOptions, and what Set, Push and Del refuse.", onConditional(setWithInvalid)},

	{"DATABASE-AC", "Update stores what its function makes of the present object, of an empty one with a path where there is none.", onUpdater(updateStores)},
	{"DATABASE-AD", "No update is lost: increments from many goroutines add up.", onUpdater(updatesAddUp)},
	{"DATABASE-AE", "An update that is overtaken calls its function again, with the newer object.", onUpdater(updateAgain)},
	{"DATABASE-AF", "An error of its function ends an update, with nothing written, and is returned.", onUpdater(updateFails)},
}

// committer has the batch calls of *storage.Layered beyond a Database.
type committer interface {
	Commit(batch *storage.Batch) ([]meta.Object, error)
}

// batches reports whether a database supports batches of several changes. Not every layer does.
func batches(db storage.Database) bool {
	c, ok := db.(committer)
	if !ok {
		return false
	}
	var two storage.Batch
	two.Del("none/1")
	two.Del("none/2")
	_, err := c.Commit(&two)
	return !errors.Is(err, storage.ErrBatchUnsupported)
}

// onCommitter returns the run of a clause. It checks nothing if the database has no batches.
func onCommitter(check func(t T, s *subject, db storage.Database, c committer)) func(T, *subject) {
	return onDatabase(func(t T, s *subject, db storage.Database) {
		t.Helper()
		if !batches(db) {
			t.Logf("%T has no batches of several changes: nothing is checked", db)
			return
		}
		check(t, s, db, db.(committer))
	})
}

func commitAll(t T, _ *subject, db storage.Database, c committer) {
	old := set(t, db, "b/old", 1)
	set(t, db, "b/gone", 2)
	var batch storage.Batch
	batch.Set("b/new", dataOf(3))
	batch.Set("b/old", dataOf(4))
	batch.Del("b/gone")
	batch.Push("p/*", dataOf(5))
	batch.SetWith("c/timed", dataOf(6), storage.SetOptions{Times: &storage.Times{Created: 7, Updated: 8}})
	got, err := c.Commit(&batch)
	must(t, "Commit", err)
	if len(got) != 5 {
		t.Fatalf("Commit of 5 changes returns %d objects", len(got))
	}
	if got[2].Path != "b/gone" || got[2].Data != nil {
		t.Errorf("Commit returns %q with data %s for a delete, want its path and no data", got[2].Path, got[2].Data)
	}
	if !strings.HasPrefix(got[3].Path, "p/") {
		t.Errorf("Commit returns %q for a push of p/*", got[3].Path)
	}
	stored := slices.Delete(slices.Clone(got), 2, 3)
	wantContent(t, db, stored...)
	for i, want := range []int64{3, 4, 5, 6} {
		if numberOf(stored[i].Data) != want {
			t.Errorf("Commit returns %s at %s, want %s", stored[i].Data, stored[i].Path, dataOf(want))
		}
		wantClipped(t, "Commit", stored[i].Data)
	}
	if stored[0].Updated != 0 || stored[1].Created != old.Created || stored[1].Updated == 0 || stored[3].Created != 7 || stored[3].Updated != 8 {
		t.Errorf("the times of a batch are not those of its sets: %+v", stored)
	}
	if got, err := c.Commit(&storage.Batch{}); err != nil || len(got) != 0 {
		t.Errorf("Commit of an empty batch returns %v, error %v", got, err)
	}
}

// badChanges are changes that fail if n/there exists and n/none does not.
var badChanges = []struct {
	name string
	add  func(b *storage.Batch)
	want error
}{
	{"delete of an absent path", func(b *storage.Batch) { b.Del("n/none") }, storage.ErrNotFound},
	{"set of another revision", func(b *storage.Batch) {
		b.SetWith("n/there", dataOf(2), storage.SetOptions{IfRevision: 1 << 40})
	}, storage.ErrConflict},
	{"set of what is there, if absent", func(b *storage.Batch) {
		b.SetWith("n/there", dataOf(2), storage.SetOptions{IfAbsent: true})
	}, storage.ErrConflict},
	{"delete of another revision", func(b *storage.Batch) { b.DelWith("n/there", storage.DelOptions{IfRevision: 1 << 40}) }, storage.ErrConflict},
	{"second change of a path", func(b *storage.Batch) { b.Set("n/first", dataOf(2)) }, storage.ErrDuplicateKey},
	{"invalid path", func(b *storage.Batch) { b.Set("n//x", dataOf(2)) }, storage.ErrInvalidPath},
	{"set of a glob", func(b *storage.Batch) { b.Set("n/*", dataOf(2)) }, storage.ErrGlobNotAllowed},
	{"delete of a glob", func(b *storage.Batch) { b.Del("n/*") }, storage.ErrGlobNotAllowed},
	{"push without a glob", func(b *storage.Batch) { b.Push("n/x", dataOf(2)) }, storage.ErrGlobRequired},
	{"broken data", func(b *storage.Batch) { b.Set("n/x", json.RawMessage(`{`)) }, storage.ErrInvalidStorageData},
}

func commitNone(t T, _ *subject, db storage.Database, c committer) {
	there := set(t, db, "n/there", 1)
	for _, bad := range badChanges {
		var batch storage.Batch
		batch.Set("n/first", dataOf(2))
		bad.add(&batch)
		batch.Push("n/p/*", dataOf(3))
		batch.Set("n/last", dataOf(2))
		_, err := c.Commit(&batch)
		wantErr(t, "Commit with a "+bad.name, err, bad.want)
		wantContent(t, db, there)
	}
}

func commitRevisions(t T, s *subject, db storage.Database, c committer) {
	s.together(t, 4, func(g int) {
		for i := range 15 {
			s.beats.advance()
			var batch storage.Batch
			for n := range 4 {
				batch.Set(fmt.Sprintf("r/%d/%d", g, n), dataOf(int64(i)))
			}
			batch.Push("r/p/*", dataOf(1))
			batch.Del(fmt.Sprintf("r/%d", g))
			if _, err := db.Set(fmt.Sprintf("r/%d", g), dataOf(1)); err != nil {
				t.Errorf("Set: %v", err)
				return
			}
			got, err := c.Commit(&batch)
			if err != nil {
				t.Errorf("Commit: %v", err)
				return
			}
			for n := 1; n < len(got); n++ {
				if got[n].Revision != got[n-1].Revision+1 {
					t.Errorf("change %d of a batch has revision %d, the one before %d", n, got[n].Revision, got[n-1].Revision)
				}
			}
		}
	})
}

// onceBatch writes one number at several paths.
func onceBatch(n int64) (*storage.Batch, []string) {
	batch, all := &storage.Batch{}, []string{"once/0", "once/1", "twice/0", "once/2"}
	for _, path := range all {
		batch.Set(path, dataOf(n))
	}
	return batch, all
}

func commitAtOnce(t T, s *subject, db storage.Database, c committer) {
	const rounds, mostRounds, reads = 100, 20_000, 60
	first, all := onceBatch(0)
	_, err := c.Commit(first)
	must(t, "Commit", err)
	var done atomic.Bool
	var read atomic.Int64
	s.together(t, 2, func(g int) {
		if g == 0 {
			defer done.Store(true)
			// A fast store must not finish before the reader has read.
			for n := int64(1); n < rounds || n < mostRounds && read.Load() < reads; n++ {
				batch, _ := onceBatch(n)
				if _, err := c.Commit(batch); err != nil {
					t.Errorf("Commit: %v", err)
					return
				}
			}
			return
		}
		seen := int64(0)
		for !done.Load() {
			s.beats.advance()
			for _, path := range append(slices.Clone(all), all...) {
				obj, err := db.Get(path)
				n := numberOf(obj.Data)
				if err != nil || n < seen {
					t.Errorf("%s is of batch %d (error %v), after a change of batch %d was seen", path, n, err, seen)
					return
				}
				seen = n
			}
			list, err := db.GetList("once/*")
			if err != nil || len(list) != 3 {
				t.Errorf("GetList has %d objects (error %v), want 3", len(list), err)
				return
			}
			for _, obj := range list {
				if n := numberOf(obj.Data); n != numberOf(list[0].Data) || n < seen {
					t.Errorf("GetList shows %s of batch %d and %s of batch %d, after batch %d was seen",
						obj.Path, n, list[0].Path, numberOf(list[0].Data), seen)
					return
				}
			}
			read.Add(1)
		}
	})
}

func commitEvents(t T, s *subject, db storage.Database, c committer) {
	w, ok := db.(watcher)
	if !ok {
		t.Logf("%T has no Watch: nothing is checked", db)
		return
	}
	got := watch(w)
	const goroutines, rounds, width = 3, 12, 4
	s.together(t, goroutines, func(g int) {
		for i := range int64(rounds) {
			s.beats.advance()
			var batch storage.Batch
			for n := range width {
				batch.Set(fmt.Sprintf("e/%d/%d", g, n), dataOf(i))
			}
			if _, err := c.Commit(&batch); err != nil {
				t.Errorf("Commit: %v", err)
			}
			if _, err := db.Set(fmt.Sprintf("alone/%d", g), dataOf(i)); err != nil {
				t.Errorf("Set: %v", err)
			}
		}
	})
	set(t, db, "end", 1)
	if !got.has(s, "end") {
		t.Fatalf("no event of the last write, %s", s.impatient())
	}
	events := got.all()
	if want := goroutines*rounds*(width+1) + 1; len(events) != want {
		t.Errorf("%d events, want %d", len(events), want)
	}
	for i := 0; i < len(events); i++ {
		if !strings.HasPrefix(events[i].Key, "e/") {
			continue
		}
		first := events[i]
		for n := range width {
			if i+n >= len(events) || events[i+n].Key != fmt.Sprintf("%s%d", first.Key[:4], n) {
				t.Errorf("the events of a batch are not together: %s", showAll(events[i:min(i+width, len(events))]))
				return
			}
		}
		i += width - 1
	}
}

func commitRestart(t T, s *subject, db storage.Database, c committer) {
	if !s.Persistent {
		t.Logf("not Persistent: nothing is checked")
		return
	}
	for i := range int64(4) {
		set(t, db, fmt.Sprintf("d/%d", i), i)
	}
	var batch storage.Batch
	for i := range int64(4) {
		batch.Del(fmt.Sprintf("d/%d", i))
		batch.Set(fmt.Sprintf("k/%d", i), dataOf(i))
	}
	got, err := c.Commit(&batch)
	must(t, "Commit", err)
	db = s.restarted(t, db)
	wantContent(t, db, got[1], got[3], got[5], got[7])
	if next := set(t, db, "k/0", 9).Revision; next <= got[7].Revision {
		t.Errorf("revision after a restart is %d, the batch had %d", next, got[7].Revision)
	}
}

func commitHook(t T, s *subject) {
	var hook recording
	db := s.started(t, storage.Options{AfterWrite: hook.add})
	if !batches(db) {
		t.Logf("%T has no batches of several changes: nothing is checked", db)
		return
	}
	c := db.(committer)
	set(t, db, "h/gone", 1)
	hook.take()
	var batch storage.Batch
	batch.Set("h/b", dataOf(1))
	batch.Set("h/a", dataOf(1))
	batch.Del("h/gone")
	batch.Push("h/p/*", dataOf(1))
	got, err := c.Commit(&batch)
	must(t, "Commit", err)
	if calls := hook.take(); !slices.Equal(calls, []string{"h/b", "h/a", "h/gone", got[3].Path}) {
		t.Errorf("AfterWrite calls of a batch are %q", calls)
	}
	_, err = c.Commit(&batch)
	wantErr(t, "Commit that deletes again", err, storage.ErrNotFound)
	if calls := hook.take(); len(calls) != 0 {
		t.Errorf("AfterWrite calls of a batch that failed are %q", calls)
	}
}
