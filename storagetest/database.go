package storagetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

var databaseClauses = slices.Concat(coreClauses, leaseClauses, batchClauses, expiryClauses, pageClauses, boundClauses, subtreeClauses, browseClauses)

// coreClauses are the clauses on the calls of the Database interface, and on Lock and related calls.
var coreClauses = []Clause{
	{"DATABASE-01", "Before Start a database is not active: calls return ErrNotActive or do nothing.", databaseUnstarted},
	{"DATABASE-02", "Start of a started database returns ErrActive and changes nothing.", onDatabase(databaseStartTwice)},
	{"DATABASE-03", "After Close a database is not active: calls return ErrNotActive or do nothing.", onDatabase(databaseClosed)},
	{"DATABASE-04", "Close may be called any number of times, also concurrently.", onDatabase(databaseCloseTwice)},
	{"DATABASE-05", "A closed database can be started again.", onDatabase(databaseStartAgain)},
	{"DATABASE-06", "After a restart a persistent database holds exactly what it held, a volatile one nothing.", onDatabase(databaseRestart)},
	{"DATABASE-07", "Close may come during any call: the call succeeds or returns ErrNotActive.", onDatabase(databaseCloseDuring)},
	{"DATABASE-08", "After a restart, deleted and cleared objects stay absent.", onDatabase(databaseDeletesStay)},

	{"DATABASE-10", "A write at an invalid path returns ErrInvalidPath and changes nothing.", onDatabase(writeInvalidPath)},
	{"DATABASE-11", "Set and SetWithMeta with a star return ErrGlobNotAllowed and change nothing.", onDatabase(writeGlob)},
	{"DATABASE-12", "Push without a star returns ErrGlobRequired; with a star elsewhere than as the whole last segment, ErrInvalidPath.", onDatabase(pushInvalid)},
	{"DATABASE-13", "A write of empty data or of invalid JSON returns ErrInvalidStorageData, says where the JSON is invalid, and changes nothing.", onDatabase(writeInvalidData)},
	{"DATABASE-14", "Get of an invalid path returns ErrInvalidPath, of a glob ErrGlobNotAllowed, of an absent path ErrNotFound.", onDatabase(getInvalid)},
	{"DATABASE-15", "A list call without a glob returns ErrInvalidPattern, with an invalid pattern ErrInvalidPath.", onDatabase(listInvalid)},
	{"DATABASE-16", "A list call with a negative limit returns ErrInvalidLimit; GetNRange also with 0.", onDatabase(limitInvalid)},
	{"DATABASE-17", "A list call with a range that ends before it begins returns ErrInvalidRange.", onDatabase(rangeInvalid)},
	{"DATABASE-18", "Del and DelSilent of an absent path return ErrNotFound.", onDatabase(delAbsent)},
	{"DATABASE-19", "A write of data that is not UTF-8 returns ErrInvalidStorageData with the offset, and changes nothing. An escaped half of a surrogate pair is valid.", onDatabase(writeNotUTF8)},

	{"DATABASE-20", "A new object has Created now and Updated 0, its path, its index, and its data byte for byte; the call returns the index.", onDatabase(stampNew)},
	{"DATABASE-21", "Set of an existing object keeps Created.", onDatabase(stampCreatedKept)},
	{"DATABASE-22", "Set of an existing object has Updated now, and its new data.", onDatabase(stampUpdated)},
	{"DATABASE-23", "An object that is set after its delete is new.", onDatabase(stampAfterDel)},
	{"DATABASE-24", "SetWithMeta stores both times as given, for a new and for an existing object.", onDatabase(setWithMeta)},
	{"DATABASE-25", "Push stores a new object below the pattern's parent and returns its index.", onDatabase(pushStores)},
	{"DATABASE-26", "Two pushes never collide.", onDatabase(pushUnique)},
	{"DATABASE-27", "The data is copied: a caller may reuse its buffer immediately.", onDatabase(writeCopies)},
	{"DATABASE-28", "Returned data has its capacity clipped to its length.", onDatabase(readClipped)},
	{"DATABASE-29", "Times follow the order of writes: of two sets, one after the other, the second has the later time.", onDatabase(stampOrder)},
	{"DATABASE-30", "Revisions strictly increase in commit order.", onDatabase(revisionOrder)},
	{"DATABASE-31", "No revision is used again after a restart.", onDatabase(revisionRestart)},
	{"DATABASE-32", "Del and DelSilent remove an object from all reads, and no other.", onDatabase(delRemoves)},
	{"DATABASE-33", "Del and DelSilent of a glob remove what it matches and nothing else, and succeed without a match.", onDatabase(delGlob)},
	{"DATABASE-34", "Del of a glob is atomic: a list shows all of its matches or none.", onDatabase(delGlobAtomic)},
	{"DATABASE-35", "Clear removes everything, and the database remains usable.", onDatabase(clearRemoves)},
	{"DATABASE-36", "Writes of one path from many goroutines keep its object intact, and its Created.", onDatabase(writeConcurrent)},
	{"DATABASE-37", "Paths that differ in case or by a character next to the slash are different, up to 1024 bytes.", onDatabase(databaseUnusualPaths)},
	{"DATABASE-38", "An object of a megabyte is stored like any other.", onDatabase(databaseLarge)},
	{"DATABASE-39", "A rejected write leaves no trace: the next write of the path finds the object unchanged.", onDatabase(refusedNoTrace)},

	{"DATABASE-40", "GetList, GetNAscending and KeysRange are ascending by Created, ties by Path.", onDatabase(listAscending)},
	{"DATABASE-41", "GetListDescending, GetN and GetNRange are the exact reverse.", onDatabase(listDescending)},
	{"DATABASE-42", "GetN returns the newest objects up to its limit, GetNAscending the oldest; 0 means all.", onDatabase(listLimits)},
	{"DATABASE-43", "GetNRange and KeysRange return what was created in the range, both ends included.", onDatabase(listRanges)},
	{"DATABASE-44", "GetNRange returns the newest objects of its range up to its limit.", onDatabase(rangeLimit)},
	{"DATABASE-45", "A list has what its glob matches and nothing else: a star stays within its segment.", onDatabase(listGlobs)},
	{"DATABASE-46", "Keys returns all paths in byte order.", onDatabase(databaseKeys)},
	{"DATABASE-47", "A list without a match is empty and not nil.", onDatabase(listEmpty)},
	{"DATABASE-48", "A list is a consistent snapshot of a directory: never a later write without an earlier one.", onDatabase(listSnapshot)},
	{"DATABASE-49", "Lists return complete objects, as Get does.", onDatabase(listWhole)},
	{"DATABASE-50", "A returned list belongs to the caller: a change of it changes no other list.", onDatabase(listOwned)},

	{"DATABASE-60", "AfterWrite runs once with the path (the pattern of a glob delete) after each successful write, before the write returns.", afterWriteRuns},
	{"DATABASE-61", "AfterWrite does not run for DelSilent or for a failed write.", afterWriteSilent},
	{"DATABASE-62", "AfterWrite runs without a lock: it can call the store.", afterWriteCalls},
	{"DATABASE-63", "A panic in AfterWrite leaves the store usable.", afterWritePanics},
	{"DATABASE-64", "BeforeRead runs once for each read call, with its path.", beforeReadRuns},
	{"DATABASE-65", "BeforeRead runs before the read, without a lock: the read sees what it writes.", beforeReadFirst},
	{"DATABASE-66", "The event of a write is published before AfterWrite runs, and the write is readable in it.", afterWriteOrder},

	{"DATABASE-70", "GetAndLock waits while another caller holds the lock, until Unlock.", onDatabase(lockExcludes)},
	{"DATABASE-71", "Waiting callers get a lock in the order in which they came.", onDatabase(lockFIFO)},
	{"DATABASE-72", "Unlock and SetAndUnlock of a path that is not locked return ErrLockNotFound, and write nothing.", onDatabase(unlockUnlocked)},
	{"DATABASE-73", "GetAndLock of an absent path returns ErrNotFound and does not lock it.", onDatabase(lockAbsent)},
	{"DATABASE-74", "SetAndUnlock writes and releases.", onDatabase(setAndUnlock)},
	{"DATABASE-75", "SetAndUnlock releases the lock even if the write fails.", onDatabase(setAndUnlockFails)},
	{"DATABASE-76", "A lock call with a star returns ErrCantLockGlob, with an invalid path ErrInvalidPath.", onDatabase(lockInvalid)},
	{"DATABASE-77", "A lock is advisory: it does not affect plain reads and writes of its path.", onDatabase(lockAdvisory)},
	{"DATABASE-78", "Locks of different paths are independent.", onDatabase(lockIndependent)},
	{"DATABASE-79", "Close wakes callers that wait for a lock, with ErrNotActive.", onDatabase(lockClose)},
	{"DATABASE-80", "Lock locks like GetAndLock, also a path without an object.", onLocker(lockLocks)},
	{"DATABASE-81", "LockContext fails with the error of its context, and the lock goes to the next caller.", onLocker(lockContext)},
	{"DATABASE-82", "TryLock does not wait, and reports whether it locked.", onLocker(tryLock)},
	{"DATABASE-83", "A lock is exclusive: only one of many goroutines at a time is between lock and unlock.", onDatabase(lockMutualExclusion)},
}

