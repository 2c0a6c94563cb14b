package ko

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// smallBuffer makes tables and compactions frequent.
const smallBuffer = 16 << 10

// faulty is a store on a disk that can lose power and that refuses what refuse says.
type faulty struct {
	*enginetest.Faulty
	disk  *memDisk
	layer *Layer
}

func newFaulty(t testing.TB, rng *rand.Rand, refuse func(operation) error) *faulty {
	disk := newMemDisk()
	disk.refuse = refuse
	l := disk.layer(t, Options{WriteBuffer: smallBuffer})
	return &faulty{disk: disk, layer: l, Faulty: &enginetest.Faulty{
		Layer:   l,
		Place:   l.dir,
		Times:   20,
		Crashed: func(t testing.TB) enginetest.Layer { return disk.crashed(rng).layer(t, Options{}) },
		Refused: func(t testing.TB) map[string]error {
			return map[string]error{
				"a clear":        l.Commit([]storage.Change{{Clear: true, Revision: 1 << 40}}),
				"MarkIncomplete": l.MarkIncomplete("x"),
				"Compact":        l.Compact(t.Context()),
			}
		},
	}}
}

func TestFailingDisk(t *testing.T) {
	rng := testrand.New(t)
	anything := func(string) bool { return true }
	for _, c := range []struct {
		name  string
		file  func(string) bool
		kind  string
		cause error
		// skip is how many such operations succeed first.
		skip int
	}{
		{"full disk on a write of the log", isLog, "write", syscall.ENOSPC, 50},
		{"failed sync of the log", isLog, "sync", syscall.EIO, 50},
		{"failed close of the log", isLog, "close", syscall.EIO, 1},
		{"full disk on the rotation of the log", isLog, "create", syscall.ENOSPC, 1},
		{"full disk on the creation of a table", isTable, "create", syscall.ENOSPC, 0},
		{"full disk on a write of a table", isTable, "write", syscall.ENOSPC, 3},
		{"failed sync of a table", isTable, "sync", syscall.EIO, 3},
		{"full disk on a late table", isTable, "create", syscall.ENOSPC, 12},
		{"full disk on a write of the manifest", isManifest, "write", syscall.ENOSPC, 0},
		{"failed sync of the manifest", isManifest, "sync", syscall.EIO, 2},
		{"failed sync of the directory", anything, "syncdir", syscall.EIO, 1},
		{"full disk on the note of revisions", func(name string) bool { return name == revisionFile }, "note", syscall.ENOSPC, 0},
		{"everything fails", anything, "", syscall.EIO, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			var armed atomic.Bool
			var seen atomic.Int64
			f := newFaulty(t, rng, func(op operation) error {
				if armed.Load() && c.file(op.name) && (c.kind == op.kind || c.kind == "" && op.kind != "remove") &&
					seen.Add(1) > int64(c.skip) {
					return c.cause
				}
				return nil
			})
			enginetest.Start(t, f.layer)
			armed.Store(true)
			f.TestFailure(t, c.cause, func() { armed.Store(false) })
		})
	}
}

// After a failure nothing changes on the disk any more.
func TestNothingIsWrittenAfterAFailure(t *testing.T) {
	var failed atomic.Bool
	var after atomic.Int64
	f := newFaulty(t, nil, func(op operation) error {
		if failed.Load() && op.kind != "close" {
			after.Add(1)
		}
		if isLog(op.name) && op.kind == "sync" && !failed.Swap(true) {
			return syscall.EIO
		}
		return nil
	})
	if err := f.layer.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	enginetest.Within(t, "write", func() {
		if err := f.Commit(1000); !errors.Is(err, syscall.EIO) {
			t.Errorf("the write that met the failure: %v", err)
		}
	})
	f.CheckRefuses(t, syscall.EIO)
	f.layer.Clear()
	enginetest.Within(t, "Close", f.layer.Close)
	// The four writers may have met the failure in the midst of one operation each.
	if n := after.Load(); n > 4 {
		t.Errorf("%d operations reached the disk after its failure", n)
	}
}

// The revision of a commit that failed is not used again, since the commit may be there after all.
func TestRevisionOfAFailedCommit(t *testing.T) {
	var armed atomic.Bool
	f := newFaulty(t, nil, func(op operation) error {
		if armed.Load() && isLog(op.name) && op.kind == "sync" {
			return syscall.EIO
		}
		return nil
	})
	if err := f.layer.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	commitAt(t, f.layer, "a", 5)
	armed.Store(true)
	if err := f.layer.Commit([]storage.Change{{Key: "a", Revision: 6}}); !errors.Is(err, syscall.EIO) {
		t.Fatalf("the commit: %v", err)
	}
	wantLast(t, f.layer, "after a failed commit", 5)
	if _, err := f.layer.Get("a"); err != nil {
		t.Errorf("a failed delete shows: %v", err)
	}
	f.layer.Close()
	armed.Store(false)
	if err := f.layer.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	defer f.layer.Close()
	if last, err := f.layer.LastRevision(); err != nil || last < 6 {
		t.Errorf("after a restart the last revision is %d, %v, expected at least 6", last, err)
	}
}

