package enginetest

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/storage"
)

// Faulty is a store on a disk that can lose power and reject operations.
type Faulty struct {
	Pairs
	Layer Layer
	// Place is the text that the errors of a failed commit contain.
	Place string
	// Times is how often the data of a pair repeats its name.
	Times int
	// Crashed returns a layer, not started, on the content of the disk after a power failure at this moment.
	Crashed func(t testing.TB) Layer
	// Refused makes calls that the engine rejects after a disk failure, in addition to those that every engine
	// rejects.
	Refused func(t testing.TB) map[string]error
}

// Commit commits pairs: see Pairs.Write.
func (f *Faulty) Commit(count int) error { return f.Write(f.Layer, count, f.Times) }

// CheckRefuses checks that the layer rejects all writes after its disk failed, with that cause, and that reads
// continue.
func (f *Faulty) CheckRefuses(t testing.TB, cause error) {
	t.Helper()
	calls := map[string]error{}
	if f.Refused != nil {
		calls = f.Refused(t)
	}
	calls["Set"] = f.Layer.Set("more", Object("more", 1, "1"))
	calls["Commit"] = f.Layer.Commit(Pair("more", 1<<40, f.Times))
	for name, err := range calls {
		var refused *storage.EntryError
		if !errors.Is(err, cause) || errors.As(err, &refused) {
			t.Errorf("%s after the failure: %v, expected the cause %v", name, err, cause)
		}
	}
	f.CheckHeld(t, f.Layer)
}

// CheckCrash checks what a start finds after a power failure at this moment: everything acknowledged before, which is
// pairs, each object intact, and a store that accepts writes.
func (f *Faulty) CheckCrash(t testing.TB, pairs *Pairs) {
	t.Helper()
	l := f.Crashed(t)
	if err := l.Start(storage.LayerOptions{}); err != nil {
		t.Errorf("start after a crash: %v", err)
		return
	}
	defer l.Close()
	pairs.CheckHeld(t, l)
	CheckSound(t, l)
	if err := l.Set("left/after", Object("left/after", 1, "1")); err != nil {
		t.Errorf("write after a crash: %v", err)
	}
}

// TestFailure writes until the disk of the started layer fails. It checks that writing stops, that nothing is lost
// then, by Close or when the disk recovers, and closes the layer. recover makes the disk recover.
func (f *Faulty) TestFailure(t testing.TB, cause error, recover func()) {
	t.Helper()
	Within(t, "write", func() {
		if err := f.Commit(20000); !errors.Is(err, cause) || !strings.Contains(err.Error(), f.Place) {
			t.Errorf("the write that met the failure: %v, expected %v", err, cause)
		}
	})
	Within(t, "use after the failure", func() { f.CheckRefuses(t, cause) })
	f.CheckCrash(t, &f.Pairs)
	Within(t, "Close", f.Layer.Close)
	f.CheckCrash(t, &f.Pairs)
	recover()
	if err := f.Layer.Start(storage.LayerOptions{}); err != nil {
		t.Fatalf("start after the disk recovered: %v", err)
	}
	f.CheckHeld(t, f.Layer)
	CheckSound(t, f.Layer)
	if err := f.Commit(10); err != nil {
		t.Errorf("write after the disk recovered: %v", err)
	}
	Within(t, "Close", f.Layer.Close)
}

// TestFailureAtEachOperation starts and writes on disks of which one operation fails, or all from one on. It checks
// that nothing is lost, nothing is partial and nothing hangs. The function refuse decides about each operation that
// changes a disk.
func TestFailureAtEachOperation(t *testing.T, faulty func(rng *rand.Rand, refuse func() error) *Faulty) {
	rng := testrand.New(t)
	for range 50 {
		at, forGood := rng.Int64N([]int64{80, 600}[rng.IntN(2)]), rng.IntN(2) == 0
		var seen atomic.Int64
		faulty(rng, func() error {
			if n := seen.Add(1); n == at || forGood && n > at {
				return syscall.ENOSPC
			}
			return nil
		}).testFirstFailure(t, syscall.ENOSPC)
		if t.Failed() {
			t.Fatalf("operation %d, for good %v", at, forGood)
		}
	}
}

func (f *Faulty) testFirstFailure(t testing.TB, cause error) {
	t.Helper()
	Within(t, "a run", func() {
		if err := f.Layer.Start(storage.LayerOptions{}); err != nil {
			if !errors.Is(err, cause) {
				t.Errorf("start: %v", err)
			}
		} else if err := f.Commit(1000); err == nil {
			t.Logf("the disk refused nothing that matters")
		} else {
			if !errors.Is(err, cause) {
				t.Errorf("write: %v", err)
			}
			f.CheckRefuses(t, cause)
		}
		f.CheckCrash(t, &f.Pairs)
		f.Layer.Close()
		f.CheckCrash(t, &f.Pairs)
	})
}

// TestCrashes writes, simulates a number of power failures meanwhile and one afterwards, and checks the content each
// time. The layer is not started yet.
func (f *Faulty) TestCrashes(t testing.TB, crashes int) {
	t.Helper()
	Start(t, f.Layer)
	written := make(chan error, 1)
	go func() { written <- f.Commit(2000) }()
	for range crashes {
		f.CheckCrash(t, f.Now())
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	f.CheckCrash(t, &f.Pairs)
}

// TestCrashKeepsDeletes tests that a delete and a clear of a started layer survive a power failure.
func TestCrashKeepsDeletes(t testing.TB, l Layer, crashed func() Layer) {
	t.Helper()
	Set(t, l, "a", "b", "c")
	if err := l.Del("a"); err != nil {
		t.Fatal(err)
	}
	if got := Keys(t, Start(t, crashed())); strings.Join(got, " ") != "b c" {
		t.Errorf("after a delete and a crash there is %q", got)
	}
	l.Clear()
	if got := Keys(t, Start(t, crashed())); len(got) != 0 {
		t.Errorf("after Clear and a crash there is %q", got)
	}
}

// TestCrashKeepsMark tests that the mark of a started layer as incomplete, and its removal after everything written
// before, survive a power failure, regardless of the layer's durability.
func TestCrashKeepsMark(t testing.TB, l Layer, crashed func() Layer) {
	t.Helper()
	if err := l.MarkIncomplete("a copy\nof something"); err != nil {
		t.Fatal(err)
	}
	Set(t, l, "a", "b", "c")
	err := crashed().Start(storage.LayerOptions{})
	if !errors.Is(err, storage.ErrIncomplete) || !strings.HasSuffix(err.Error(), ", a copy of something") {
		t.Errorf("start of a marked store after a crash: %v", err)
	}
	if err := l.MarkIncomplete(""); err != nil {
		t.Fatal(err)
	}
	if got := Keys(t, Start(t, crashed())); len(got) != 3 {
		t.Errorf("the mark is gone, and of three objects there is %q", got)
	}
}
