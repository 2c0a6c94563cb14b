package pebble

import (
	"flag"
	"fmt"
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/storage"
)

var benchObjects = flag.Int("objects", 1_000_000, "objects in BenchmarkScan")

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
			enginetest.BenchWriters(b, writers, func(n int) error {
				c := enginetest.BenchChange(n)
				return db.Set([]byte(c.Key), c.Object.Data, pebble.Sync)
			})
		})
		b.Run(fmt.Sprintf("layer/writers=%d", writers), func(b *testing.B) {
			l := start(b, b.TempDir(), Options{})
			enginetest.BenchWriters(b, writers, func(n int) error {
				return l.Commit([]storage.Change{enginetest.BenchChange(n)})
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
				c := enginetest.BenchChange(n)
				n++
				if err := batch.Set([]byte(c.Key), c.Object.Data, nil); err != nil {
					b.Fatal(err)
				}
			}
			if err := batch.Commit(pebble.Sync); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run(fmt.Sprintf("layer/group=%d", group), func(b *testing.B) {
		enginetest.BenchGroups(b, start(b, b.TempDir(), Options{}), group)
	})
}

// BenchmarkScan reads -objects objects, as a start does, from a store that was filled,
// closed and opened.
func BenchmarkScan(b *testing.B) {
	dir := b.TempDir()
	l := start(b, dir, Options{})
	enginetest.BenchFill(b, l, *benchObjects, 1000)
	l.Close()
	b.Run("start", func(b *testing.B) {
		for b.Loop() {
			l := start(b, dir, Options{})
			l.Close()
		}
	})
	l = start(b, dir, Options{})
	enginetest.BenchScans(b, l, *benchObjects)
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
	enginetest.BenchFill(b, l, 100_000, 1000)
	enginetest.BenchGets(b, l, enginetest.BenchChange(50_123).Key)
}

func BenchmarkShort(b *testing.B) { enginetest.BenchShort(b, start(b, b.TempDir(), Options{})) }

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
				batch.Set(fmt.Sprintf("cities/%08d", n), enginetest.BenchData)
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
				if _, err := s.Set(fmt.Sprintf("cities/%08d", n), enginetest.BenchData); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