// locker has the lock calls of *storage.Layered beyond a Database.
type locker interface {
	Lock(path string) error
	LockContext(ctx context.Context, path string) error
	TryLock(path string) bool
}

// watcher has the event calls of *storage.Layered beyond a Database.
type watcher interface {
	Watch(callback storage.EventCallback) (stop func())
}

// quiet sets a logger without output if there is none.
func quiet(opts storage.Options) storage.Options {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return opts
}

// onDatabase returns the run of a clause that needs a started, empty database.
func onDatabase(check func(t T, s *subject, db storage.Database)) func(T, *subject) {
	return func(t T, s *subject) {
		t.Helper()
		check(t, s, s.started(t, storage.Options{}))
	}
}

// started opens and starts a database for the duration of the clause.
func (s *subject) started(t T, opts storage.Options) storage.Database {
	t.Helper()
	db := s.openDatabase(t)
	startDatabase(t, db, opts)
	return db
}

func startDatabase(t T, db storage.Database, opts storage.Options) {
	t.Helper()
	must(t, "Start", db.Start(quiet(opts)))
	t.Cleanup(func() {
		if db.Active() {
			db.Close()
		}
	})
}

// restarted closes a database and starts it, or its replacement.
func (s *subject) restarted(t T, db storage.Database) storage.Database {
	t.Helper()
	db.Close()
	return s.startedAgain(t, db)
}

