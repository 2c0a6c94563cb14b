package ko

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// smallBuffer makes tables and compactions frequent.
const smallBuffer = 16 << 10

// faulty is a store on a disk that can lose power and that refuses what refuse says.
type faulty struct {
	disk  *memDisk
	layer *Layer

	// lock guards acked, the pairs whose write was acknowledged.
	lock  sync.Mutex
	acked map[string]bool
}

func newFaulty(t *testing.T, refuse func(operation) error) *faulty {
	f := &faulty{disk: newMemDisk(), acked: map[string]bool{}}
	f.disk.refuse = refuse
	f.layer = f.disk.layer(t, Options{WriteBuffer: smallBuffer})
	return f
}

// pair is one batch of two keys, in different directories, of which none may be alone.
func pair(name string, revision uint64) []storage.Change {
	data := fmt.Sprintf("%q", strings.Repeat(name, 20))
	return []storage.Change{
		{Key: "left/" + name, Object: object("left/"+name, 1, data), Revision: revision},
		{Key: "right/x/" + name, Object: object("right/x/"+name, 1, data), Revision: revision},
	}
}

// write commits pairs from several goroutines until the first error, or count each, and
// returns one of the errors.
func (f *faulty) write(count int) error {
	var group sync.WaitGroup
	failures := make(chan error, 4)
	var revision atomic.Uint64
	for g := range cap(failures) {
		group.Go(func() {
			for i := range count {
				name := fmt.Sprintf("%d-%05d", g, i)
				if err := f.layer.Commit(pair(name, revision.Add(1))); err != nil {
					failures <- err
					return
				}
				f.lock.Lock()
				f.acked[name] = true
				f.lock.Unlock()
			}
		})
	}
	group.Wait()
	close(failures)
	return <-failures
}

// checkRefuses checks a store after its disk failed.
func (f *faulty) checkRefuses(t *testing.T, cause error) {
	t.Helper()
	for name, err := range map[string]error{
		"Set":            f.layer.Set("more", object("more", 1, "1")),
		"Commit":         f.layer.Commit(pair("more", 1<<40)),
		"a clear":        f.layer.Commit([]storage.Change{{Revision: 1 << 40}}),
		"MarkIncomplete": f.layer.MarkIncomplete("x"),
		"Compact":        f.layer.Compact(t.Context()),
	} {
		var refused *storage.EntryError
		if !errors.Is(err, cause) || errors.As(err, &refused) {
			t.Errorf("%s after the failure: %v, expected the cause %v", name, err, cause)
		}
	}
	f.checkHolds(t, f.layer)
}

// checkHolds checks that all that was acknowledged is there, and no half of a pair.
func (f *faulty) checkHolds(t *testing.T, l *Layer) {
	t.Helper()
	objects, err := l.Load()
	if err != nil {
		t.Errorf("read: %v", err)
		return
	}
	f.lock.Lock()
	defer f.lock.Unlock()
	for name := range f.acked {
		if objects["left/"+name] == nil || objects["right/x/"+name] == nil {
			t.Errorf("the acknowledged %s is lost", name)
		}
	}
	for path := range objects {
		other, ok := strings.CutPrefix(path, "left/")
		other = "right/x/" + other
		if !ok {
			other = "left/" + strings.TrimPrefix(path, "right/x/")
		}
		if objects[other] == nil {
			t.Errorf("%s is there without %s", path, other)
		}
	}
}

// checkReopens checks what a start finds after power is lost now.
func (f *faulty) checkReopens(t *testing.T, rng *rand.Rand) {
	t.Helper()
	l := f.disk.crashed(rng).layer(t, Options{})
	if err := l.Start(storage.LayerOptions{}); err != nil {
		t.Errorf("start after a crash: %v", err)
		return
	}
	defer l.Close()
	f.checkHolds(t, l)
	if err := l.Set("left/after", object("left/after", 1, "1")); err != nil {
		t.Errorf("write after a crash: %v", err)
	}
}

// within fails the test when a call hangs.
func within(t *testing.T, what string, call func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		call()
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		panic(what + " hangs")
	}
}

// seeded returns a source of randomness whose seed is logged.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func TestFailingDisk(t *testing.T) {
	rng := seeded(t)
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
			f := newFaulty(t, func(op operation) error {
				if armed.Load() && c.file(op.name) && (c.kind == op.kind || c.kind == "" && op.kind != "remove") &&
					seen.Add(1) > int64(c.skip) {
					return c.cause
				}
				return nil
			})
			if err := f.layer.Start(storage.LayerOptions{}); err != nil {
				t.Fatal(err)
			}
			armed.Store(true)
			within(t, "write", func() {
				if err := f.write(20000); !errors.Is(err, c.cause) || !strings.Contains(err.Error(), f.layer.dir) {
					t.Errorf("the write that met the failure: %v, expected %v", err, c.cause)
				}
			})
			within(t, "use after the failure", func() { f.checkRefuses(t, c.cause) })
			f.checkReopens(t, rng)
			within(t, "Close", f.layer.Close)
			f.checkReopens(t, rng)
			armed.Store(false)
			if err := f.layer.Start(storage.LayerOptions{}); err != nil {
				t.Fatalf("start after the disk recovered: %v", err)
			}
			f.checkHolds(t, f.layer)
			if err := f.write(10); err != nil {
				t.Errorf("write after the disk recovered: %v", err)
			}
			within(t, "Close", f.layer.Close)
		})
	}
}

