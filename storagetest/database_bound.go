package storagetest

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// This file checks touches, writes bound to a lease or a context, and records of retried requests, if a database offers
// what they need.

var boundClauses = []Clause{
	{"DATABASE-D0", "Touch gives an object another end and a new revision, as a change like any other, and leaves its data and times; an absent object is ErrNotFound.", onToucher(touchKeeps)},
	{"DATABASE-D1", "TryAcquire gives a lease at once, or is ErrLocked when another holds the lock.", onTryAcquirer(tryAcquire)},
	{"DATABASE-D2", "A write that is bound to a lease is made while the lease holds its lock, and is ErrLeaseLost with nothing written once it does not; a batch fails as a whole.", onTryAcquirer(boundToLease)},
	{"DATABASE-D3", "A write whose context has ended is the context's error, and writes nothing.", onContexts(contextEnds)},
	{"DATABASE-D4", "A batch with a record of its request, if absent, is made once, however often it is tried: also after a restart, until the record expires.", onCommitter(commitOnce)},
}

// toucher has the time to live calls of *storage.Layered beyond writes.
type toucher interface {
	Touch(path string, ttl time.Duration) (meta.Object, error)
}

// tryAcquirer has the lease calls of *storage.Layered that do not wait.
type tryAcquirer interface {
	conditional
	TryAcquire(path string, ttl time.Duration) (*storage.Lease, error)
}

// contexts has the writes of *storage.Layered with a context.
type contexts interface {
	SetContext(ctx context.Context, path string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error)
	CommitContext(ctx context.Context, batch *storage.Batch) ([]meta.Object, error)
	UpdateContext(ctx context.Context, path string, change func(old meta.Object) (json.RawMessage, error)) (meta.Object, error)
}

// on returns the run of a clause. It checks nothing if the database does not offer the calls O.
func on[O any](what string, check func(t T, s *subject, db storage.Database, offer O)) func(T, *subject) {
	return onDatabase(func(t T, s *subject, db storage.Database) {
		t.Helper()
		offer, ok := db.(O)
		if !ok {
			t.Logf("%T has no %s: nothing is checked", db, what)
			return
		}
		check(t, s, db, offer)
	})
}

func onToucher(check func(T, *subject, storage.Database, toucher)) func(T, *subject) {
	return on("Touch", check)
}

func onTryAcquirer(check func(T, *subject, storage.Database, tryAcquirer)) func(T, *subject) {
	return on("TryAcquire", check)
}

func onContexts(check func(T, *subject, storage.Database, contexts)) func(T, *subject) {
	return on("SetContext", check)
}

func touchKeeps(t T, s *subject, db storage.Database, offer toucher) {
	events := collect(t, db)
	setAt(t, db, meta.Object{Path: "d0/a", Created: 3, Updated: 4, Data: json.RawMessage(` {"n":7}`)})
	before := get(t, db, "d0/a")
	for _, ttl := range []time.Duration{time.Hour, 0} {
		begin := time.Now()
		touched, err := offer.Touch("d0/a", ttl)
		must(t, "Touch", err)
		want := before
		want.Revision, want.Expires = touched.Revision, touched.Expires
		if d := diff(touched, want); d != "" || touched.Revision <= before.Revision {
			t.Errorf("Touch makes an object of revision %d of one of %d: %s", touched.Revision, before.Revision, d)
		}
		if d := diff(get(t, db, "d0/a"), touched); d != "" {
			t.Errorf("what is there is not what Touch returns: %s", d)
		}
		least, most := begin.Add(ttl).UnixNano(), time.Now().Add(ttl).UnixNano()
		if ttl == 0 {
			least, most = 0, 0
		}
		if touched.Expires < least || touched.Expires > most {
			t.Errorf("touched for %v an object ends at %d, want from %d to %d", ttl, touched.Expires, least, most)
		}
		if !events.arrives(s, func(e storage.Event) bool {
			return e.Operation == storage.OperationSet && e.Object != nil && e.Object.Revision == touched.Revision
		}) {
			t.Errorf("no event of a touch, %s", s.impatient())
		}
		before = touched
	}
	_, err := offer.Touch("d0/none", time.Hour)
	wantErr(t, "Touch of an absent path", err, storage.ErrNotFound)
	_, err = offer.Touch("d0/a", -1)
	wantErr(t, "Touch for less than nothing", err, storage.ErrInvalidTTL)
	_, err = offer.Touch("d0/*", time.Hour)
	wantErr(t, "Touch of a glob", err, storage.ErrGlobNotAllowed)
	short, err := offer.Touch("d0/a", lifetime)
	must(t, "Touch", err)
	if s.Persistent {
		db = s.restarted(t, db)
	}
	expires(short)
	_, err = db.Get("d0/a")
	wantErr(t, "Get behind the end", err, storage.ErrNotFound)
	_, err = db.(toucher).Touch("d0/a", time.Hour)
	wantErr(t, "Touch behind the end", err, storage.ErrNotFound)
}

func tryAcquire(t T, s *subject, db storage.Database, offer tryAcquirer) {
	lease, err := offer.TryAcquire("d1/a", time.Hour)
	must(t, "TryAcquire", err)
	s.within(t, "TryAcquire of a lock that is held", func() {
		other, err := offer.TryAcquire("d1/a", time.Hour)
		wantErr(t, "TryAcquire of a lock that is held", err, storage.ErrLocked)
		if other != nil {
			t.Errorf("TryAcquire returns a lease with its error, want none")
		}
	})
	wantErr(t, "Unlock of a path that a lease holds", db.Unlock("d1/a"), storage.ErrLockOwned)
	must(t, "Release", lease.Release())
	set(t, db, "d1/a", 1)
	_, err = db.GetAndLock("d1/a")
	must(t, "GetAndLock", err)
	_, err = offer.TryAcquire("d1/a", time.Hour)
	wantErr(t, "TryAcquire of a path that GetAndLock holds", err, storage.ErrLocked)
	must(t, "Unlock", db.Unlock("d1/a"))
	_, err = offer.TryAcquire("d1/*", time.Hour)
	wantErr(t, "TryAcquire of a glob", err, storage.ErrCantLockGlob)
	_, err = offer.TryAcquire("d1/a", 0)
	wantErr(t, "TryAcquire for no time", err, storage.ErrInvalidTTL)
}