// startedAgain starts a closed database, or its replacement.
func (s *subject) startedAgain(t T, db storage.Database) storage.Database {
	t.Helper()
	if s.Reopen != nil {
		db = s.Reopen(t, db)
	}
	startDatabase(t, db, storage.Options{})
	return db
}

// set writes a value, which must succeed, and returns the stored object.
func set(t T, db storage.Database, path string, n int64) meta.Object {
	t.Helper()
	_, err := db.Set(path, dataOf(n))
	must(t, "Set "+short(path), err)
	return get(t, db, path)
}

// setAt writes an object with its own times.
func setAt(t T, db storage.Database, obj meta.Object) {
	t.Helper()
	_, err := db.SetWithMeta(obj.Path, obj.Data, obj.Created, obj.Updated)
	must(t, "SetWithMeta "+short(obj.Path), err)
}

// get reads an existing object.
func get(t T, db storage.Database, path string) meta.Object {
	t.Helper()
	obj, err := db.Get(path)
	must(t, "Get "+short(path), err)
	return obj
}

// errorCall is a call of a database with valid arguments.
type errorCall struct {
	name string
	call func() error
}

// errorCalls returns all calls that return an error, except Start.
func errorCalls(db storage.Database) []errorCall {
	discard := func(_ any, err error) error { return err }
	return []errorCall{
		{"Keys", func() error { return discard(db.Keys()) }},
		{"KeysRange", func() error { return discard(db.KeysRange("a/*", 0, math.MaxInt64)) }},
		{"Get", func() error { return discard(db.Get("a/b")) }},
		{"GetAndLock", func() error { return discard(db.GetAndLock("a/b")) }},
		{"GetList", func() error { return discard(db.GetList("a/*")) }},
		{"GetListDescending", func() error { return discard(db.GetListDescending("a/*")) }},
		{"GetN", func() error { return discard(db.GetN("a/*", 1)) }},
		{"GetNAscending", func() error { return discard(db.GetNAscending("a/*", 1)) }},
		{"GetNRange", func() error { return discard(db.GetNRange("a/*", 1, 0, math.MaxInt64)) }},
		{"Set", func() error { return discard(db.Set("a/b", dataOf(1))) }},
		{"Push", func() error { return discard(db.Push("a/*", dataOf(1))) }},
		{"SetWithMeta", func() error { return discard(db.SetWithMeta("a/b", dataOf(1), 1, 2)) }},
		{"SetAndUnlock", func() error { return discard(db.SetAndUnlock("a/b", dataOf(1))) }},
		{"Unlock", func() error { return db.Unlock("a/b") }},
		{"Del", func() error { return db.Del("a/b") }},
		{"Del of a glob", func() error { return db.Del("a/*") }},
		{"DelSilent", func() error { return db.DelSilent("a/b") }},
	}
}

