package ko

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

var benchObjects = flag.Int("objects", 100_000, "objects in BenchmarkRead")

// benchChange is a put of object n, in lists of a thousand.
func benchChange(n int) storage.Change {
	obj := &meta.Object{Created: 1700000000000000000 + int64(n)*1000, Revision: uint64(n + 1), Data: json.RawMessage(benchData)}
	return storage.Change{Key: fmt.Sprintf("cities/%04d/%07d", n/1000, n), Object: obj, Revision: uint64(n + 1)}
}

// BenchmarkCommit compares the layer with bare LevelDB, synced, for single writes and for
// groups as a store makes them.
func BenchmarkCommit(b *testing.B) {
	for _, group := range []int{1, 64} {
		b.Run(fmt.Sprintf("bare/group=%d", group), func(b *testing.B) {
			db, err := leveldb.OpenFile(b.TempDir(), nil)
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				var batch leveldb.Batch
				for range group {
					c := benchChange(n)
					batch.Put([]byte(c.Key), appendEntry(nil, c.Key, c.Object))
					n++
				}
				if err := db.Write(&batch, &opt.WriteOptions{Sync: true}); err != nil {
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
					changes[i] = benchChange(n)
					n++
				}
				if err := l.Commit(changes); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRead reads -objects objects, as a start does, and parts of them.
func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	l := start(b, dir, Options{})
	const group = 1000
	for first := 0; first < *benchObjects; first += group {
		changes := make([]storage.Change, 0, group)
		for n := first; n < min(first+group, *benchObjects); n++ {
			changes = append(changes, benchChange(n))
		}
		if err := l.Commit(changes); err != nil {
			b.Fatal(err)
		}
	}
	l.Close()
	b.Run("start", func(b *testing.B) {
		for b.Loop() {
			start(b, dir, Options{}).Close()
		}
	})
	b.Run("start with a survey", func(b *testing.B) {
		for b.Loop() {
			if err := os.Remove(filepath.Join(dir, revisionFile)); err != nil {
				b.Fatal(err)
			}
			start(b, dir, Options{}).Close()
		}
		b.ReportMetric(float64(*benchObjects)*float64(b.N)/b.Elapsed().Seconds(), "objects/s")
	})
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
	for name, path := range map[string]string{"get": benchChange(*benchObjects / 2).Key, "get of an absent": "cities/0050/none"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.Get(path); (err == nil) != (name == "get") {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("size hint", func(b *testing.B) {
		for b.Loop() {
			l.SizeHint()
		}
		b.ReportMetric(float64(l.SizeHint())/float64(*benchObjects), "hint/objects")
	})
}
