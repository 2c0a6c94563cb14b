package enginetest

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// BenchData is 150 bytes of JSON.
var BenchData = json.RawMessage(`{"name":"Lisbon","country":"PT","population":517802,"latitude":38.71667,"longitude":-9.13333,"timezone":"Europe/Lisbon","elevation":15,"code":"PPLC-1"}`)

// BenchChange returns a put of the n-th object of a benchmark, in lists of a thousand.
func BenchChange(n int) storage.Change {
	obj := &meta.Object{Created: 1700000000000000000 + int64(n)*1000, Revision: uint64(n + 1), Data: BenchData}
	return storage.Change{Key: fmt.Sprintf("cities/%04d/%07d", n/1000, n), Object: obj, Revision: uint64(n + 1)}
}

// BenchFill stores objects in groups.
func BenchFill(b *testing.B, l storage.Batcher, objects, group int) {
	b.Helper()
	for first := 0; first < objects; first += group {
		changes := make([]storage.Change, 0, group)
		for n := first; n < min(first+group, objects); n++ {
			changes = append(changes, BenchChange(n))
		}
		if err := l.Commit(changes); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchGroups commits groups of objects until the benchmark ends.
func BenchGroups(b *testing.B, l storage.Batcher, group int) {
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		changes := make([]storage.Change, group)
		for i := range changes {
			changes[i] = BenchChange(n)
			n++
		}
		if err := l.Commit(changes); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchWriters runs b.N writes, numbered from 1 on, by a number of writers.
func BenchWriters(b *testing.B, writers int, write func(n int) error) {
	b.ReportAllocs()
	var next atomic.Int64
	var group sync.WaitGroup
	b.ResetTimer()
	for range writers {
		group.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				if err := write(int(n)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

// BenchScans scans the objects that BenchFill stored, and parts of them.
func BenchScans(b *testing.B, l storage.Scanner, objects int) {
	for _, c := range []struct {
		name, pattern string
		want          int
	}{
		{"all", "", objects},
		{"directory", "cities/0000/*", min(1000, objects)},
		{"one of each directory", "cities/*/*000", (objects + 999) / 1000},
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

// BenchShort gets a list of five objects out of many, and scans it: most lists are short, and only short lists show
// the fixed cost of a call.
func BenchShort(b *testing.B, l Layer) {
	var paths []string
	for n := range 2000 {
		paths = append(paths, fmt.Sprintf("short/%03d/%d", n/5, n))
	}
	SetAll(b, l, paths...)
	b.Run("list", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if list, err := l.GetList("short/100/*"); err != nil || len(list) != 5 {
				b.Fatalf("%d objects, %v, expected 5", len(list), err)
			}
		}
	})
	b.Run("scan", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n := 0
			for _, err := range l.Scan("short/100/*") {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			if n != 5 {
				b.Fatalf("%d objects, expected 5", n)
			}
		}
	})
}

// BenchGets gets an object that is there and one that is not.
func BenchGets(b *testing.B, l storage.Layer, present string) {
	for name, path := range map[string]string{"present": present, "absent": "cities/0050/none"} {
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
