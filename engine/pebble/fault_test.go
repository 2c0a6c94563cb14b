package pebble

import (
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// isMutation is what a full or failing disk can refuse.
func isMutation(kind errorfs.OpKind) bool {
	switch kind {
	case errorfs.OpCreate, errorfs.OpReuseForWrite, errorfs.OpRename, errorfs.OpFileWrite,
		errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		return true
	}
	return false
}

// smallTables makes flushes and compactions frequent.
const smallTables = 64 << 10

// newFaulty returns a store on a disk that refuses what refuse says.
func newFaulty(refuse func(errorfs.Op) error, rng *rand.Rand) *enginetest.Faulty {
	disk := vfs.NewCrashableMem()
	injecting := errorfs.Wrap(disk, errorfs.InjectorFunc(refuse))
	l := New("store", Options{FS: injecting, MemTableSize: smallTables})
	return &enginetest.Faulty{
		Layer: l,
		Place: l.dir,
		Times: 20,
		Crashed: func(testing.TB) enginetest.Layer {
			return New(l.dir, Options{FS: disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(3) * 50, RNG: rng})})
		},
	}
}

func TestFailingDisk(t *testing.T) {
	rng := testrand.New(t)
	isLog := func(path string) bool { return strings.HasSuffix(path, ".log") }
	isTable := func(path string) bool { return strings.HasSuffix(path, ".sst") }
	isManifest := func(path string) bool { return strings.Contains(path, "MANIFEST") }
	isDir := func(path string) bool { return path == "store" }
	isSync := func(kind errorfs.OpKind) bool {
		return kind == errorfs.OpFileSync || kind == errorfs.OpFileSyncData || kind == errorfs.OpFileSyncTo
	}
	isWrite := func(kind errorfs.OpKind) bool { return kind == errorfs.OpFileWrite }
	isCreate := func(kind errorfs.OpKind) bool {
		return kind == errorfs.OpCreate || kind == errorfs.OpReuseForWrite
	}
	for _, c := range []struct {
		name  string
		file  func(string) bool
		kind  func(errorfs.OpKind) bool
		cause error
		// skip is how many such operations succeed first.
		skip int
	}{
		{"full disk on a write of the log", isLog, isWrite, syscall.ENOSPC, 50},
		{"failed sync of the log", isLog, isSync, syscall.EIO, 50},
		{"full disk on the rotation of the log", isLog, isCreate, syscall.ENOSPC, 1},
		{"full disk on the creation of a table", isTable, isCreate, syscall.ENOSPC, 0},
		{"full disk on a write of a table", isTable, isWrite, syscall.ENOSPC, 3},
		{"failed sync of a table", isTable, isSync, syscall.EIO, 3},
		{"full disk on a late table", isTable, isCreate, syscall.ENOSPC, 12},
		{"full disk on a write of the manifest", isManifest, isWrite, syscall.ENOSPC, 0},
		{"failed sync of the manifest", isManifest, isSync, syscall.EIO, 2},
		{"failed sync of the directory", isDir, isSync, syscall.EIO, 0},
		{"everything fails", func(string) bool { return true }, isMutation, syscall.EIO, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			var armed atomic.Bool
			var seen atomic.Int64
			f := newFaulty(func(op errorfs.Op) error {
				if armed.Load() && c.file(op.Path) && c.kind(op.Kind) && seen.Add(1) > int64(c.skip) {
					return c.cause
				}
				return nil
			}, rng)
			enginetest.Start(t, f.Layer)
			armed.Store(true)
			f.TestFailure(t, c.cause, func() { armed.Store(false) })
		})
	}
}

func TestFailureAtEachOperation(t *testing.T) {
	enginetest.TestFailureAtEachOperation(t, func(rng *rand.Rand, refuse func() error) *enginetest.Faulty {
		return newFaulty(func(op errorfs.Op) error {
			if isMutation(op.Kind) {
				return refuse()
			}
			return nil
		}, rng)
	})
}

// Power is lost while writers write: all that was acknowledged by then is there.
func TestCrashKeepsTheAcknowledged(t *testing.T) {
	f := newFaulty(func(errorfs.Op) error { return nil }, testrand.New(t))
	f.TestCrashes(t, 10)
}

// Deletes, clears and the last revision survive power loss too.
func TestCrashKeepsDeletes(t *testing.T) {
	disk := vfs.NewCrashableMem()
	l := start(t, "a/deep/store", Options{FS: disk})
	crashed := func() enginetest.Layer {
		return New("a/deep/store", Options{FS: disk.CrashClone(vfs.CrashCloneCfg{})})
	}
	enginetest.TestCrashKeepsDeletes(t, l, crashed)
	if err := l.Commit([]storage.Change{{Clear: true, Revision: 42}}); err != nil {
		t.Fatal(err)
	}
	if got, err := enginetest.Start(t, crashed()).LastRevision(); err != nil || got != 42 {
		t.Errorf("after a crash the last revision is %d, %v", got, err)
	}
}

// Without sync, a crash loses the newest writes only, and Close loses none.
func TestNoSyncClosesDurably(t *testing.T) {
	disk := vfs.NewCrashableMem()
	l := start(t, "store", Options{FS: disk, Durability: DurabilityNoSync})
	enginetest.Set(t, l, "a", "b", "c")
	l.Close()
	l = start(t, "store", Options{FS: disk.CrashClone(vfs.CrashCloneCfg{})})
	if got := enginetest.Keys(t, l); len(got) != 3 {
		t.Errorf("after Close and a crash there is %q", got)
	}
}

// What Pebble takes for fatal stops writing, and ends nothing.
func TestFatalfStopsWriting(t *testing.T) {
	var logged strings.Builder
	l := start(t, "store", Options{FS: vfs.NewMem(), Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	enginetest.Set(t, l, "a")
	logger{to: l.life.Log(), disk: opened(l).disk}.Fatalf("a contradiction\n in file %d", 7)
	err := l.Set("b", enginetest.Object("b", 1, "1"))
	if err == nil || !strings.Contains(err.Error(), "a contradiction in file 7") {
		t.Errorf("a write after it: %v", err)
	}
	if _, err := l.Get("a"); err != nil {
		t.Errorf("a read after it: %v", err)
	}
	enginekit.Drain(l.life.Log())
	if !strings.Contains(logged.String(), "a contradiction in file 7") {
		t.Errorf("logged is %q", logged.String())
	}
}

// The entry of a manifest is on the disk before the marker that names it is made.
func TestManifestBeforeItsMarker(t *testing.T) {
	disk := vfs.NewCrashableMem()
	for range 2 {
		synced, markers := false, 0
		injecting := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
			switch {
			case op.Kind == errorfs.OpFileSync && op.Path == "store":
				synced = true
			case op.Kind == errorfs.OpCreate && strings.Contains(op.Path, "store/MANIFEST"):
				synced = false
			case op.Kind == errorfs.OpCreate && strings.Contains(op.Path, manifestMarker):
				markers++
				if !synced {
					t.Errorf("%s is made before the manifest's entry is synced", op.Path)
				}
			}
			return nil
		}))
		l := New("store", Options{FS: injecting})
		if err := l.Start(storage.LayerOptions{}); err != nil {
			t.Fatal(err)
		}
		l.Close()
		if markers == 0 {
			t.Error("no marker was made")
		}
	}
}
