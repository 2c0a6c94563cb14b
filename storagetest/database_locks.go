package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// This file checks locks.

// onLocker returns the run of a clause. It checks nothing if the database offers only the lock calls of the Database
// interface.
func onLocker(check func(t T, s *subject, db storage.Database, l locker)) func(T, *subject) {
	return onDatabase(func(t T, s *subject, db storage.Database) {
		t.Helper()
		l, ok := db.(locker)
		if !ok {
			t.Logf("%T has no Lock: nothing is checked", db)
			return
		}
		check(t, s, db, l)
	})
}

// goroutineID returns the number of the calling goroutine, as shown in stack traces.
func goroutineID() string {
	buf := make([]byte, 64)
	buf = buf[:runtime.Stack(buf, false)]
	id, _, _ := bytes.Cut(bytes.TrimPrefix(buf, []byte("goroutine ")), []byte(" "))
	return string(id)
}

// parked reports whether a goroutine waits for another one. Only the state that the runtime shows reveals that a call
// has started to wait.
func parked(id string) bool {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	_, rest, found := strings.Cut(string(buf), "goroutine "+id+" [")
	state, _, _ := strings.Cut(rest, "]")
	return found && (strings.HasPrefix(state, "select") || strings.HasPrefix(state, "chan receive") ||
		strings.HasPrefix(state, "sync.") || strings.HasPrefix(state, "semacquire"))
}

// waiter is a call in a separate goroutine.
type waiter struct {
	id   string
	done chan error
}

// start starts a call that is expected to wait.
func start(call func() error) *waiter {
	w := &waiter{done: make(chan error, 1)}
	id := make(chan string)
	go func() {
		id <- goroutineID()
		w.done <- call()
	}()
	w.id = <-id
	return w
}

// waits waits until the call is blocked, and reports whether that happened.
func (w *waiter) waits(t T, s *subject, what string) bool {
	t.Helper()
	seen := 0
	s.eventually(t, what+" comes to its waiting", func() bool {
		if len(w.done) > 0 {
			return true
		}
		if parked(w.id) {
			seen++
		} else {
			seen = 0
		}
		return seen == 3
	})
	if len(w.done) > 0 {
		t.Errorf("%s did not wait", what)
		return false
	}
	return true
}

// result waits for the call to return.
func (w *waiter) result(t T, s *subject, what string) error {
	t.Helper()
	err, ok := await(s, w.done)
	if !ok {
		t.Fatalf("%s: still waiting, %s", what, s.impatient())
	}
	return err
}

// lockCall locks a path that holds an object.
func lockCall(db storage.Database, path string) func() error {
	return func() error {
		_, err := db.GetAndLock(path)
		return err
	}
}

func lockExcludes(t T, s *subject, db storage.Database) {
	set(t, db, "a/b", 1)
	must(t, "GetAndLock", lockCall(db, "a/b")())
	second := start(lockCall(db, "a/b"))
	if !second.waits(t, s, "a second GetAndLock") {
		return
	}
	_, err := db.Set("a/b", dataOf(2))
	must(t, "Set by the holder", err)
	must(t, "Unlock", db.Unlock("a/b"))
	must(t, "second GetAndLock", second.result(t, s, "the second GetAndLock after Unlock"))
	must(t, "second Unlock", db.Unlock("a/b"))
}

func lockFIFO(t T, s *subject, db storage.Database) {
	set(t, db, "a/b", 1)
	must(t, "GetAndLock", lockCall(db, "a/b")())
	order := make(chan int, 5)
	for i := range 5 {
		w := start(func() error {
			if _, err := db.GetAndLock("a/b"); err != nil {
				return err
			}
			order <- i
			return db.Unlock("a/b")
		})
		if !w.waits(t, s, fmt.Sprintf("waiter %d", i)) {
			return
		}
	}
	must(t, "Unlock", db.Unlock("a/b"))
	for want := range 5 {
		got, ok := await(s, order)
		if !ok {
			t.Fatalf("waiter %d has no lock, %s", want, s.impatient())
		}
		if got != want {
			t.Errorf("waiter %d got the lock, want waiter %d, which came before", got, want)
			return
		}
	}
}

func unlockUnlocked(t T, _ *subject, db storage.Database) {
	obj := set(t, db, "a/b", 1)
	for range 2 {
		wantErr(t, "Unlock", db.Unlock("a/b"), storage.ErrLockNotFound)
		wantErr(t, "Unlock of an absent path", db.Unlock("a/c"), storage.ErrLockNotFound)
		_, err := db.SetAndUnlock("a/b", dataOf(2))
		wantErr(t, "SetAndUnlock", err, storage.ErrLockNotFound)
		_, err = db.SetAndUnlock("a/c", dataOf(2))
		wantErr(t, "SetAndUnlock of an absent path", err, storage.ErrLockNotFound)
		wantContent(t, db, obj)
		must(t, "GetAndLock", lockCall(db, "a/b")())
		must(t, "Unlock", db.Unlock("a/b"))
	}
}