func TestFailureAtEachOperation(t *testing.T) {
	enginetest.TestFailureAtEachOperation(t, func(rng *rand.Rand, refuse func() error) *enginetest.Faulty {
		return newFaulty(t, rng, func(operation) error { return refuse() }).Faulty
	})
}

// What LevelDB makes no sense of stops writing, and is refused at a start.
func TestRecordThatMakesNoSense(t *testing.T) {
	disk := newMemDisk()
	l := enginetest.Start(t, disk.layer(t, Options{}))
	enginetest.Set(t, l, "a")
	l.Close()
	for name, file := range disk.live {
		if isLog(name) {
			// A batch of 5 records that holds none.
			file.data = enginetest.AppendChunk(file.data, enginetest.FullChunk, "\xff\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00")
			file.synced = len(file.data)
		}
	}
	delete(disk.live, revisionFile) // or it is known not to be as it was closed
	before := disk.logs()
	for range 2 {
		err := l.Start(storage.LayerOptions{})
		if !errors.Is(err, errSkipped) || !strings.Contains(err.Error(), "recover=on") {
			l.Close()
			t.Fatalf("the start: %v", err)
		}
	}
	if after := disk.logs(); after != before {
		t.Errorf("the refused log has changed from %q to %q", before, after)
	}
}

// logs is the content of the logs with records.
func (d *memDisk) logs() string {
	d.lock.Lock()
	defer d.lock.Unlock()
	var b strings.Builder
	for name, file := range d.live {
		if isLog(name) && len(file.data) > 0 {
			fmt.Fprintf(&b, "%s %x\n", name, file.data)
		}
	}
	return b.String()
}

// A batch beyond the write buffer that meets a failing disk leaves nothing locked.
func TestLargeBatchOnAFailingDisk(t *testing.T) {
	for name, refused := range map[string]func(string) bool{"log": isLog, "table": isTable, "manifest": isManifest} {
		t.Run(name, func(t *testing.T) {
			var armed atomic.Bool
			f := newFaulty(t, nil, func(op operation) error {
				if armed.Load() && refused(op.name) && (op.kind == "create" || op.kind == "write") {
					return syscall.ENOSPC
				}
				return nil
			})
			if err := f.layer.Start(storage.LayerOptions{}); err != nil {
				t.Fatal(err)
			}
			enginetest.Set(t, f.layer, "small")
			armed.Store(true)
			large := enginetest.Object("large", 1, `"`+strings.Repeat("x", 4*smallBuffer)+`"`)
			enginetest.Within(t, "writes", func() {
				var err error
				for n := 0; err == nil && n < 10; n++ {
					err = f.layer.Commit([]storage.Change{{Key: "large", Object: large, Revision: uint64(n)}})
				}
				if !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("large batches on a full disk: %v", err)
				}
			})
			enginetest.Within(t, "Close", f.layer.Close)
			armed.Store(false)
			if err := f.layer.Start(storage.LayerOptions{}); err != nil {
				t.Fatal(err)
			}
			if _, err := f.layer.Get("small"); err != nil {
				t.Error(err)
			}
			f.layer.Close()
		})
	}
}

// The errors of Clear and Close, which return none, are logged.
func TestErrorsAreLogged(t *testing.T) {
	var armed atomic.Bool
	disk := newMemDisk()
	disk.refuse = func(op operation) error {
		if armed.Load() && op.kind == "note" {
			return syscall.EIO
		}
		return nil
	}
	var logged strings.Builder
	l := enginetest.Start(t, disk.layer(t, Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))}))
	enginetest.Set(t, l, "a")
	armed.Store(true)
	l.Close()
	enginekit.Drain(l.life.Log())
	if got := logged.String(); !strings.Contains(got, "ko: close") || !strings.Contains(got, syscall.EIO.Error()) {
		t.Errorf("logged is %q, expected the failure of Close", got)
	}
	armed.Store(false)
	logged.Reset()
	l = enginetest.Start(t, disk.layer(t, Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))}))
	databaseOf(l).disk.fail(syscall.EIO)
	l.Clear()
	enginekit.Drain(l.life.Log())
	if got := logged.String(); !strings.Contains(got, "clear failed") || !strings.Contains(got, syscall.EIO.Error()) {
		t.Errorf("logged is %q, expected the failure of Clear", got)
	}
}
