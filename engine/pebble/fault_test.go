package pebble

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

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
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

// faulty is a store on a disk that can lose power and that refuses what refuse says.
type faulty struct {
	disk  *vfs.MemFS
	layer *Layer

	// lock guards acked, the pairs whose write was acknowledged.
	lock  sync.Mutex
	acked map[string]bool
}

func newFaulty(refuse func(errorfs.Op) error, memTable int) *faulty {
	f := &faulty{disk: vfs.NewCrashableMem(), acked: map[string]bool{}}
	injecting := errorfs.Wrap(f.disk, errorfs.InjectorFunc(refuse))
	f.layer = New("store", Options{FS: injecting, MemTableSize: memTable})
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
		"Set":    f.layer.Set("more", object("more", 1, "1")),
		"Commit": f.layer.Commit(pair("more", 1<<40)),
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
func (f *faulty) checkReopens(t *testing.T, unsynced int, seed uint64) {
	t.Helper()
	crashed := f.disk.CrashClone(vfs.CrashCloneCfg{
		UnsyncedDataPercent: unsynced, RNG: rand.New(rand.NewPCG(seed, 1)),
	})
	l := New("store", Options{FS: crashed})
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

func TestFailingDisk(t *testing.T) {
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
			}, smallTables)
			if err := f.layer.Start(storage.LayerOptions{}); err != nil {
				t.Fatal(err)
			}
			armed.Store(true)
			within(t, "write", func() {
				if err := f.write(20000); !errors.Is(err, c.cause) || !strings.Contains(err.Error(), "store") {
					t.Errorf("the write that met the failure: %v, expected %v", err, c.cause)
				}
			})
			within(t, "use after the failure", func() { f.checkRefuses(t, c.cause) })
			f.checkReopens(t, 0, 0)
			within(t, "Close", f.layer.Close)
			f.checkReopens(t, 0, 0)
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

// Whatever operation fails first, at start or later, for once or for good: nothing that
// was acknowledged is lost, nothing is there in part, nothing hangs.
func TestFailureAtEachOperation(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 60 {
		at, forGood := rng.Int64N([]int64{100, 600}[rng.IntN(2)]), rng.IntN(2) == 0
		var seen atomic.Int64
		f := newFaulty(func(op errorfs.Op) error {
			if !isMutation(op.Kind) {
				return nil
			}
			if n := seen.Add(1); n == at || forGood && n > at {
				return syscall.ENOSPC
			}
			return nil
		}, smallTables)
		within(t, "a run", func() {
			if err := f.layer.Start(storage.LayerOptions{}); err != nil {
				if !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("operation %d: start: %v", at, err)
				}
			} else if err := f.write(1000); err == nil {
				t.Logf("operation %d was never made", at)
			} else {
				if !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("operation %d: write: %v", at, err)
				}
				f.checkRefuses(t, syscall.ENOSPC)
			}
			f.checkReopens(t, rng.IntN(3)*50, seed)
			f.layer.Close()
			f.checkReopens(t, 0, seed)
		})
		if t.Failed() {
			t.Fatalf("operation %d, for good %v", at, forGood)
		}
	}
}

// Power is lost while writers write: all that was acknowledged by then is there.
func TestCrashKeepsTheAcknowledged(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	f := newFaulty(func(errorfs.Op) error { return nil }, smallTables)
	if err := f.layer.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	defer f.layer.Close()
	written := make(chan error, 1)
	go func() { written <- f.write(2000) }()
	for round := range 10 {
		f.lock.Lock()
		acked := map[string]bool{}
		for name := range f.acked {
			acked[name] = true
		}
		f.lock.Unlock()
		now := &faulty{disk: f.disk, acked: acked}
		now.checkReopens(t, round%3*50, seed+uint64(round))
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	f.checkReopens(t, 0, seed)
}

// Deletes, clears and the last revision survive power loss too.
func TestCrashKeepsDeletes(t *testing.T) {
	disk := vfs.NewCrashableMem()
	l := start(t, "a/deep/store", Options{FS: disk})
	reopened := func() *Layer {
		return start(t, "a/deep/store", Options{FS: disk.CrashClone(vfs.CrashCloneCfg{})})
	}
	set(t, l, "a", "b", "c")
	if err := l.Del("a"); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, reopened()); strings.Join(got, " ") != "b c" {
		t.Errorf("after a delete and a crash there is %q", got)
	}
	l.Clear()
	if got := keys(t, reopened()); len(got) != 0 {
		t.Errorf("after Clear and a crash there is %q", got)
	}
	if err := l.Commit([]storage.Change{{Revision: 42}}); err != nil {
		t.Fatal(err)
	}
	if got, err := reopened().LastRevision(); err != nil || got != 42 {
		t.Errorf("after a crash the last revision is %d, %v", got, err)
	}
}

