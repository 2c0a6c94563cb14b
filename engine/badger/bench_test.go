package badger

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

var benchObjects = flag.Int("objects", 1_000_000, "objects in BenchmarkScan")

// benchData is 150 bytes of JSON.
var benchData = json.RawMessage(`{"name":"Lisbon","country":"PT","population":517802,"latitude":38.71667,"longitude":-9.13333,"timezone":"Europe/Lisbon","elevation":15,"code":"PPLC-1"}`)

// BenchmarkCommit compares the layer with bare Badger, synced, for single writes and for groups
// as a store makes them, and for a store with many writers.
func BenchmarkCommit(b *testing.B) {
	for _, group := range []int{1, 64} {
		b.Run(fmt.Sprintf("bare/group=%d", group), func(b *testing.B) { benchBare(b, group) })
		b.Run(fmt.Sprintf("layer/group=%d", group), func(b *testing.B) {
			l := start(b, b.TempDir(), Options{})
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				changes := make([]storage.Change, group)
				for i := range changes {
					n++
					obj := meta.Object{Created: 1700000000000000000, Revision: uint64(n), Data: benchData}
					changes[i] = storage.Change{Key: fmt.Sprintf("cities/%08d", n), Object: &obj, Revision: uint64(n)}
				}
				if err := l.Commit(changes); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("store/writers=64", func(b *testing.B) {
		db := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: New(b.TempDir(), Options{})})
		if err := db.Start(storage.Options{}); err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		b.ReportAllocs()
		var next atomic.Int64
		var group sync.WaitGroup
		b.ResetTimer()
		for range 64 {
			group.Go(func() {
				for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
					if _, err := db.Set(fmt.Sprintf("cities/%08d", n), benchData); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		group.Wait()
	})
}

// benchBare commits groups to Badger itself, with the options of the layer.
func benchBare(b *testing.B, group int) {
	s := newStore(b.TempDir(), Options{}.withDefaults(), nil)
	defer s.stop()
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
			n++
			if err := txn.Set(fmt.Appendf(nil, "cities/%08d", n), benchData); err != nil {
				b.Fatal(err)
			}
		}
		if err := txn.CommitAt(uint64(n), nil); err != nil {
			b.Fatal(err)
		}
	}
}

// benchFill stores objects in lists of a thousand.
func benchFill(b *testing.B, l *Layer, objects int) {
	b.Helper()
	const group = 1000
	for first := 0; first < objects; first += group {
		changes := make([]storage.Change, 0, group)
		for n := first; n < min(first+group, objects); n++ {
			path := fmt.Sprintf("cities/%04d/%07d", n/1000, n)
			obj := meta.Object{Created: 1700000000000000000 + int64(n)*1000, Revision: uint64(n + 1), Data: benchData}
			changes = append(changes, storage.Change{Key: path, Object: &obj, Revision: uint64(n + 1)})
		}
		if err := l.Commit(changes); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkScan reads -objects objects, as a start does, from a store that was filled,
// closed and opened.
func BenchmarkScan(b *testing.B) {
	dir := b.TempDir()
	l := start(b, dir, Options{})
	benchFill(b, l, *benchObjects)
	l.Close()
	for name, o := range map[string]Options{"verified": {}, "not verified": {SkipVerify: true}} {
		b.Run("start/"+name, func(b *testing.B) {
			for b.Loop() {
				start(b, dir, o).Close()
			}
		})
	}
	l = start(b, dir, Options{})
	for _, c := range []struct {
		name, pattern string
		want          int
	}{
		{"all", "", *benchObjects},
		{"directory", "cities/0000/*", min(1000, *benchObjects)},
		{"one of each directory", "cities/*/*000", (*benchObjects + 999) / 1000},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				for _, err := range l.Scan(c.pattern) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n != c.want {
					b.Fatalf("%d objects, expected %d", n, c.want)
				}
			}
			b.ReportMetric(float64(c.want)*float64(b.N)/b.Elapsed().Seconds(), "objects/s")
		})
	}
}

func BenchmarkGet(b *testing.B) {
	l := start(b, b.TempDir(), Options{})
	benchFill(b, l, 100_000)
	for name, path := range map[string]string{"present": "cities/0050/0050123", "absent": "cities/0050/none"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.Get(path); (err == nil) != (name == "present") {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDelete deletes many keys in one batch, which takes several transactions.
func BenchmarkDelete(b *testing.B) {
	const n = 200_000
	l := start(b, b.TempDir(), Options{})
	for b.Loop() {
		b.StopTimer()
		benchFill(b, l, n)
		changes := make([]storage.Change, n)
		for i := range changes {
			changes[i] = storage.Change{Key: fmt.Sprintf("cities/%04d/%07d", i/1000, i), Revision: n + 1}
		}
		b.StartTimer()
		if err := l.Commit(changes); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "keys/s")
}
