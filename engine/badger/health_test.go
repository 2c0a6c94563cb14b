package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/storage"
)

// The messages by which the layer learns what Badger passes over are in Badger's source.
func TestMessagesOfBadger(t *testing.T) {
	file, _ := runtime.FuncForPC(reflect.ValueOf(badger.Open).Pointer()).FileLine(0)
	sources, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*.go"))
	if err != nil || len(sources) == 0 {
		t.Fatalf("no sources beside %q, %v: build the test without -trimpath", file, err)
	}
	var all strings.Builder
	for _, name := range sources {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(content)
	}
	for _, call := range []string{
		`Errorf("` + syncFailed, `Errorf("` + flushFailed, `Errorf("` + writeFailed, `Errorf("` + tableIgnored,
		`Errorf("` + logNotRemoved, `Errorf("` + readFailed, `Errorf("` + readFailedMore, `Errorf("` + readInvalid,
		`Warningf("` + compactionFailed, `Debugf("` + tableNext, `Debugf("` + tableRotated,
		`"` + beforeListOfFlush, `"` + beforeListOfCompaction, `"` + overtaken,
	} {
		if !strings.Contains(all.String(), call) {
			t.Errorf("Badger has no message %q any more", call)
		}
	}
}

// A sync of the value log that failed is only logged by Badger. It stops the layer's writing.
func TestFailureThatIsOnlyLogged(t *testing.T) {
	for _, c := range []struct {
		name string
		log  func(g logger)
	}{
		{"sync of the value log", func(g logger) { g.Errorf(syncFailed+": %v\n", syscall.EIO) }},
		{"write of several requests", func(g logger) { g.Errorf(writeFailed+"%v", syscall.EIO) }},
		{"removal of a log", func(g logger) { g.Errorf(logNotRemoved+": %s, err: %v", "00001.mem", syscall.EIO) }},
		{"compaction that made no tables", func(g logger) {
			g.Warningf(compactionFailed+" with error: %+v: %+v", 1, fmt.Errorf("%s: x err: %v", beforeListOfCompaction, syscall.EIO), "a dump")
		}},
		{"flush that made no table", func(g logger) {
			g.Errorf(flushFailed+": %v, retrying", fmt.Errorf("%s err: %v", beforeListOfFlush, syscall.EIO))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			l := start(t, dir, small())
			enginetest.SetAll(t, l, "a", "b")
			c.log(logger{storeOf(l)})
			for name, err := range map[string]error{
				"Set":            l.Set("c", enginetest.Object("c", 1, "1")),
				"Del":            l.Del("a"),
				"Commit":         l.Commit([]storage.Change{{Key: "c", Object: enginetest.Object("c", 1, "1"), Revision: 1}}),
				"MarkIncomplete": l.MarkIncomplete("a copy"),
				"Compact":        l.Compact(t.Context()),
			} {
				if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), dir) {
					t.Errorf("%s after it: %v, expected its cause and the directory", name, err)
				}
				if refused, ok := errors.AsType[*storage.EntryError](err); ok {
					t.Errorf("%s after it refuses one entry: %v", name, refused)
				}
			}
			l.Clear()
			if got := enginetest.Keys(t, l); len(got) != 2 {
				t.Errorf("after it there is %q, expected what was there before", got)
			}
			enginetest.Within(t, "Close", l.Close)
			l = start(t, dir, small())
			enginetest.SetAll(t, l, "c")
			if got := enginetest.Keys(t, l); len(got) != 3 {
				t.Errorf("after a restart there is %q", got)
			}
		})
	}
}

// A compaction that another one made pointless is no failure.
func TestOvertakenCompaction(t *testing.T) {
	l := startSmall(t)
	logger{storeOf(l)}.Warningf(compactionFailed+" with error: %+v: %+v", 1, errors.New(overtaken+" 5 above base level 6"), "a dump")
	enginetest.SetAll(t, l, "a")
}

