package badger

import (
	"flag"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
)

var benchObjects = flag.Int("objects", 1_000_000, "objects in BenchmarkStart")

// BenchmarkStart starts a layer on a store of -objects objects that was closed.
func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	l := start(b, dir, Options{})
	enginetest.BenchFill(b, l, *benchObjects, 1000)
	l.Close()
	for name, o := range map[string]Options{"verified": {}, "not verified": {SkipVerify: true}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				start(b, dir, o).Close()
			}
		})
	}
}
