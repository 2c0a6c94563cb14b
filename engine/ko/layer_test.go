package ko

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/storage"
)

// start returns a started layer in a directory, closed at the end of the test.
func start(t testing.TB, dir string, options Options) *Layer {
	t.Helper()
	return enginetest.Start(t, New(dir, options))
}

// startInMemory returns a started layer on a fresh disk in memory.
func startInMemory(t testing.TB) *Layer {
	t.Helper()
	return enginetest.Start(t, newMemDisk().layer(t, Options{}))
}

// fill stores many paths in batches.
func fill(t testing.TB, l *Layer, paths []string) {
	t.Helper()
	for chunk := range slices.Chunk(paths, 1000) {
		enginetest.SetAll(t, l, chunk...)
	}
}

func scansOf(l enginetest.Layer) int { return l.(*Layer).life.Holding() }

func TestLayer(t *testing.T) {
	enginetest.TestLayer(t, enginetest.Engine{
		New: func(t testing.TB) enginetest.Layer {
			return newMemDisk().layer(t, Options{WriteBuffer: smallBuffer})
		},
		In:     func(dir string, maxData int) enginetest.Layer { return New(dir, Options{MaxData: maxData}) },
		Scans:  scansOf,
		Rounds: 30,
		Refuses: map[string]storage.Change{
			"no JSON":    {Key: "b", Object: enginetest.Object("b", 1, "{"), Revision: 2},
			"two values": {Key: "b", Object: enginetest.Object("b", 1, `1,"revision":2`), Revision: 2},
		},
		NothingLeft: func(t testing.TB, l enginetest.Layer) {
			if _, err := os.Stat(filepath.Join(l.(*Layer).dir, revisionFile)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the refused batch reserved revisions: %v", err)
			}
		},
		Calls: func(l enginetest.Layer) { l.(*Layer).Skipped(); l.(*Layer).Recovery() },
	})
}

func TestInactiveHasNothingToTell(t *testing.T) {
	l := newMemDisk().layer(t, Options{})
	for _, when := range []string{"before Start", "after Close"} {
		if skipped, n := l.Skipped(); n != 0 || len(skipped) != 0 || l.Recovery() != nil {
			t.Errorf("%s there is something skipped or recovered", when)
		}
		enginetest.Start(t, l).Close()
	}
}

func TestBatchTooLarge(t *testing.T) {
	l := startInMemory(t)
	databaseOf(l).maxBatch = 10_000
	half := enginetest.Object("b", 1, `"`+strings.Repeat("x", 5000)+`"`)
	changes := []storage.Change{{Key: "a", Object: half, Revision: 1}, {Key: "b", Object: half, Revision: 2}}
	err := l.Commit(changes)
	var refused *storage.EntryError
	if !errors.As(err, &refused) || refused.Index != 1 || !strings.Contains(err.Error(), "at most 10000") {
		t.Errorf("the error is %v, expected an EntryError of change 1", err)
	}
	if got := enginetest.Keys(t, l); len(got) != 0 {
		t.Errorf("the refused batch stored %q", got)
	}
	for n := range 200 {
		enginetest.Set(t, l, fmt.Sprintf("many/%d", n))
	}
	err = l.Commit([]storage.Change{{Key: "a", Object: enginetest.Object("a", 1, "1"), Revision: 3}, {Clear: true, Revision: 4}})
	if !errors.As(err, &refused) || refused.Index != 1 || !strings.Contains(err.Error(), "delete parts of it first") {
		t.Errorf("the error is %v, expected an EntryError of the clear", err)
	}
	l.Clear()
	if got := enginetest.Keys(t, l); len(got) != 200 {
		t.Errorf("a refused clear left %d objects", len(got))
	}
	enginetest.Set(t, l, "a")
}

// Data beyond the write buffer takes another way through LevelDB.
func TestLargeData(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, Options{WriteBuffer: 1 << 20})
	data := `"` + strings.Repeat("x", 8<<20) + `"`
	batch := []storage.Change{
		{Key: "large", Object: enginetest.Object("large", 1, data), Revision: 1},
		{Key: "small", Object: enginetest.Object("small", 1, "1"), Revision: 2},
	}
	if err := l.Commit(batch); err != nil {
		t.Fatal(err)
	}
	enginetest.Set(t, l, "after")
	for range 2 {
		l.Close()
		l = start(t, dir, Options{WriteBuffer: 1 << 20})
		if got, err := l.Get("large"); err != nil || string(got.Data) != data {
			t.Errorf("got %d bytes, %v", len(got.Data), err)
		}
		if got := enginetest.Keys(t, l); !slices.Equal(got, []string{"after", "large", "small"}) {
			t.Errorf("the keys are %q", got)
		}
	}
}

// databaseOf is the open database of a layer.
func databaseOf(l *Layer) *database {
	d, err := l.life.Enter()
	if err != nil {
		panic(err)
	}
	l.life.Leave()
	return d
}