// Without sync, a crash loses the newest writes only, and Close loses none.
func TestNoSyncClosesDurably(t *testing.T) {
	disk := vfs.NewCrashableMem()
	l := start(t, "store", Options{FS: disk, Durability: DurabilityNoSync})
	set(t, l, "a", "b", "c")
	l.Close()
	l = start(t, "store", Options{FS: disk.CrashClone(vfs.CrashCloneCfg{})})
	if got := keys(t, l); len(got) != 3 {
		t.Errorf("after Close and a crash there is %q", got)
	}
}

// What Pebble takes for fatal stops writing, and ends nothing.
func TestFatalfStopsWriting(t *testing.T) {
	var logged strings.Builder
	l := start(t, "store", Options{FS: vfs.NewMem(), Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	set(t, l, "a")
	logger{to: l.options.Logger, disk: l.disk}.Fatalf("a contradiction\n in file %d", 7)
	err := l.Set("b", object("b", 1, "1"))
	if err == nil || !strings.Contains(err.Error(), "a contradiction in file 7") {
		t.Errorf("a write after it: %v", err)
	}
	if _, err := l.Get("a"); err != nil {
		t.Errorf("a read after it: %v", err)
	}
	if !strings.Contains(logged.String(), "a contradiction in file 7") {
		t.Errorf("logged is %q", logged.String())
	}
}

func TestCloseDuringEverything(t *testing.T) {
	l := New("store", Options{FS: vfs.NewMem(), MemTableSize: smallTables})
	stop := make(chan struct{})
	var group sync.WaitGroup
	calls := []func(int) error{
		func(i int) error { path := fmt.Sprintf("d/%d", i%500); return l.Set(path, object(path, 1, `"x"`)) },
		func(i int) error { return l.Del(fmt.Sprintf("d/%d", i%500)) },
		func(i int) error { return l.Commit(pair(fmt.Sprint(i), uint64(i+1))) },
		func(i int) error { _, err := l.Get(fmt.Sprintf("d/%d", i%500)); return err },
		func(int) error { _, err := l.GetList("d/*"); return err },
		func(int) error { _, err := l.Keys(); return err },
		func(int) error { _, err := l.Load(); return err },
		func(int) error { _, err := l.LastRevision(); return err },
		func(int) error { l.Clear(); return nil },
		func(int) error { l.SizeHint(); l.Active(); return nil },
		func(int) error {
			_, err := l.Check(t.Context(), func(err error) { t.Errorf("check: %v", err) })
			return err
		},
		func(int) error { return l.Compact(t.Context()) },
		func(int) error { return l.MarkIncomplete("") },
		func(i int) error {
			for _, err := range l.Scan("*/*") {
				if err != nil {
					return err
				}
				if _, err := l.Get("d/1"); err != nil && !errors.Is(err, storage.ErrNotFound) {
					return err
				}
			}
			return nil
		},
	}
	for n, call := range calls {
		group.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				err := call(i)
				if err != nil && !errors.Is(err, storage.ErrNotActive) && !errors.Is(err, storage.ErrNotFound) {
					t.Errorf("call %d: %v", n, err)
					return
				}
			}
		})
	}
	for range 30 {
		if err := l.Start(storage.LayerOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := l.Set("round/1", &meta.Object{Data: []byte("1")}); err != nil {
			t.Error(err)
		}
		var closers sync.WaitGroup
		for range 2 {
			closers.Go(l.Close)
		}
		closers.Wait()
	}
	close(stop)
	group.Wait()
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
