package pebble

import (
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

var benchObjects = flag.Int("objects", 1_000_000, "objects in BenchmarkScan")

// benchData is 150 bytes of JSON.
var benchData = json.RawMessage(`{"name":"Lisbon","country":"PT","population":517802,"latitude":38.71667,"longitude":-9.13333,"timezone":"Europe/Lisbon","elevation":15,"code":"PPLC-1"}`)

// BenchmarkCommit compares the layer with bare Pebble, synced, for concurrent writers and
// for groups as a store makes them.
func BenchmarkCommit(b *testing.B) {
	newBare := func(b *testing.B) *pebble.DB {
		db, err := pebble.Open(b.TempDir(), &pebble.Options{Logger: logger{to: slog.New(slog.DiscardHandler)}})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := db.Close(); err != nil {
				b.Error(err)
			}
		})
		return db
	}
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("bare/writers=%d", writers), func(b *testing.B) {
			db := newBare(b)
			parallel(b, writers, func(path string, _ uint64) error {
				return db.Set([]byte(path), benchData, pebble.Sync)
			})
		})
		b.Run(fmt.Sprintf("layer/writers=%d", writers), func(b *testing.B) {
			l := start(b, b.TempDir(), Options{})
			parallel(b, writers, func(path string, revision uint64) error {
				obj := meta.Object{Created: 1700000000000000000, Revision: revision, Data: benchData}
				return l.Commit([]storage.Change{{Key: path, Object: &obj, Revision: revision}})
			})
		})
	}
	const group = 64
	b.Run(fmt.Sprintf("bare/group=%d", group), func(b *testing.B) {
		db := newBare(b)
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			batch := db.NewBatch()
			for range group {
				n++
				if err := batch.Set(fmt.Appendf(nil, "cities/%08d", n), benchData, nil); err != nil {
					b.Fatal(err)
				}
			}
			if err := batch.Commit(pebble.Sync); err != nil {
				b.Fatal(err)
			}
		}
	})
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

// parallel runs b.N writes by a number of writers.
func parallel(b *testing.B, writers int, write func(path string, n uint64) error) {
	b.ReportAllocs()
	var next atomic.Int64
	var group sync.WaitGroup
	b.ResetTimer()
	for range writers {
		group.Go(func() {
			for {
				n := next.Add(1)
				if n > int64(b.N) {
					return
				}
				if err := write(fmt.Sprintf("cities/%08d", n), uint64(n)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

// fill stores objects in lists of a thousand.
func fill(b *testing.B, l *Layer, objects int) {
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
	fill(b, l, *benchObjects)
	l.Close()
	b.Run("start", func(b *testing.B) {
		for b.Loop() {
			l := start(b, dir, Options{})
			l.Close()
		}
	})
	l = start(b, dir, Options{})
	scan := func(name, pattern string, want int) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				for _, err := range l.Scan(pattern) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n != want {
					b.Fatalf("%d objects, expected %d", n, want)
				}
			}
			b.ReportMetric(float64(want)*float64(b.N)/b.Elapsed().Seconds(), "objects/s")
		})
	}
	scan("all", "", *benchObjects)
	scan("directory", "cities/0000/*", min(1000, *benchObjects))
	scan("one of each directory", "cities/*/*000", (*benchObjects+999)/1000)
	b.Run("size hint", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l.SizeHint()
		}
		b.ReportMetric(float64(l.SizeHint())/float64(*benchObjects), "hint/objects")
	})
}

func BenchmarkGet(b *testing.B) {
	l := start(b, b.TempDir(), Options{})
	fill(b, l, 100_000)
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

// BenchmarkBatch1000 compares a batch of 1,000 changes with 1,000 sets, one after the other, through
// a store, all of them durable. The time is of 1,000 changes.
func BenchmarkBatch1000(b *testing.B) {
	const changes = 1000
	open := func(b *testing.B) *storage.Layered {
		b.Helper()
		s := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: New(b.TempDir(), Options{})})
		if err := s.Start(storage.Options{}); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(s.Close)
		b.ReportAllocs()
		return s
	}
	b.Run("one batch", func(b *testing.B) {
		s := open(b)
		n := 0
		for b.Loop() {
			var batch storage.Batch
			for range changes {
				n++
				batch.Set(fmt.Sprintf("cities/%08d", n), benchData)
			}
			if _, err := s.Commit(&batch); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("sets", func(b *testing.B) {
		s := open(b)
		n := 0
		for b.Loop() {
			for range changes {
				n++
				if _, err := s.Set(fmt.Sprintf("cities/%08d", n), benchData); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
