package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	engine "github.com/oolith-db/oolith/engine/pebble"
	"github.com/oolith-db/oolith/storage"
)

var objectCount = flag.Int("objects", 1_000_000, "objects in a store of a benchmark")

// TestRun runs every section small. No figure is judged.
func TestRun(t *testing.T) {
	var out, progress bytes.Buffer
	err := run([]string{"-objects", "2000", "-rounds", "1", "-round", "1ms", "-json", "-dir", t.TempDir()}, &out, &progress)
	if err != nil {
		t.Fatal(err)
	}
	withGoal := 0
	for line := range strings.Lines(out.String()) {
		var r row
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		if r.Goal != nil {
			withGoal++
		}
		// One figure may be 0: allocations.
		if r.Name == "" || r.Unit == "" || (r.Ours == 0 && r.Unit != "allocs") {
			t.Errorf("row %q has no name, unit or figure", line)
		}
	}
	if withGoal < 15 {
		t.Errorf("%d rows have a goal, expected those of all sections", withGoal)
	}
}

func TestRunRefuses(t *testing.T) {
	for _, test := range []struct{ name, args, want string }{
		{"too few objects", "-objects 10", "-objects 10"},
		{"no rounds", "-rounds 0", "-rounds 0"},
		{"invalid expression", "-only [", `-only "["`},
		{"missing directory", "-only none -dir /does/not/exist", "/does/not/exist"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := run(strings.Fields(test.args), &bytes.Buffer{}, &bytes.Buffer{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, expected an error that names %s", err, test.want)
			}
		})
	}
}

func TestJudged(t *testing.T) {
	for _, test := range []struct {
		name string
		row  row
		want string
	}{
		{"ratio below its bound", row{Ratio: 1.4, Goal: ratioAtMost(1.5)}, "yes"},
		{"ratio above its bound", row{Ratio: 1.6, Goal: ratioAtMost(1.5)}, "NO"},
		{"ratio too small", row{Ratio: 0.7, Goal: ratioAtLeast(0.8)}, "NO"},
		{"figure at its bound", row{Ours: 5, Goal: oursAtMost(5)}, "yes"},
		{"no goal", row{Ours: 5}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.row.judged().verdict(); got != test.want {
				t.Errorf("got %q, expected %q", got, test.want)
			}
		})
	}
}

func TestQuantile(t *testing.T) {
	values := make([]float64, 100)
	for i := range values {
		values[len(values)-1-i] = float64(i + 1)
	}
	for q, want := range map[float64]float64{0: 1, 0.5: 51, 0.99: 100, 1: 100} {
		if got := quantile(values, q); got != want {
			t.Errorf("quantile %v: got %v, expected %v", q, got, want)
		}
	}
}

// loop measures a side.
func loop(b *testing.B, s side) {
	b.Helper()
	runtime.GC()
	b.ReportAllocs()
	for b.Loop() {
		if err := s(1); err != nil {
			b.Fatal(err)
		}
	}
}

func openMemory(b *testing.B) *storage.Layered {
	b.Helper()
	store, err := memoryStore(*objectCount)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(store.Close)
	return store
}

func BenchmarkGet(b *testing.B) {
	store, bare, cold := openMemory(b), filledMap(*objectCount), lookups(*objectCount)
	for _, keys := range []struct {
		name  string
		paths []string
	}{{"cold", cold}, {"hot", cold[:hotKeys]}} {
		for _, r := range []struct {
			name string
			read read
		}{{"oolith", storeGet(store)}, {"xsync", mapLoad(bare)}, {"xsync+copy", mapCopy(bare)}} {
			b.Run(keys.name+"/"+r.name, func(b *testing.B) { loop(b, reads(r.read, keys.paths)) })
		}
	}
	b.Run("parallel/oolith", func(b *testing.B) { parallelReads(b, storeGet(store), cold) })
	b.Run("parallel/xsync", func(b *testing.B) { parallelReads(b, mapLoad(bare), cold) })
}

func parallelReads(b *testing.B, r read, paths []string) {
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		next := reads(r, paths)
		for pb.Next() {
			if err := next(1); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkGetN(b *testing.B) {
	l, err := newLists(config{objects: *objectCount})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(l.close)
	b.Run("long", func(b *testing.B) { loop(b, getN(l.long, "places/*")) })
	b.Run("short", func(b *testing.B) { loop(b, getN(l.short, "short/*")) })
	b.Run("short-among-unrelated", func(b *testing.B) { loop(b, getN(l.long, "short/*")) })
	b.Run("two-directories", func(b *testing.B) { loop(b, getN(l.long, "*/*")) })
}

func BenchmarkSet(b *testing.B) {
	paths := lookups(*objectCount)
	b.Run("events-off", func(b *testing.B) { loop(b, sets(storeSet(openMemory(b)), paths)) })
	b.Run("events-on", func(b *testing.B) {
		store, _, err := watched(*objectCount)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(store.Close)
		loop(b, sets(storeSet(store), paths))
	})
}

func BenchmarkDurableSet(b *testing.B) {
	paths := lookups(*objectCount)
	store, err := durableStore(filepath.Join(b.TempDir(), "store"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(store.Close)
	layer := engine.New(filepath.Join(b.TempDir(), "layer"), engine.Options{})
	if err := layer.Start(storage.LayerOptions{}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(layer.Close)
	db, err := barePebble(filepath.Join(b.TempDir(), "bare"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	for _, writers := range []struct {
		name  string
		count int
	}{{"1", 1}, {"64", manyWriters}} {
		for _, w := range []struct {
			name  string
			write writer
		}{{"oolith", storeWriter(store)}, {"layer", layerWriter(layer)}, {"pebble", pebbleWriter(db)}} {
			b.Run(writers.name+"/"+w.name, func(b *testing.B) {
				b.ReportAllocs()
				// Not Loop: the writers share N.
				if err := writesWith(writers.count, w.write, paths)(b.N); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	if err := fillLayer(dir, *objectCount); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		store, err := durableStore(dir)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		store.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(*objectCount)*float64(b.N)/b.Elapsed().Seconds(), "objects/s")
}

func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		rows, err := memoryRows(config{objects: *objectCount})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(rows[0].Ours, "B/object")
	}
}

// BenchmarkStuckWatcher is the p99 of Set beside a draining watcher, and with a stuck one
// in addition.
func BenchmarkStuckWatcher(b *testing.B) {
	store := openMemory(b)
	c := config{objects: *objectCount, rounds: 5}
	for b.Loop() {
		p99, err := tails(c, store, 1, 100_000, draining, both(draining, stuck))
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(median(p99[0]), "p99-ns-draining")
		b.ReportMetric(median(p99[1]), "p99-ns-stuck")
	}
}