// After a failure nothing changes on the disk any more.
func TestNothingIsWrittenAfterAFailure(t *testing.T) {
	var failed atomic.Bool
	var after atomic.Int64
	f := newFaulty(t, func(op operation) error {
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
	within(t, "write", func() {
		if err := f.write(1000); !errors.Is(err, syscall.EIO) {
			t.Errorf("the write that met the failure: %v", err)
		}
	})
	f.checkRefuses(t, syscall.EIO)
	f.layer.Clear()
	within(t, "Close", f.layer.Close)
	// The four writers may have met the failure in the midst of one operation each.
	if n := after.Load(); n > 4 {
		t.Errorf("%d operations reached the disk after its failure", n)
	}
}

// The revision of a commit that failed is not used again, since the commit may be there after all.
func TestRevisionOfAFailedCommit(t *testing.T) {
	var armed atomic.Bool
	f := newFaulty(t, func(op operation) error {
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

// Whatever operation fails first, at start or later, for once or for good: nothing that
// was acknowledged is lost, nothing is there in part, nothing hangs.
func TestFailureAtEachOperation(t *testing.T) {
	rng := seeded(t)
	for range 40 {
		at, forGood := rng.Int64N([]int64{60, 600}[rng.IntN(2)]), rng.IntN(2) == 0
		var seen atomic.Int64
		f := newFaulty(t, func(operation) error {
			if n := seen.Add(1); n == at || forGood && n > at {
				return syscall.ENOSPC
			}
			return nil
		})
		within(t, "a run", func() {
			if err := f.layer.Start(storage.LayerOptions{}); err != nil {
				if !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("operation %d: start: %v", at, err)
				}
			} else if err := f.write(1000); err == nil {
				t.Logf("operation %d was none that matters", at)
			} else {
				if !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("operation %d: write: %v", at, err)
				}
				f.checkRefuses(t, syscall.ENOSPC)
			}
			f.checkReopens(t, rng)
			f.layer.Close()
			f.checkReopens(t, rng)
		})
		if t.Failed() {
			t.Fatalf("operation %d, for good %v", at, forGood)
		}
	}
}

// What LevelDB makes no sense of stops writing, and is refused at a start.
func TestRecordThatMakesNoSense(t *testing.T) {
	disk := newMemDisk()
	l := started(t, disk.layer(t, Options{}))
	set(t, l, "a")
	l.Close()
	for name, file := range disk.live {
		if isLog(name) {
			// A batch of 5 records that holds none.
			file.data = appendChunk(file.data, fullChunk, "\xff\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00")
			file.synced = len(file.data)
		}
	}
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
			f := newFaulty(t, func(op operation) error {
				if armed.Load() && refused(op.name) && (op.kind == "create" || op.kind == "write") {
					return syscall.ENOSPC
				}
				return nil
			})
			if err := f.layer.Start(storage.LayerOptions{}); err != nil {
				t.Fatal(err)
			}
			set(t, f.layer, "small")
			armed.Store(true)
			large := object("large", 1, `"`+strings.Repeat("x", 4*smallBuffer)+`"`)
			within(t, "writes", func() {
				var err error
				for n := 0; err == nil && n < 10; n++ {
					err = f.layer.Commit([]storage.Change{{Key: "large", Object: large, Revision: uint64(n)}})
				}
				if !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("large batches on a full disk: %v", err)
				}
			})
			within(t, "Close", f.layer.Close)
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
	l := started(t, disk.layer(t, Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))}))
	set(t, l, "a")
	armed.Store(true)
	l.Close()
	if got := logged.String(); !strings.Contains(got, "ko: close") || !strings.Contains(got, syscall.EIO.Error()) {
		t.Errorf("logged is %q, expected the failure of Close", got)
	}
	armed.Store(false)
	logged.Reset()
	l = started(t, disk.layer(t, Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))}))
	l.disk.fail(syscall.EIO)
	l.Clear()
	if got := logged.String(); !strings.Contains(got, "clear failed") || !strings.Contains(got, syscall.EIO.Error()) {
		t.Errorf("logged is %q, expected the failure of Clear", got)
	}
}
