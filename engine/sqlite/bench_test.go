package sqlite

import (
	"encoding/json"
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

var benchObjects = flag.Int("objects", 200_000, "objects in BenchmarkScan")

// benchData is 150 bytes of JSON.
var benchData = json.RawMessage(`{"name":"Lisbon","country":"PT","population":517802,"latitude":38.71667,"longitude":-9.13333,"timezone":"Europe/Lisbon","elevation":15,"code":"PPLC-1"}`)

// change is a put of the n-th object of a benchmark, in lists of a thousand.
func change(n int) storage.Change {
	path := fmt.Sprintf("cities/%04d/%07d", n/1000, n)
	obj := meta.Object{Created: 1700000000000000000 + int64(n)*1000, Revision: uint64(n + 1), Data: benchData}
	return storage.Change{Key: path, Object: &obj, Revision: uint64(n + 1)}
}

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
				b.ReportAllocs()
				var next atomic.Int64
				var group sync.WaitGroup
				for range writers {
					group.Go(func() {
						for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
							if _, err := store.Set(change(int(n)).Key, benchData); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				group.Wait()
			})
		}
		for _, size := range []int{64, 1000} {
			b.Run(fmt.Sprintf("%s/group=%d", mode, size), func(b *testing.B) {
				l := start(b, in(b.TempDir()), Options{Durability: durability})
				b.ReportAllocs()
				fill(b, l, b.N, size)
			})
		}
	}
}

// fill stores objects in groups.
func fill(b *testing.B, l *Layer, objects, size int) {
	b.Helper()
	for first := 0; first < objects; first += size {
		changes := make([]storage.Change, 0, size)
		for n := first; n < min(first+size, objects); n++ {
			changes = append(changes, change(n))
		}
		if err := l.Commit(changes); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkScan reads -objects objects, as a start does, from a store that was filled,
// closed and opened.
func BenchmarkScan(b *testing.B) {
	file := in(b.TempDir())
	l := start(b, file, Options{})
	fill(b, l, *benchObjects, 1000)
	l.Close()
	b.Run("start", func(b *testing.B) {
		for b.Loop() {
			l := start(b, file, Options{})
			l.Close()
		}
	})
	l = start(b, file, Options{})
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
			if _, err := l.Get(change(n).Key); err != nil {
				b.Fatal(err)
			}
		}
	})
}
