package sqlite

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/storage"
)

// refused checks that a batch was refused for a reason, and returns the change that is blamed.
func refused(t *testing.T, err error, text string) int {
	t.Helper()
	var entry *storage.EntryError
	if !errors.As(err, &entry) || !strings.Contains(err.Error(), text) {
		t.Fatalf("the error is %v, expected an EntryError with %q", err, text)
	}
	return entry.Index
}

// limit lets the file have so many pages more than it has, which SQLite takes for a full disk.
func limit(t *testing.T, l *Layer, pages int) {
	t.Helper()
	s, err := opened(l).writer.prepare(`PRAGMA page_count`)
	if err != nil {
		t.Fatal(err)
	}
	s.Step()
	pages += s.ColumnInt(0)
	if err := errors.Join(s.Reset(), opened(l).writer.db.Exec(fmt.Sprintf(`PRAGMA max_page_count = %d`, pages))); err != nil {
		t.Fatal(err)
	}
}

func TestFullFile(t *testing.T) {
	l := start(t, in(t.TempDir()), Options{})
	enginetest.Set(t, l, "a", "b", "c")
	limit(t, l, 2)
	large := fmt.Sprintf("%q", strings.Repeat("x", 100_000))
	err := l.Commit([]storage.Change{
		{Key: "a", Object: enginetest.Object("a", 1, `"new"`), Revision: 1},
		{Key: "b", Revision: 2},
		{Key: "large", Object: enginetest.Object("large", 1, large), Revision: 3},
		{Key: "d", Object: enginetest.Object("d", 1, "1"), Revision: 4},
	})
	if at := refused(t, err, "the disk is full; make room"); at != 2 {
		t.Errorf("change %d is refused, expected 2, the large one", at)
	}
	if err := l.Set("large", enginetest.Object("large", 1, large)); err == nil || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("a Set: %v", err)
	}
	if got, err := l.Get("a"); err != nil || string(got.Data) != `"a"` || len(enginetest.Keys(t, l)) != 3 {
		t.Errorf("after the refusals a is %s, %v, and there is %q", got.Data, err, enginetest.Keys(t, l))
	}
	if revision, err := l.LastRevision(); err != nil || revision != 0 {
		t.Errorf("after the refusals the last revision is %d, %v", revision, err)
	}
	// What fits is written, and what makes room.
	if err := l.Commit([]storage.Change{{Key: "d", Object: enginetest.Object("d", 1, "1"), Revision: 5}, {Key: "b", Revision: 6}}); err != nil {
		t.Errorf("a small batch: %v", err)
	}
	enginetest.CheckSound(t, l)
	limit(t, l, 1000)
	if err := l.Set("large", enginetest.Object("large", 1, large)); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// A store over a full disk fails the writes that it has no room for, and takes others.
func TestFullFileUnderAStore(t *testing.T) {
	l := New(in(t.TempDir()), Options{})
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: l})
	if err := store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	limit(t, l, 2)
	large := []byte(fmt.Sprintf("%q", strings.Repeat("x", 100_000)))
	failures := make(chan error)
	for i := range 64 {
		go func() {
			if i%2 == 0 {
				_, err := store.Set(fmt.Sprint("large/", i), large)
				if err == nil {
					err = errors.New("a large write was taken")
				} else if strings.Contains(err.Error(), "disk is full") && !errors.Is(err, storage.ErrWritesStopped) {
					err = nil
				}
				failures <- err
				return
			}
			_, err := store.Set(fmt.Sprint("small/", i), []byte("1"))
			failures <- err
		}()
	}
	for range 64 {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
	if got, err := store.Keys(); err != nil || len(got) != 32 {
		t.Errorf("there are %d keys, %v, expected the 32 small ones", len(got), err)
	}
}