// moreErrorCalls returns the same for the calls beyond the Database interface.
func moreErrorCalls(db storage.Database) (calls []errorCall) {
	discard := func(_ any, err error) error { return err }
	if c, ok := db.(committer); ok {
		calls = append(calls, errorCall{"Commit", func() error { return discard(c.Commit(&storage.Batch{})) }})
	}
	if c, ok := db.(conditional); ok {
		calls = append(calls,
			errorCall{"SetWith", func() error { return discard(c.SetWith("a/b", dataOf(1), storage.SetOptions{})) }},
			errorCall{"PushWith", func() error { return discard(c.PushWith("a/*", dataOf(1), storage.SetOptions{})) }},
			errorCall{"DelWith", func() error { return c.DelWith("a/b", storage.DelOptions{}) }})
	}
	if u, ok := db.(updater); ok {
		calls = append(calls, errorCall{"Update", func() error { return discard(u.Update("a/b", increment)) }})
	}
	if p, ok := db.(pager); ok {
		calls = append(calls,
			errorCall{"Page", func() error { return discard(p.Page("a/*", storage.ListOptions{})) }},
			errorCall{"Iterate", func() error { return lastError(p.Iterate("a/*", storage.ListOptions{})) }},
			errorCall{"Count", func() error { return discard(p.Count("a/*")) }},
			errorCall{"Directories", func() error { return discard(p.Directories("a")) }})
	}
	return calls
}

// wantDatabaseInactive checks every call of a database that is not started.
func wantDatabaseInactive(t T, s *subject, db storage.Database) {
	t.Helper()
	if db.Active() {
		t.Errorf("Active is true, want false")
	}
	s.within(t, "calls of an inactive database", func() {
		for _, c := range errorCalls(db) {
			wantErr(t, c.name, c.call(), storage.ErrNotActive)
		}
		db.Clear()
		if l, ok := db.(locker); ok {
			wantErr(t, "Lock", l.Lock("a/b"), storage.ErrNotActive)
			wantErr(t, "LockContext", l.LockContext(context.Background(), "a/b"), storage.ErrNotActive)
			if l.TryLock("a/b") {
				t.Errorf("TryLock of an inactive database is true, want false")
			}
		}
		for _, c := range moreErrorCalls(db) {
			wantErr(t, c.name, c.call(), storage.ErrNotActive)
		}
		if acquire, ok := leasesOf(db); ok {
			_, err := acquire(context.Background(), "a/b", time.Hour)
			wantErr(t, "Acquire", err, storage.ErrNotActive)
		}
	})
}

func databaseUnstarted(t T, s *subject) {
	db := s.openDatabase(t)
	wantDatabaseInactive(t, s, db)
	startDatabase(t, db, storage.Options{})
	wantContent(t, db)
}

func databaseStartTwice(t T, _ *subject, db storage.Database) {
	obj := set(t, db, "a/b", 1)
	wantErr(t, "second Start", db.Start(quiet(storage.Options{})), storage.ErrActive)
	if !db.Active() {
		t.Fatalf("Active is false after the second Start, want true")
	}
	wantContent(t, db, obj)
	set(t, db, "a/b", 2)
}

func databaseClosed(t T, s *subject, db storage.Database) {
	set(t, db, "a/b", 1)
	if !db.Active() {
		t.Errorf("Active is false after Start, want true")
	}
	db.Close()
	wantDatabaseInactive(t, s, db)
}

