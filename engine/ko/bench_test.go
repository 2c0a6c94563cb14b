package ko

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
)

var benchObjects = flag.Int("objects", 100_000, "objects in BenchmarkRead")

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
					c := enginetest.BenchChange(n)
					batch.Put([]byte(c.Key), appendEntry(nil, c.Key, c.Object))
					n++
				}
				if err := db.Write(&batch, &opt.WriteOptions{Sync: true}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("layer/group=%d", group), func(b *testing.B) {
			enginetest.BenchGroups(b, start(b, b.TempDir(), Options{}), group)
		})
	}
}

// BenchmarkRead reads -objects objects, as a start does, and parts of them.
func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	l := start(b, dir, Options{})
	enginetest.BenchFill(b, l, *benchObjects, 1000)
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
	enginetest.BenchScans(b, l, *benchObjects)
	enginetest.BenchGets(b, l, enginetest.BenchChange(*benchObjects/2).Key)
	b.Run("size hint", func(b *testing.B) {
		for b.Loop() {
			l.SizeHint()
		}
		b.ReportMetric(float64(l.SizeHint())/float64(*benchObjects), "hint/objects")
	})
}

func BenchmarkShort(b *testing.B) { enginetest.BenchShort(b, start(b, b.TempDir(), Options{})) }
