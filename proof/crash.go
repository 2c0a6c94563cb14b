package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/oolith-db/oolith/engine/pebble"
	"github.com/oolith-db/oolith/storage"
)

// smallTables makes flushes and compactions frequent.
const smallTables = 32 << 10

// quiet returns the options of stores in which errors are expected.
func quiet() storage.Options {
	return storage.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

// pebbleStore is a store over Pebble on a file system.
func pebbleStore(fs vfs.FS, memory bool) *storage.Layered {
	config := storage.LayeredConfig{Embedded: pebble.New("store", pebble.Options{FS: fs, MemTableSize: smallTables})}
	if memory {
		config.Memory = storage.NewMemoryLayer()
	}
	return storage.New(config)
}

// changesDisk reports whether an operation changes the disk.
func changesDisk(kind errorfs.OpKind) bool {
	switch kind {
	case errorfs.OpCreate, errorfs.OpLink, errorfs.OpRemove, errorfs.OpRemoveAll, errorfs.OpRename,
		errorfs.OpReuseForWrite, errorfs.OpMkdirAll, errorfs.OpFileWrite, errorfs.OpFileWriteAt,
		errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpFilePreallocate:
		return true
	}
	return false
}

// cut is a power failure: the content of the disk at that moment, and what the writers knew.
type cut struct {
	disk  *vfs.MemFS
	views []view
	op    string
}

// crashRound runs writers and simulates a power failure at every operation of the file system: a copy of the disk as
// it would be after the failure is reopened and checked.
func crashRound(ctx context.Context, c config, t *tally) error {
	disk := vfs.NewCrashableMem()
	ledgers := newLedgers(1 + c.rng.IntN(4))
	checker := &crashChecker{disk: disk, ledgers: ledgers, rng: rand.New(rand.NewPCG(c.seed, 1)), cuts: make(chan cut, 16)}
	var failed error
	var checking sync.WaitGroup
	checking.Go(func() { failed = checker.checkAll(t) })

	checker.armed.Store(true)
	store := pebbleStore(errorfs.Wrap(disk, errorfs.InjectorFunc(checker.observe)), c.rng.IntN(4) > 0)
	err := store.Start(quiet())
	if err == nil {
		err = write(ctx, store, ledgers, c.seed, 150/len(ledgers))
		store.Close()
	}
	checker.armed.Store(false)
	close(checker.cuts)
	checking.Wait()
	return errors.Join(err, failed)
}

func newLedgers(n int) []*ledger {
	ledgers := make([]*ledger, n)
	for i := range ledgers {
		ledgers[i] = newLedger(i)
	}
	return ledgers
}

// write makes a number of random calls from each writer, and returns the first error.
func write(ctx context.Context, store *storage.Layered, ledgers []*ledger, seed uint64, calls int) error {
	errs := make([]error, len(ledgers))
	var group sync.WaitGroup
	for i, l := range ledgers {
		group.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(2+i)))
			for n := 0; n < calls && ctx.Err() == nil; n++ {
				if errs[i] = l.step(store, r, n); errs[i] != nil {
					return
				}
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// crashChecker captures power failures and checks them.
type crashChecker struct {
	disk    *vfs.MemFS
	ledgers []*ledger
	armed   atomic.Bool
	cuts    chan cut

	mu  sync.Mutex // held while the disk is captured, to exclude other operations; guards the field below
	rng *rand.Rand
}

// observe runs before each operation of the file system, and captures the disk at that moment: with everything
// synced, and a random part of the rest, including none or all.
func (k *crashChecker) observe(op errorfs.Op) error {
	if !changesDisk(op.Kind) || !k.armed.Load() {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	kept := []int{0, 0, 100, k.rng.IntN(101)}[k.rng.IntN(4)]
	// The views come first: everything acknowledged in them must be in the copy.
	views := viewsOf(k.ledgers)
	copied := k.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: k.rng})
	k.cuts <- cut{copied, views, fmt.Sprintf("%v %s, %d%% of the unsynced data kept", op.Kind, op.Path, kept)}
	return nil
}

func viewsOf(ledgers []*ledger) []view {
	views := make([]view, len(ledgers))
	for i, l := range ledgers {
		views[i] = l.now()
	}
	return views
}

// checkAll checks the captured failures. After the first violation it discards the rest.
func (k *crashChecker) checkAll(t *tally) error {
	var failed error
	for cut := range k.cuts {
		if failed != nil {
			continue
		}
		t.add("crash points", 1)
		if err := checkCut(k.ledgers, cut); err != nil {
			k.armed.Store(false)
			failed = fmt.Errorf("power lost before %s: %w", cut.op, err)
		}
	}
	return failed
}

func checkCut(ledgers []*ledger, cut cut) error {
	store := pebbleStore(cut.disk, true)
	if err := store.Start(quiet()); err != nil {
		return fmt.Errorf("the store does not start: %w", err)
	}
	defer store.Close()
	return checkStore(store, ledgers, cut.views)
}

// fsyncRound makes one operation of the file system fail. Afterwards all operations fail, or only that one. It checks
// that the store stops writing, continues reading, and recovers.
func fsyncRound(ctx context.Context, c config, t *tally) error {
	fatal := errors.New("injected: input/output error")
	left := int64(40 + c.rng.IntN(600))
	once := c.rng.IntN(2) == 0
	kinds := c.rng.IntN(3) // any, syncs only, writes only
	return failingDisk(ctx, c, t, fatal, 1+c.rng.IntN(4), 400, func(disk vfs.FS, broken *atomic.Bool) vfs.FS {
		return errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
			sync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
			if !changesDisk(op.Kind) || kinds == 1 && !sync || kinds == 2 && op.Kind != errorfs.OpFileWrite {
				return nil
			}
			if n := atomic.AddInt64(&left, -1); n == 0 || n < 0 && !once {
				broken.Store(true)
				return fatal
			}
			return nil
		}))
	})
}