func lockAbsent(t T, s *subject, db storage.Database) {
	s.within(t, "GetAndLock of an absent path", func() {
		for range 2 {
			wantErr(t, "GetAndLock", lockCall(db, "a/b")(), storage.ErrNotFound)
		}
	})
	wantErr(t, "Unlock", db.Unlock("a/b"), storage.ErrLockNotFound)
}

// free checks that nobody holds the lock of a path.
func free(t T, s *subject, db storage.Database, path, when string) {
	t.Helper()
	s.within(t, "GetAndLock and Unlock "+when, func() {
		if err := lockCall(db, path)(); err != nil {
			t.Errorf("GetAndLock %s: %v", when, err)
			return
		}
		if err := db.Unlock(path); err != nil {
			t.Errorf("Unlock %s: %v", when, err)
		}
	})
}

func setAndUnlock(t T, s *subject, db storage.Database) {
	setAt(t, db, object("a/b", 1000))
	must(t, "GetAndLock", lockCall(db, "a/b")())
	index, err := db.SetAndUnlock("a/b", dataOf(2))
	must(t, "SetAndUnlock", err)
	got := get(t, db, "a/b")
	if index != "b" || numberOf(got.Data) != 2 || got.Created != 1000 {
		t.Errorf("SetAndUnlock returns %q and stores Created %d with %s", index, got.Created, got.Data)
	}
	wantNow(t, "Updated", got.Updated)
	free(t, s, db, "a/b", "after SetAndUnlock")
}

func setAndUnlockFails(t T, s *subject, db storage.Database) {
	obj := set(t, db, "a/b", 1)
	for _, data := range []string{"", "{", "hello"} {
		must(t, "GetAndLock", lockCall(db, "a/b")())
		_, err := db.SetAndUnlock("a/b", []byte(data))
		wantErr(t, "SetAndUnlock of "+short(data), err, storage.ErrInvalidStorageData)
		free(t, s, db, "a/b", "after a SetAndUnlock that failed")
	}
	wantContent(t, db, obj)
}

func lockInvalid(t T, s *subject, db storage.Database) {
	obj := set(t, db, "a/b", 1)
	calls := []struct {
		name string
		call func(path string) error
	}{
		{"GetAndLock", func(p string) error { return lockCall(db, p)() }},
		{"SetAndUnlock", func(p string) error { _, err := db.SetAndUnlock(p, dataOf(2)); return err }},
		{"Unlock", db.Unlock},
	}
	if l, ok := db.(locker); ok {
		calls = append(calls, []struct {
			name string
			call func(path string) error
		}{
			{"Lock", l.Lock},
			{"LockContext", func(p string) error { return l.LockContext(context.Background(), p) }},
		}...)
	}
	s.within(t, "lock calls with bad paths", func() {
		for _, c := range calls {
			for _, path := range []string{"*", "a/*", "*/b", "a/b*"} {
				wantErr(t, c.name+" "+path, c.call(path), storage.ErrCantLockGlob)
			}
			for _, p := range invalidPaths {
				wantErr(t, c.name+", "+p.name, c.call(p.path), storage.ErrInvalidPath)
			}
		}
	})
	if l, ok := db.(locker); ok {
		for _, path := range []string{"*", "a/*", "", "a//b"} {
			if l.TryLock(path) {
				t.Errorf("TryLock %q is true, want false", path)
			}
		}
	}
	wantContent(t, db, obj)
}