func databaseCloseTwice(t T, s *subject, db storage.Database) {
	set(t, db, "a/b", 1)
	db.Close()
	db.Close()
	must(t, "Start after Close", db.Start(quiet(storage.Options{})))
	s.together(t, 4, func(int) { db.Close() })
	if db.Active() {
		t.Errorf("Active is true after Close, want false")
	}
}

func databaseStartAgain(t T, s *subject, db storage.Database) {
	for i := range int64(3) {
		obj := set(t, db, "a/b", i)
		if numberOf(obj.Data) != i {
			t.Errorf("Get after Set of %d: data is %s", i, obj.Data)
		}
		db = s.restarted(t, db)
	}
}

func databaseRestart(t T, s *subject, db storage.Database) {
	for _, obj := range oddObjects() {
		setAt(t, db, obj)
	}
	for i, path := range unusualPaths {
		set(t, db, path, int64(i))
		set(t, db, path, int64(i+100))
	}
	var want []meta.Object
	keys, err := db.Keys()
	must(t, "Keys", err)
	for _, path := range keys {
		want = append(want, get(t, db, path))
	}
	db = s.restarted(t, db)
	if !s.Persistent {
		want = nil
	}
	wantContent(t, db, want...)
}

func databaseDeletesStay(t T, s *subject, db storage.Database) {
	for i, path := range tree {
		set(t, db, path, int64(i))
	}
	must(t, "Del", db.Del("users/1"))
	must(t, "DelSilent", db.DelSilent("users/10"))
	must(t, "Del of a glob", db.Del("a/*/*"))
	gone := append([]string{"users/1", "users/10"}, matching("a/*/*", tree)...)
	db = s.restarted(t, db)
	for _, path := range gone {
		_, err := db.Get(path)
		wantErr(t, "Get "+path+" after delete and restart", err, storage.ErrNotFound)
	}
	set(t, db, "users/2", 1)
	db.Clear()
	db = s.restarted(t, db)
	wantContent(t, db)
}

func databaseCloseDuring(t T, s *subject, db storage.Database) {
	var calls atomic.Int64
	s.together(t, 6, func(g int) {
		all := errorCalls(db)
		for i := g; ; i++ {
			s.beats.advance()
			c := all[i%len(all)]
			err := c.call()
			switch {
			case err == nil, errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrLockNotFound):
			case errors.Is(err, storage.ErrNotActive):
				return
			default:
				t.Errorf("%s during Close: error is %v, want none or ErrNotActive", c.name, err)
				return
			}
			if c.name == "GetAndLock" && err == nil {
				// Another goroutine may have released the lock: locks are advisory and by path.
				err := db.Unlock("a/b")
				if err != nil && !errors.Is(err, storage.ErrNotActive) && !errors.Is(err, storage.ErrLockNotFound) {
					t.Errorf("Unlock during Close: %v", err)
				}
			}
			if calls.Add(1) > 300 && g == 0 {
				db.Close()
				return
			}
		}
	})
	if db.Active() {
		t.Errorf("Active is true after Close, want false")
	}
}

func databaseUnusualPaths(t T, _ *subject, db storage.Database) {
	want := make([]meta.Object, len(unusualPaths))
	for i, path := range unusualPaths {
		want[i] = set(t, db, path, int64(i))
		if want[i].Path != path || numberOf(want[i].Data) != int64(i) {
			t.Errorf("Get %s: got %s with %s", short(path), short(want[i].Path), want[i].Data)
		}
	}
	wantContent(t, db, want...)
}

func databaseLarge(t T, _ *subject, db storage.Database) {
	data := json.RawMessage(`"` + strings.Repeat("0123456789abcdef", 62_500) + `"`)
	_, err := db.Set("a/large", data)
	must(t, "Set of a megabyte", err)
	if got := get(t, db, "a/large"); string(got.Data) != string(data) {
		t.Errorf("Get: data is %s, want the %d bytes that were set", short(string(got.Data)), len(data))
	}
}

// describe names a pattern in a failure.
func describe(call, pattern string) string { return fmt.Sprintf("%s %s", call, short(pattern)) }