// fullRound makes the disk full after a number of bytes.
func fullRound(ctx context.Context, c config, t *tally) error {
	room := int64(1 + c.rng.IntN(200_000))
	return failingDisk(ctx, c, t, syscall.ENOSPC, 1+c.rng.IntN(4), 400, fullAfter(&room))
}

// bytesRound makes the disk full after every number of bytes that a few writes need, from none to all. The order
// spreads the numbers, so a round that ends early has tested some of each part.
func bytesRound(ctx context.Context, c config, t *tally) error {
	const plenty, writes = 1 << 40, 24
	left := int64(plenty)
	if err := failingDisk(ctx, c, t, syscall.ENOSPC, 1, writes, fullAfter(&left)); err != nil {
		return err
	}
	// Steps of the golden ratio leave no large gap; they visit all numbers if they have no common divisor with the
	// total.
	total := plenty - left
	step := int64(float64(total) * 0.618)
	for gcd(step, total) != 1 {
		step++
	}
	for i := int64(0); i < total && ctx.Err() == nil; i++ {
		at := i * step % total
		room := at
		if err := failingDisk(ctx, c, t, syscall.ENOSPC, 1, writes, fullAfter(&room)); err != nil {
			return fmt.Errorf("room for %d bytes of %d: %w", at, total, err)
		}
	}
	if ctx.Err() == nil {
		t.add("workloads at every byte", 1)
	}
	return nil
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// fullAfter makes file systems that are full after a number of bytes, which they count down.
func fullAfter(left *int64) func(vfs.FS, *atomic.Bool) vfs.FS {
	return func(disk vfs.FS, broken *atomic.Bool) vfs.FS {
		return &fullFS{FS: disk, left: left, full: broken}
	}
}

// failingDisk lets writers make a total number of calls on a disk that fails at some point.
func failingDisk(ctx context.Context, c config, t *tally, cause error, writers, calls int, failing func(vfs.FS, *atomic.Bool) vfs.FS) error {
	disk := vfs.NewCrashableMem()
	var broken atomic.Bool
	fs := failing(disk, &broken)
	ledgers := newLedgers(writers)
	store := pebbleStore(fs, true)
	if err := store.Start(quiet()); err != nil {
		if !broken.Load() {
			return fmt.Errorf("start: %w", err)
		}
		t.add("failed starts", 1)
		return checkCut(ledgers, cut{disk: disk.CrashClone(vfs.CrashCloneCfg{}), views: viewsOf(ledgers)})
	}
	err := write(ctx, store, ledgers, c.seed, calls/writers)
	if err != nil && !errors.Is(err, cause) {
		store.Close()
		return fmt.Errorf("the error of a write does not hold its cause: %w", err)
	}
	if err != nil {
		err = checkStopped(store, ledgers, cause)
	}
	views := viewsOf(ledgers)
	store.Close()
	if broken.Load() {
		t.add("disks that failed", 1)
	}
	if err != nil {
		return err
	}
	// With and without the data that was never synced.
	for _, kept := range []int{0, 100} {
		crashed := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: c.rng})
		if err := checkCut(ledgers, cut{disk: crashed, views: views}); err != nil {
			return fmt.Errorf("after the failure, %d%% of the unsynced data kept: %w", kept, err)
		}
	}
	return nil
}

// checkStopped checks that a store whose disk failed rejects all writes and continues reading.
func checkStopped(store *storage.Layered, ledgers []*ledger, cause error) error {
	if _, err := store.Set("more", []byte(`1`)); !errors.Is(err, storage.ErrWritesStopped) || !errors.Is(err, cause) {
		return fmt.Errorf("a write after the failure: %v, want ErrWritesStopped with its cause", err)
	}
	content, err := contentOf(store)
	if err != nil {
		return fmt.Errorf("a read after the failure: %w", err)
	}
	for _, l := range ledgers {
		v := l.now()
		v.inFlight = nil // a failed write left no trace in memory
		if err := l.check(v, content); err != nil {
			return fmt.Errorf("memory after the failure: %w", err)
		}
	}
	return nil
}