// A list of tables that may be in pieces is not appended to: who tried waits, Close does not wait
// for it, and the directory stays locked.
func TestTornList(t *testing.T) {
	dir := t.TempDir()
	options := small()
	options.hooks.patience = 50 * time.Millisecond
	l := start(t, dir, options)
	enginetest.SetAll(t, l, "a", "b")
	before := moment(t, dir)
	go logger{storeOf(l)}.Errorf(flushFailed+": %v, retrying", errors.New("write MANIFEST: no space left on device"))
	<-storeOf(l).health.failed
	for !storeOf(l).health.torn.Load() {
		runtime.Gosched()
	}
	if err := l.Set("c", enginetest.Object("c", 1, "1")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a write after it: %v, expected its cause", err)
	}
	enginetest.Within(t, "Close", l.Close)
	enginetest.Within(t, "Start", func() { mustRefuse(t, l, "could not be closed", "end the process") })
	mustRefuse(t, New(dir, small()), "in use")
	if after := moment(t, dir); after != before {
		t.Error("the files changed after the failure")
	}
	crashed := start(t, copyOf(t, dir), small())
	if got := enginetest.Keys(t, crashed); len(got) != 2 {
		t.Errorf("another process finds %q", got)
	}
}

// A panic within Badger is an error, and stops writing.
func TestPanicOfBadger(t *testing.T) {
	l := startSmall(t)
	enginetest.SetAll(t, l, "a")
	err := storeOf(l).guard(func() error { panic("a contradiction\nin two lines") })
	if err == nil || !strings.Contains(err.Error(), "badger panicked: a contradiction in two lines") {
		t.Errorf("the error is %v", err)
	}
	if err := l.Set("b", enginetest.Object("b", 1, "1")); err == nil || !strings.Contains(err.Error(), "a contradiction") {
		t.Errorf("a write after it: %v", err)
	}
	if _, err := l.Get("a"); err != nil {
		t.Errorf("a read after it: %v", err)
	}
}

// No commit is made when the disk is nearly full. Deletes are, for longer.
func TestNearlyFull(t *testing.T) {
	var disk atomic.Pointer[room] // upkeep looks at it too
	has := func(left int64) { disk.Store(&room{known: true, bytes: left}) }
	has(1 << 40)
	options := small()
	options.MinFree = 1 << 20
	options.hooks.room = func() (room, error) { return *disk.Load(), nil }
	l := start(t, t.TempDir(), options)
	enginetest.SetAll(t, l, enginetest.Numbered("d", 10)...)
	put := func() error { return l.Set("b", enginetest.Object("b", 1, "1")) }
	refused := func(name string, err error) {
		t.Helper()
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "make room") {
			t.Errorf("%s with %d bytes left: %v, expected a full disk", name, disk.Load().bytes, err)
		}
	}
	has(1<<20 + 100)
	err := put()
	refused("a put", err)
	if _, ok := errors.AsType[*storage.EntryError](err); ok {
		t.Errorf("a put that is no batch is refused as an entry of one: %v", err)
	}
	err = l.Commit([]storage.Change{{Key: "d/000001"}, {Key: "b", Object: enginetest.Object("b", 1, "1"), Revision: 1}})
	refused("a batch", err)
	if entry, ok := errors.AsType[*storage.EntryError](err); !ok || entry.Index != 1 {
		t.Errorf("a batch is refused with %v, expected an EntryError of the put", err)
	}
	if err := l.Del("d/000000"); err != nil {
		t.Errorf("a delete with %d bytes left: %v", disk.Load().bytes, err)
	}
	has(1 << 18)
	refused("a delete", l.Del("d/000001"))
	disk.Store(&room{known: true, bytes: 1 << 40, noFiles: true})
	refused("a put without a file", put())
	has(1 << 40)
	if err := put(); err != nil {
		t.Errorf("a put when there is room again: %v", err)
	}
	if got := enginetest.Keys(t, l); len(got) != 10 {
		t.Errorf("the keys are %q", got)
	}
	options.hooks.room = func() (room, error) { return room{known: true}, nil }
	mustRefuse(t, New(t.TempDir(), options), "full")
}