func lockAdvisory(t T, s *subject, db storage.Database) {
	set(t, db, "a/b", 1)
	must(t, "GetAndLock", lockCall(db, "a/b")())
	s.within(t, "plain calls on a locked path", func() {
		for _, c := range errorCalls(db) {
			switch c.name {
			case "GetAndLock", "SetAndUnlock", "Unlock":
				continue
			case "DelSilent":
				if _, err := db.Set("a/b", dataOf(1)); err != nil {
					t.Errorf("Set: %v", err)
				}
			case "Del of a glob":
				continue
			}
			if err := c.call(); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		if err := db.Del("a/*"); err != nil {
			t.Errorf("Del of a glob: %v", err)
		}
		db.Clear()
		if _, err := db.Set("a/b", dataOf(3)); err != nil {
			t.Errorf("Set: %v", err)
		}
	})
	must(t, "Unlock", db.Unlock("a/b"))
}

func lockIndependent(t T, s *subject, db storage.Database) {
	for i := range int64(20) {
		path := fmt.Sprintf("a/%d", i)
		set(t, db, path, i)
		s.within(t, "GetAndLock of another path", func() {
			if err := lockCall(db, path)(); err != nil {
				t.Errorf("GetAndLock %s: %v", path, err)
			}
		})
	}
	for i := range 20 {
		must(t, "Unlock", db.Unlock(fmt.Sprintf("a/%d", i)))
	}
}

func lockClose(t T, s *subject, db storage.Database) {
	set(t, db, "a/b", 1)
	must(t, "GetAndLock", lockCall(db, "a/b")())
	var waiters []*waiter
	for i := range 3 {
		w := start(lockCall(db, "a/b"))
		if !w.waits(t, s, fmt.Sprintf("waiter %d", i)) {
			return
		}
		waiters = append(waiters, w)
	}
	s.within(t, "Close", db.Close)
	for i, w := range waiters {
		wantErr(t, fmt.Sprintf("waiter %d after Close", i), w.result(t, s, "a waiter after Close"), storage.ErrNotActive)
	}
}

func lockLocks(t T, s *subject, db storage.Database, l locker) {
	must(t, "Lock", l.Lock("a/b"))
	second := start(func() error { return l.Lock("a/b") })
	if !second.waits(t, s, "a second Lock") {
		return
	}
	_, err := db.SetAndUnlock("a/b", dataOf(1))
	must(t, "SetAndUnlock", err)
	must(t, "second Lock", second.result(t, s, "the second Lock"))
	third := start(lockCall(db, "a/b"))
	if !third.waits(t, s, "GetAndLock of a path that Lock holds") {
		return
	}
	must(t, "Unlock", db.Unlock("a/b"))
	must(t, "GetAndLock", third.result(t, s, "GetAndLock"))
	must(t, "Unlock", db.Unlock("a/b"))
	wantErr(t, "Unlock", db.Unlock("a/b"), storage.ErrLockNotFound)
}

func lockContext(t T, s *subject, db storage.Database, l locker) {
	must(t, "Lock", l.Lock("a/b"))
	cause := errors.New("the cause")
	for _, c := range []struct {
		name string
		want error
		ctx  func() (context.Context, func())
	}{
		{"cancelled", context.Canceled, func() (context.Context, func()) {
			ctx, cancel := context.WithCancel(context.Background())
			return ctx, cancel
		}},
		{"past its deadline", context.DeadlineExceeded, func() (context.Context, func()) {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			return ctx, func() { <-ctx.Done(); cancel() }
		}},
		{"cancelled with a cause", context.Canceled, func() (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(context.Background())
			return ctx, func() { cancel(cause) }
		}},
	} {
		ctx, end := c.ctx()
		w := start(func() error { return l.LockContext(ctx, "a/b") })
		if c.want == context.Canceled && !w.waits(t, s, "LockContext") {
			return
		}
		end()
		wantErr(t, "LockContext with a context "+c.name, w.result(t, s, "LockContext"), c.want)
		wantErr(t, "LockContext with a context that has ended", l.LockContext(ctx, "a/b"), c.want)
	}
	must(t, "Unlock", db.Unlock("a/b"))
	wantErr(t, "Unlock again: no context that gave up holds the lock", db.Unlock("a/b"), storage.ErrLockNotFound)
	must(t, "LockContext", l.LockContext(context.Background(), "a/b"))
	must(t, "Unlock", db.Unlock("a/b"))
}

func tryLock(t T, _ *subject, db storage.Database, l locker) {
	if !l.TryLock("a/b") {
		t.Fatalf("TryLock of a free path is false, want true")
	}
	if l.TryLock("a/b") {
		t.Errorf("TryLock of a locked path is true, want false")
	}
	if !l.TryLock("a/c") {
		t.Errorf("TryLock of another path is false, want true")
	}
	must(t, "Unlock", db.Unlock("a/b"))
	if !l.TryLock("a/b") {
		t.Errorf("TryLock after Unlock is false, want true")
	}
}

func lockMutualExclusion(t T, s *subject, db storage.Database) {
	const goroutines, rounds = 6, 15
	set(t, db, "a/b", 0)
	var inside atomic.Int32
	s.together(t, goroutines, func(int) {
		for range rounds {
			s.beats.advance()
			obj, err := db.GetAndLock("a/b")
			if err != nil {
				t.Errorf("GetAndLock: %v", err)
				return
			}
			if n := inside.Add(1); n != 1 {
				t.Errorf("%d goroutines hold the lock at once", n)
			}
			runtime.Gosched()
			inside.Add(-1)
			if _, err := db.SetAndUnlock("a/b", dataOf(numberOf(obj.Data)+1)); err != nil {
				t.Errorf("SetAndUnlock: %v", err)
				return
			}
		}
	})
	if got := numberOf(get(t, db, "a/b").Data); got != goroutines*rounds {
		t.Errorf("counter after %d locked increments is %d", goroutines*rounds, got)
	}
}
