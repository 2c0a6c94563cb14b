package sqlite

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/storage"
)

// shortLog makes moves of the log into the file frequent.
const shortLog = 40

// faulty is a store on a disk that can lose power and that refuses what refuse says.
type faulty struct {
	*enginetest.Faulty
	disk  *disk
	layer *Layer
}

// newFaulty makes a file on a sound disk, on which a layer that is not started yet meets refusals.
func newFaulty(t testing.TB, rng *rand.Rand, o Options, refuse func(diskOp) error) *faulty {
	t.Helper()
	file := in(t.TempDir())
	start(t, file, Options{}).Close()
	d := newDisk(t, refuse)
	o.vfs, o.longLog = d.name, shortLog
	l := New(file, o)
	t.Cleanup(l.Close)
	return &faulty{disk: d, layer: l, Faulty: &enginetest.Faulty{
		Layer: l,
		Place: file,
		Times: pairTimes,
		Crashed: func(t testing.TB) enginetest.Layer {
			return New(d.crash(t, rng, float64(rng.IntN(3))/2), Options{})
		},
		Refused: func(t testing.TB) map[string]error {
			return map[string]error{
				"Del":            l.Del("left/0-00000"),
				"Compact":        l.Compact(t.Context()),
				"MarkIncomplete": l.MarkIncomplete("x"),
			}
		},
	}}
}

// pairTimes is how often the data of a pair holds its name.
const pairTimes = 100

func pair(name string, revision uint64) []storage.Change {
	return enginetest.Pair(name, revision, pairTimes)
}

// A write that returned was synced, and one without sync was not: the log of the disk says so.
func TestEachCommitIsSynced(t *testing.T) {
	for _, durability := range []Durability{DurabilitySync, DurabilityNoSync} {
		f := newFaulty(t, nil, Options{Durability: durability}, nil)
		if err := f.layer.Start(storage.LayerOptions{}); err != nil {
			t.Fatal(err)
		}
		left := 0
		for i := range 20 {
			path := fmt.Sprint("a/", i)
			for name, call := range map[string]func() error{
				"Set":    func() error { return f.layer.Set(path, enginetest.Object(path, 1, "1")) },
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
	rng := testrand.New(t)
	f := newFaulty(t, rng, Options{}, nil)
	if err := f.layer.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	written, compacted := make(chan error, 1), make(chan error, 1)
	go func() { written <- f.Commit(300) }()
	go func() {
		var err error
		for range 5 {
			err = cmp.Or(err, f.layer.Compact(t.Context()))
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
		f.CheckCrash(t, f.Now())
	}
	if err := <-compacted; err != nil {
		t.Error(err)
	}
	f.CheckCrash(t, f.Now())
}

// Without sync a crash loses the newest writes only, and Close loses none.
func TestCrashWithoutSyncLosesTheNewest(t *testing.T) {
	rng := testrand.New(t)
	f := newFaulty(t, rng, Options{Durability: DurabilityNoSync}, nil)
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
		new(enginetest.Pairs).CheckHeld(t, l)
		kept := enginetest.CheckSound(t, l) / 2
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
	if n := enginetest.CheckSound(t, l); n != 400 {
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
			rng := testrand.New(t)
			var armed atomic.Bool
			var seen atomic.Int64
			f := newFaulty(t, rng, Options{}, func(op diskOp) error {
				if armed.Load() && c.refuses(op) && seen.Add(1) > c.skip {
					return syscall.EIO
				}
				return nil
			})
			var writes int64 // such operations, when the writing had stopped
			refused := f.Refused
			f.Refused = func(t testing.TB) map[string]error {
				writes = seen.Load()
				return refused(t)
			}
			enginetest.Start(t, f.layer)
			armed.Store(true)
			f.TestFailure(t, syscall.EIO, func() {
				if n := seen.Load(); n != writes {
					t.Errorf("after the failure there were %d more such operations", n-writes)
				}
				armed.Store(false)
			})
		})
	}
}

// Whatever operation fails first, for once or for good: nothing that was acknowledged is lost, and
// nothing is there in part.
func TestFailureAtEachOperation(t *testing.T) {
	rng := testrand.New(t)
	for range 40 {
		at, forGood := rng.Int64N([]int64{30, 600}[rng.IntN(2)]), rng.IntN(2) == 0
		cause := []error{syscall.EIO, syscall.ENOSPC}[rng.IntN(2)]
		var seen atomic.Int64
		f := newFaulty(t, rng, Options{}, func(diskOp) error {
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
			if err := f.Commit(100); err != nil && !errors.Is(err, cause) {
				t.Errorf("write: %v", err)
			}
			f.CheckHeld(t, f.layer)
		}
		f.CheckCrash(t, &f.Pairs)
		f.layer.Close()
		f.CheckCrash(t, &f.Pairs)
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
			if err := l.Set("a", enginetest.Object("a", 1, "1")); failed == (err == nil) && failed {
				t.Errorf("operation %d failed, and nobody noticed", at)
			}
		}
		l.Close()
		l = start(t, file, Options{})
		enginetest.CheckSound(t, l)
		l.Close()
		if !failed {
			t.Logf("%d operations", seen)
			return
		}
	}
	t.Error("the making of a file never ends")
}
