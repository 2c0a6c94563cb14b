package pebble

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
)

// start returns a started layer in a directory, closed at the end of the test.
func start(t testing.TB, dir string, options Options) *Layer {
	t.Helper()
	return enginetest.Start(t, New(dir, options))
}

// startInMemory returns a started layer on a fresh file system in memory.
func startInMemory(t testing.TB) *Layer {
	t.Helper()
	return start(t, "store", Options{FS: vfs.NewMem()})
}

// scansOf is how many scans a layer holds.
func scansOf(l enginetest.Layer) int { return l.(*Layer).life.Holding() }

func TestLayer(t *testing.T) {
	enginetest.TestLayer(t, enginetest.Engine{
		New: func(testing.TB) enginetest.Layer {
			return New("store", Options{FS: vfs.NewMem(), MemTableSize: smallTables})
		},
		In:     func(dir string, maxData int) enginetest.Layer { return New(dir, Options{MaxData: maxData}) },
		Scans:  scansOf,
		Rounds: 30,
	})
}

// A batch beyond half a table of memory takes another way through Pebble.
func TestLargeData(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, Options{MemTableSize: 1 << 20})
	data := `"` + strings.Repeat("x", 3<<20) + `"`
	if err := l.Set("large", enginetest.Object("large", 1, data)); err != nil {
		t.Fatal(err)
	}
	l.Close()
	l = start(t, dir, Options{MemTableSize: 1 << 20})
	if got, err := l.Get("large"); err != nil || string(got.Data) != data {
		t.Errorf("got %d bytes, %v", len(got.Data), err)
	}
}

// opened is the open database of a layer.
func opened(l *Layer) *database {
	d, err := l.life.Enter()
	if err != nil {
		panic(err)
	}
	l.life.Leave()
	return d
}
