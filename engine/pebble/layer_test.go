package pebble

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/storage"
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

func TestSizeHint(t *testing.T) {
	l := startInMemory(t)
	const n = 5000
	for first := 0; first < n; first += 100 {
		var changes []storage.Change
		for i := range 100 {
			path := fmt.Sprintf("dir/%d", first+i)
			changes = append(changes, storage.Change{Key: path, Object: enginetest.Object(path, 1, strings.Repeat("1", 150)), Revision: uint64(first + i + 1)})
		}
		if err := l.Commit(changes); err != nil {
			t.Fatal(err)
		}
	}
	check := func(where string) {
		t.Helper()
		if hint := l.SizeHint(); hint < n/4 || hint > n*4 {
			t.Errorf("with %d objects %s the hint is %d", n, where, hint)
		}
	}
	check("in memory")
	if err := opened(l).db.Flush(); err != nil {
		t.Fatal(err)
	}
	check("in tables")
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