func boundToLease(t T, _ *subject, db storage.Database, offer tryAcquirer) {
	first := set(t, db, "d2/a", 1)
	lease, err := offer.TryAcquire("d2/lock", time.Hour)
	must(t, "TryAcquire", err)
	held, err := offer.SetWith("d2/a", dataOf(2), storage.SetOptions{Lease: lease})
	must(t, "SetWith while the lease holds its lock", err)
	if held.Revision <= first.Revision {
		t.Errorf("a write that is bound to a lease has revision %d behind %d", held.Revision, first.Revision)
	}
	must(t, "Release", lease.Release())
	_, err = offer.SetWith("d2/a", dataOf(3), storage.SetOptions{Lease: lease})
	wantErr(t, "SetWith of a lease that is released", err, storage.ErrLeaseLost)
	wantErr(t, "DelWith of a lease that is released", offer.DelWith("d2/a", storage.DelOptions{Lease: lease}), storage.ErrLeaseLost)
	_, err = offer.PushWith("d2/*", dataOf(3), storage.SetOptions{Lease: lease})
	wantErr(t, "PushWith of a lease that is released", err, storage.ErrLeaseLost)
	if c, ok := db.(committer); ok && batches(db) {
		var batch storage.Batch
		batch.Set("d2/b", dataOf(3))
		batch.SetWith("d2/a", dataOf(3), storage.SetOptions{Lease: lease})
		_, err = c.Commit(&batch)
		wantErr(t, "Commit of a lease that is released", err, storage.ErrLeaseLost)
	}
	ended, err := offer.TryAcquire("d2/lock", time.Millisecond)
	must(t, "TryAcquire", err)
	time.Sleep(time.Until(ended.Expires()))
	_, err = offer.SetWith("d2/a", dataOf(3), storage.SetOptions{Lease: ended})
	wantErr(t, "SetWith of a lease that has expired", err, storage.ErrLeaseLost)
	wantContent(t, db, held)
}

func contextEnds(t T, _ *subject, db storage.Database, offer contexts) {
	ctx, cancel := context.WithCancel(context.Background())
	first, err := offer.SetContext(ctx, "d3/a", dataOf(1), storage.SetOptions{})
	must(t, "SetContext", err)
	var batch storage.Batch
	batch.Set("d3/a", dataOf(2))
	add := func(meta.Object) (json.RawMessage, error) { return dataOf(3), nil }
	cancel()
	_, err = offer.SetContext(ctx, "d3/a", dataOf(4), storage.SetOptions{})
	wantErr(t, "SetContext", err, context.Canceled)
	_, err = offer.CommitContext(ctx, &batch)
	wantErr(t, "CommitContext", err, context.Canceled)
	_, err = offer.UpdateContext(ctx, "d3/a", add)
	wantErr(t, "UpdateContext", err, context.Canceled)
	wantContent(t, db, first)
	_, err = offer.CommitContext(context.Background(), &batch)
	must(t, "CommitContext", err)
	_, err = offer.UpdateContext(context.Background(), "d3/a", add)
	must(t, "UpdateContext", err)
	if got := numberOf(get(t, db, "d3/a").Data); got != 3 {
		t.Errorf("UpdateContext leaves %d, want 3", got)
	}
}

func commitOnce(t T, s *subject, db storage.Database, _ committer) {
	if !batches(db) {
		t.Logf("%T takes no batches of several changes: nothing is checked", db)
		return
	}
	// request does the work of one request, and repeats it if its answer was lost.
	request := func(ttl time.Duration) error {
		var batch storage.Batch
		batch.Push("d4/orders/*", dataOf(1))
		batch.SetWith("d4/requests/1", dataOf(2), storage.SetOptions{IfAbsent: true, TTL: ttl})
		_, err := db.(committer).Commit(&batch)
		return err
	}
	orders := func(what string, want int) {
		t.Helper()
		list, err := db.GetList("d4/orders/*")
		must(t, "GetList", err)
		if len(list) != want {
			t.Errorf("%s there are %d orders, want %d", what, len(list), want)
		}
	}
	results := make([]error, 4)
	s.together(t, len(results), func(i int) { results[i] = request(time.Hour) })
	made := 0
	for _, err := range results {
		if err == nil {
			made++
			continue
		}
		var conflict *storage.ConflictError
		if !errors.As(err, &conflict) || conflict.Path != "d4/requests/1" {
			t.Errorf("a request that was made already is %v, want a *ConflictError of its record", err)
		}
	}
	if made != 1 {
		t.Errorf("of %d tries of one request %d were made, want 1", len(results), made)
	}
	orders("behind one request", 1)
	if s.Persistent {
		db = s.restarted(t, db)
		wantErr(t, "the request after a restart", request(time.Hour), storage.ErrConflict)
		orders("after a restart", 1)
	}
	must(t, "Del of the record", db.Del("d4/requests/1"))
	must(t, "the request with a record that expires", request(time.Millisecond))
	record := time.Now().Add(time.Millisecond)
	time.Sleep(time.Until(record))
	must(t, "the request behind its record's end", request(time.Hour))
	orders("behind three requests", 3)
}
