package sqlite

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginekit"
	"github.com/oolith-db/oolith/storage"
)

// shortLog makes moves of the log into the file frequent.
const shortLog = 40

// faulty is a store on a disk that can lose power and that refuses what refuse says.
type faulty struct {
	disk  *disk
	layer *Layer

	// lock guards acked, the pairs whose write was acknowledged.
	lock  sync.Mutex
	acked map[string]bool
}

// newFaulty makes a file on a sound disk, on which a layer that is not started yet meets refusals.
func newFaulty(t *testing.T, o Options, refuse func(diskOp) error) *faulty {
	t.Helper()
	file := in(t.TempDir())
	start(t, file, Options{}).Close()
	f := &faulty{disk: newDisk(t, refuse), acked: map[string]bool{}}
	o.vfs, o.longLog = f.disk.name, shortLog
	f.layer = New(file, o)
	t.Cleanup(f.layer.Close)
	return f
}

// pair is one batch of two keys, in different directories, of which none may be alone.
func pair(name string, revision uint64) []storage.Change {
	data := fmt.Sprintf("%q", strings.Repeat(name, 100))
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

// snapshot is the pairs that were acknowledged by now.
func (f *faulty) snapshot() map[string]bool {
	f.lock.Lock()
	defer f.lock.Unlock()
	acked := map[string]bool{}
	for name := range f.acked {
		acked[name] = true
	}
	return acked
}

// checkHolds checks that all that was acknowledged is there, and no half of a pair.
func checkHolds(t *testing.T, l *Layer, acked map[string]bool) {
	t.Helper()
	objects, err := l.Load()
	if err != nil {
		t.Errorf("read: %v", err)
		return
	}
	for name := range acked {
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

// checkSound checks that a check finds nothing, and returns how many objects it counts.
func checkSound(t testing.TB, l *Layer) int {
	t.Helper()
	n, err := l.Check(t.Context(), func(err error) { t.Errorf("the check finds: %v", err) })
	if err != nil {
		t.Errorf("check: %v", err)
	}
	return n
}

// checkCrash checks what a start finds after power is lost now.
func (f *faulty) checkCrash(t *testing.T, rng *rand.Rand, acked map[string]bool) {
	t.Helper()
	l := New(f.disk.crash(t, rng, float64(rng.IntN(3))/2), Options{})
	if err := l.Start(storage.LayerOptions{}); err != nil {
		t.Errorf("start after a crash: %v", err)
		return
	}
	defer l.Close()
	checkHolds(t, l, acked)
	checkSound(t, l)
	if err := l.Set("left/after", object("left/after", 1, "1")); err != nil {
		t.Errorf("write after a crash: %v", err)
	}
}

// A write that returned was synced, and one without sync was not: the log of the disk says so.
func TestEachCommitIsSynced(t *testing.T) {
	for _, durability := range []Durability{DurabilitySync, DurabilityNoSync} {
		f := newFaulty(t, Options{Durability: durability}, nil)
		if err := f.layer.Start(storage.LayerOptions{}); err != nil {
			t.Fatal(err)
		}
		left := 0
		for i := range 20 {
			path := fmt.Sprint("a/", i)
			for name, call := range map[string]func() error{
				"Set":    func() error { return f.layer.Set(path, object(path, 1, "1")) },
				"Del":    func() error { return f.layer.Del(path) },
				"Commit": func() error { return f.layer.Commit(pair(fmt.Sprint(i), uint64(i+1))) },
				"Clear":  func() error { f.layer.Clear(); return nil },
			} {
				if err := call(); err != nil && !errors.Is(err, storage.ErrNotFound) {
					t.Fatal(err)
				}
				n := f.disk.unsynced(logFile)
				if durability == DurabilitySync && n > 0 {
					t.Errorf("after %s %d writes of the log are not synced", name, n)
				}
				left += n
			}
		}
		if durability == DurabilityNoSync && left == 0 {
			t.Error("without sync all was synced")
		}
		if err := f.layer.MarkIncomplete("a copy"); err != nil || f.disk.unsynced(logFile) > 0 {
			t.Errorf("after MarkIncomplete, %v, %d writes of the log are not synced", err, f.disk.unsynced(logFile))
		}
		f.layer.Close()
		if n := f.disk.unsynced(mainFile); n > 0 {
			t.Errorf("after Close %d writes of the file are not synced", n)
		}
	}
}

// Power is lost while writers write and the file is compacted: all that was acknowledged by then
// is there.
func TestCrashKeepsTheAcknowledged(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	f := newFaulty(t, Options{}, nil)
	if err := f.layer.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	written, compacted := make(chan error, 1), make(chan error, 1)
	go func() { written <- f.write(300) }()
	go func() {
		var err error
		for range 5 {
			err = enginekit.FirstError(err, f.layer.Compact(t.Context()))
		}
		compacted <- err
	}()
	for done := false; !done; {
		select {
		case err := <-written:
			if err != nil {
				t.Error(err)
			}
			done = true
		default:
		}
		acked := f.snapshot()
		f.checkCrash(t, rng, acked)
	}
	if err := <-compacted; err != nil {
		t.Error(err)
	}
	f.checkCrash(t, rng, f.snapshot())
}

// Without sync a crash loses the newest writes only, and Close loses none.
func TestCrashWithoutSyncLosesTheNewest(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	f := newFaulty(t, Options{Durability: DurabilityNoSync}, nil)
	if err := f.layer.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	lost := 0
	for n := range 200 {
		name := fmt.Sprintf("%05d", n)
		if err := f.layer.Commit(pair(name, uint64(n+1))); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(10) > 0 {
			continue
		}
		l := start(t, f.disk.crash(t, rng, float64(rng.IntN(3))/2), Options{})
		checkHolds(t, l, nil)
		kept := checkSound(t, l) / 2
		if kept > 0 {
			// As many as are there are the oldest.
			if _, err := l.Get(fmt.Sprintf("left/%05d", kept-1)); err != nil {
				t.Errorf("%d of %d pairs are there, and of the oldest as many: %v", kept, n+1, err)
			}
		}
		lost += n + 1 - kept
		l.Close()
	}
	if lost == 0 {
		t.Error("no crash lost anything: it tests nothing")
	}
	f.layer.Close()
	l := start(t, f.disk.crash(t, rng, 0), Options{})
	if n := checkSound(t, l); n != 400 {
		t.Errorf("after Close and a crash there are %d objects, expected 400", n)
	}
}

// After a failure of the disk nothing more is written, reads go on, and a start reads the truth.
func TestFailingDisk(t *testing.T) {
	for _, c := range []struct {
		name    string
		refuses func(diskOp) bool
		skip    int64 // how many such operations succeed first
	}{
		{"a write of the log", func(op diskOp) bool { return op.is("write", logFile) }, 50},
		{"the first sync of the log", func(op diskOp) bool { return op.is("sync", logFile) }, 0},
		{"a sync of the log", func(op diskOp) bool { return op.is("sync", logFile) }, 30},
		{"a write of the file", func(op diskOp) bool { return op.is("write", mainFile) }, 3},
		{"the first sync of the file", func(op diskOp) bool { return op.is("sync", mainFile) }, 0},
		{"a sync of the file", func(op diskOp) bool { return op.is("sync", mainFile) }, 2},
		{"everything", func(diskOp) bool { return true }, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 0))
			var armed atomic.Bool
			var seen atomic.Int64
			f := newFaulty(t, Options{}, func(op diskOp) error {
				if armed.Load() && c.refuses(op) && seen.Add(1) > c.skip {
					return syscall.EIO
				}
				return nil
			})
			if err := f.layer.Start(storage.LayerOptions{}); err != nil {
				t.Fatal(err)
			}
			armed.Store(true)
			if err := f.write(5000); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), f.layer.file) {
				t.Errorf("the write that met the failure: %v, expected %v", err, syscall.EIO)
			}
			writes := seen.Load()
			for name, err := range map[string]error{
				"Set":            f.layer.Set("more", object("more", 1, "1")),
				"Commit":         f.layer.Commit(pair("more", 1<<40)),
				"Del":            f.layer.Del("left/0-00000"),
				"Compact":        f.layer.Compact(t.Context()),
				"MarkIncomplete": f.layer.MarkIncomplete("x"),
			} {
				var refused *storage.EntryError
				if !errors.Is(err, syscall.EIO) || errors.As(err, &refused) {
					t.Errorf("%s after the failure: %v, expected the cause", name, err)
				}
			}
			checkHolds(t, f.layer, f.snapshot())
			f.checkCrash(t, rng, f.snapshot())
			f.layer.Close()
			if seen.Load() != writes {
				t.Errorf("after the failure there were %d more such operations", seen.Load()-writes)
			}
			f.checkCrash(t, rng, f.snapshot())
			armed.Store(false)
			if err := f.layer.Start(storage.LayerOptions{}); err != nil {
				t.Fatalf("start after the disk recovered: %v", err)
			}
			checkHolds(t, f.layer, f.snapshot())
			checkSound(t, f.layer)
			if err := f.write(3); err != nil {
				t.Errorf("write after the disk recovered: %v", err)
			}
		})
	}
}