// The operating system says that there is no room for a page of the log, from some time on.
func TestFullDisk(t *testing.T) {
	var full atomic.Bool
	f := newFaulty(t, nil, Options{}, func(op diskOp) error {
		if op.is("write", logFile) && full.Load() {
			return syscall.ENOSPC
		}
		return nil
	})
	f.layer.options.longLog = defaultLongLog
	if err := f.layer.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(20); err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	var changes []storage.Change
	for i := range 50 {
		changes = append(changes, pair(fmt.Sprint("full-", i), uint64(1000+2*i))...)
	}
	changes[33].Object.Data = []byte(fmt.Sprintf("%q", strings.Repeat("x", 5000)))
	at := refused(t, f.layer.Commit(changes), "the disk is full; make room")
	if at != 33 {
		t.Errorf("change %d is refused, expected the one with the most data", at)
	}
	if !errors.Is(f.layer.Commit(changes), syscall.ENOSPC) {
		t.Error("the error does not hold the cause")
	}
	// The store tries again without the one that was refused, and so on: while the disk is
	// known to be full, nothing is put together to find that out.
	if at := refused(t, f.layer.Commit(changes), "the disk is full"); at != 0 {
		t.Errorf("change %d is refused, expected the first, before any was made", at)
	}
	f.CheckHeld(t, f.layer)
	if got, err := f.layer.Get("left/full-1"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("a refused object is there: %s, %v", got.Data, err)
	}
	full.Store(false)
	if err := f.layer.Commit(changes); err != nil {
		t.Errorf("with room again: %v", err)
	}
	enginetest.CheckSound(t, f.layer)
}

// On a full disk the log, which has its room already, is used anew, so that something can be
// deleted.
func TestFullDiskTakesDeletes(t *testing.T) {
	limit := int64(1 << 40)
	f := newFaulty(t, nil, Options{}, nil)
	f.layer.options.longLog = 1 << 30
	f.disk.refuseWrite = func(path string, end int64) error {
		if strings.HasSuffix(path, logFile) && end > limit {
			return syscall.ENOSPC
		}
		return nil
	}
	if err := f.layer.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(100); err != nil {
		t.Fatal(err)
	}
	limit = f.disk.size(logFile)
	for i := range 20 {
		if err := f.layer.Del(fmt.Sprintf("left/0-%05d", i)); err != nil {
			t.Fatalf("delete %d: %v", i, err)
		}
	}
}

// holder is another program, in a transaction that writes.
func holdFile(t *testing.T, file string) *sqlite3.Conn {
	t.Helper()
	other, err := sqlite3.Open(file)
	if err == nil {
		err = other.Exec(`BEGIN IMMEDIATE; UPDATE objects SET updated = 1`)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	})
	return other
}

func TestAnotherProgramWrites(t *testing.T) {
	file := in(t.TempDir())
	l := start(t, file, Options{})
	enginetest.Set(t, l, "a", "b")
	other := holdFile(t, file)
	if err := opened(l).writer.db.BusyTimeout(1); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		refused(t, l.Commit(pair("x", 1)), "another program is writing to the file")
	}
	if got, err := l.Get("a"); err != nil || got.Updated != 0 {
		t.Errorf("a read meanwhile: %+v, %v", got, err)
	}
	if err := other.Exec(`ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	if err := l.Commit(pair("x", 1)); err != nil {
		t.Errorf("after it: %v", err)
	}
}

// A write waits for another program that is quick.
func TestAnotherProgramWritesQuickly(t *testing.T) {
	file := in(t.TempDir())
	l := start(t, file, Options{})
	enginetest.Set(t, l, "a", "b")
	other := holdFile(t, file)
	done := make(chan error)
	go func() { done <- l.Commit(pair("x", 1)) }()
	select {
	case err := <-done:
		t.Fatalf("the write did not wait: %v", err)
	default:
	}
	if err := other.Exec(`COMMIT`); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got, err := l.Get("a"); err != nil || got.Updated != 1 {
		t.Errorf("what the other program wrote: %+v, %v", got, err)
	}
}
