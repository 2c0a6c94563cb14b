package badger

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// start returns a started layer in a directory, closed at the end of the test.
func start(t testing.TB, dir string, options Options) *Layer {
	t.Helper()
	return enginetest.Start(t, New(dir, options))
}

// startSmall returns a started layer of little size in a new directory.
func startSmall(t testing.TB) *Layer {
	t.Helper()
	return start(t, t.TempDir(), small())
}

// storeOf returns the open store of a layer.
func storeOf(l *Layer) (open *store) {
	err := l.life.Use(func(s *store) error {
		open = s
		return nil
	})
	if err != nil {
		panic(err)
	}
	return open
}

// scansOf is how many scans a layer holds.
func scansOf(l enginetest.Layer) int {
	s := storeOf(l.(*Layer))
	s.scanLock.Lock()
	defer s.scanLock.Unlock()
	return len(s.scans)
}

func TestLayer(t *testing.T) {
	enginetest.TestLayer(t, enginetest.Engine{
		New: func(t testing.TB) enginetest.Layer { return New(t.TempDir(), small()) },
		In: func(dir string, maxData int) enginetest.Layer {
			options := small()
			options.MaxData = maxData
			return New(dir, options)
		},
		Scans:  scansOf,
		Rounds: 5,
	})
}

// The last revision is the highest, also when a lower one comes behind it.
func TestLastRevision(t *testing.T) {
	l := startSmall(t)
	for _, c := range []struct{ revision, want uint64 }{{3, 3}, {9, 9}, {4, 9}, {11, 11}} {
		if err := l.Commit([]storage.Change{{Key: "a", Object: enginetest.Object("a", 1, "1"), Revision: c.revision}}); err != nil {
			t.Fatal(err)
		}
		if got, err := l.LastRevision(); err != nil || got != c.want {
			t.Errorf("the last revision is %d, %v, expected %d", got, err, c.want)
		}
	}
}

// The longest path and the largest object are stored, one byte more is refused by name before anything is written: alone, and in a
// batch. On a small disk the largest object is smaller.
func TestLargestEntry(t *testing.T) {
	smallDisk := Options{hooks: hooks{room: func() (room, error) { return room{known: true, bytes: 1 << 40, total: 256 << 20}, nil }}}
	for name, c := range map[string]struct {
		options Options
		most    int
	}{
		"default":      {Options{}, 1023 << 10},
		"small":        {small(), 1<<20*15/100 - 8<<10},
		"small disk":   {smallDisk, 1<<20*15/100 - 8<<10},
		"set":          {Options{MaxData: 1000}, 1000},
		"set too high": {Options{MaxData: 1 << 30}, 1023 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			l := start(t, t.TempDir(), c.options)
			path := strings.Repeat("p", 1024)
			object := func(size int) *meta.Object {
				return enginetest.Object(path, 1, `"`+strings.Repeat("x", size-2)+`"`)
			}
			batch := func(size int) []storage.Change {
				return []storage.Change{
					{Key: "a", Object: enginetest.Object("a", 1, "1"), Revision: 1}, {Key: path, Object: object(size), Revision: 2},
				}
			}
			names := []string{fmt.Sprintf("%q", path), fmt.Sprint("at most ", c.most)}
			refused := func(err error) {
				t.Helper()
				if err == nil || !strings.Contains(err.Error(), names[0]) || !strings.Contains(err.Error(), names[1]) {
					t.Errorf("an object of %d bytes: %.200v, expected %.20s... and %q", c.most+1, err, names[0], names[1])
				}
			}
			refused(l.Set(path, object(c.most+1)))
			err := l.Commit(batch(c.most + 1))
			refused(err)
			if entry, ok := errors.AsType[*storage.EntryError](err); !ok || entry.Index != 1 {
				t.Errorf("the batch is refused with %.200v, expected an EntryError of its second change", err)
			}
			if got := enginetest.Keys(t, l); len(got) > 0 {
				t.Errorf("after the refusals there is %.100q", got)
			}
			if err := l.Commit(batch(c.most)); err != nil {
				t.Errorf("an object of %d bytes: %v", c.most, err)
			}
			if got, err := l.Get(path); err != nil || len(got.Data) != c.most {
				t.Errorf("got %d bytes, %v, expected %d", len(got.Data), err, c.most)
			}
			for _, name := range match(t, l.dir, "*.vlog") {
				content, err := os.ReadFile(name)
				if err != nil || len(bytes.TrimRight(content[logHeaderSize:], "\x00")) > 0 {
					t.Errorf("there is something in the value log %s, %v", name, err)
				}
			}
		})
	}
}