// Whatever operation fails first, for once or for good: nothing that was acknowledged is lost, and
// nothing is there in part.
func TestFailureAtEachOperation(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 40 {
		at, forGood := rng.Int64N([]int64{30, 600}[rng.IntN(2)]), rng.IntN(2) == 0
		cause := []error{syscall.EIO, syscall.ENOSPC}[rng.IntN(2)]
		var seen atomic.Int64
		f := newFaulty(t, Options{}, func(diskOp) error {
			if n := seen.Add(1); n == at || forGood && n > at {
				return cause
			}
			return nil
		})
		if err := f.layer.Start(storage.LayerOptions{}); err != nil {
			if !errors.Is(err, cause) {
				t.Errorf("start: %v", err)
			}
		} else {
			if err := f.write(100); err != nil && !errors.Is(err, cause) {
				t.Errorf("write: %v", err)
			}
			checkHolds(t, f.layer, f.snapshot())
		}
		f.checkCrash(t, rng, f.snapshot())
		f.layer.Close()
		f.checkCrash(t, rng, f.snapshot())
		if t.Failed() {
			t.Fatalf("operation %d, for good %v, %v", at, forGood, cause)
		}
	}
}

// Nothing that fails in the making of a file leaves one that is half made.
func TestFailureInTheMaking(t *testing.T) {
	for at := range 200 {
		file := filepath.Join(t.TempDir(), "store.db")
		seen := 0
		d := newDisk(t, func(diskOp) error {
			if seen++; seen == at+1 {
				return syscall.EIO
			}
			return nil
		})
		l := New(file, Options{vfs: d.name})
		err := l.Start(storage.LayerOptions{})
		failed := seen > at
		if err == nil {
			if err := l.Set("a", object("a", 1, "1")); failed == (err == nil) && failed {
				t.Errorf("operation %d failed, and nobody noticed", at)
			}
		}
		l.Close()
		l = start(t, file, Options{})
		checkSound(t, l)
		l.Close()
		if !failed {
			t.Logf("%d operations", seen)
			return
		}
	}
	t.Error("the making of a file never ends")
}
