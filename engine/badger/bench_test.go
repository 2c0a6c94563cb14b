package badger

import (
	"flag"
	"fmt"
	"math"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/storage"
)

var benchObjects = flag.Int("objects", 1_000_000, "objects in BenchmarkScan")

// BenchmarkCommit compares the layer with bare Badger, synced, for single writes and for groups
// as a store makes them, and for a store with many writers.
func BenchmarkCommit(b *testing.B) {
	for _, group := range []int{1, 64} {
		b.Run(fmt.Sprintf("bare/group=%d", group), func(b *testing.B) { benchBare(b, group) })
		b.Run(fmt.Sprintf("layer/group=%d", group), func(b *testing.B) {
			enginetest.BenchGroups(b, start(b, b.TempDir(), Options{}), group)
		})
	}
	b.Run("store/writers=64", func(b *testing.B) {
		db := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: New(b.TempDir(), Options{})})
		if err := db.Start(storage.Options{}); err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		enginetest.BenchWriters(b, 64, func(n int) error {
			_, err := db.Set(enginetest.BenchChange(n).Key, enginetest.BenchData)
			return err
		})
	})
}

// benchBare commits groups to Badger itself, with the options of the layer.
func benchBare(b *testing.B, group int) {
	dir := b.TempDir()
	s := New(dir, Options{}).newStore(dir, nil)
	db, err := badger.OpenManaged(s.badgerOptions(nil, 0).WithLogger(nil))
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	}()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		txn := db.NewTransactionAt(math.MaxUint64, true)
		for range group {
			c := enginetest.BenchChange(n)
			n++
			if err := txn.Set([]byte(c.Key), c.Object.Data); err != nil {
				b.Fatal(err)
			}
		}
		if err := txn.CommitAt(uint64(n), nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkScan reads -objects objects, as a start does, from a store that was filled,
// closed and opened.
func BenchmarkScan(b *testing.B) {
	dir := b.TempDir()
	l := start(b, dir, Options{})
	enginetest.BenchFill(b, l, *benchObjects, 1000)
	l.Close()
	for name, o := range map[string]Options{"verified": {}, "not verified": {SkipVerify: true}} {
		b.Run("start/"+name, func(b *testing.B) {
			for b.Loop() {
				start(b, dir, o).Close()
			}
		})
	}
	l = start(b, dir, Options{})
	enginetest.BenchScans(b, l, *benchObjects)
}

func BenchmarkGet(b *testing.B) {
	l := start(b, b.TempDir(), Options{})
	enginetest.BenchFill(b, l, 100_000, 1000)
	enginetest.BenchGets(b, l, enginetest.BenchChange(50_123).Key)
}

func BenchmarkShort(b *testing.B) { enginetest.BenchShort(b, start(b, b.TempDir(), Options{})) }

// BenchmarkDelete deletes many keys in one batch, which takes several transactions.
func BenchmarkDelete(b *testing.B) {
	const n = 200_000
	l := start(b, b.TempDir(), Options{})
	for b.Loop() {
		b.StopTimer()
		enginetest.BenchFill(b, l, n, 1000)
		changes := make([]storage.Change, n)
		for i := range changes {
			changes[i] = storage.Change{Key: enginetest.BenchChange(i).Key, Revision: n + 1}
		}
		b.StartTimer()
		if err := l.Commit(changes); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "keys/s")
}
