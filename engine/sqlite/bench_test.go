package sqlite

import (
	"flag"
	"fmt"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/storage"
)

var benchObjects = flag.Int("objects", 200_000, "objects in BenchmarkScan")

// BenchmarkCommit writes alone, through a store with many writers, and in groups as a store
// makes them. The time is that of one object.
func BenchmarkCommit(b *testing.B) {
	for _, durability := range []Durability{DurabilitySync, DurabilityNoSync} {
		mode := fmt.Sprintf("sync=%v", durability == DurabilitySync)
		for _, writers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/writers=%d", mode, writers), func(b *testing.B) {
				store := storage.New(storage.LayeredConfig{
					Memory:   storage.NewMemoryLayer(),
					Embedded: New(in(b.TempDir()), Options{Durability: durability}),
				})
				if err := store.Start(storage.Options{}); err != nil {
					b.Fatal(err)
				}
				defer store.Close()
				enginetest.BenchWriters(b, writers, func(n int) error {
					_, err := store.Set(enginetest.BenchChange(n).Key, enginetest.BenchData)
					return err
				})
			})
		}
		for _, size := range []int{64, 1000} {
			b.Run(fmt.Sprintf("%s/group=%d", mode, size), func(b *testing.B) {
				l := start(b, in(b.TempDir()), Options{Durability: durability})
				b.ReportAllocs()
				enginetest.BenchFill(b, l, b.N, size)
			})
		}
	}
}

// BenchmarkScan reads -objects objects, as a start does, from a store that was filled,
// closed and opened.
func BenchmarkScan(b *testing.B) {
	file := in(b.TempDir())
	l := start(b, file, Options{})
	enginetest.BenchFill(b, l, *benchObjects, 1000)
	l.Close()
	b.Run("start", func(b *testing.B) {
		for b.Loop() {
			l := start(b, file, Options{})
			l.Close()
		}
	})
	l = start(b, file, Options{})
	enginetest.BenchScans(b, l, *benchObjects)
	b.Run("size hint", func(b *testing.B) {
		for b.Loop() {
			if got := l.SizeHint(); got != *benchObjects {
				b.Fatalf("the hint is %d", got)
			}
		}
	})
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			n = (n + 7919) % *benchObjects
			if _, err := l.Get(enginetest.BenchChange(n).Key); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkShort(b *testing.B) { enginetest.BenchShort(b, start(b, in(b.TempDir()), Options{})) }
