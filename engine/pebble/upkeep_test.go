package pebble

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/storage"
)

func TestCheckReportsEachThing(t *testing.T) {
	l := startInMemory(t)
	var paths []string
	for i := range 2000 {
		paths = append(paths, fmt.Sprintf("d/%04d", i))
	}
	enginetest.Set(t, l, paths...)
	for raw, value := range map[string]string{
		string(objectKeys.Append(nil, "d/0007")): "",
		string(objectKeys.Append(nil, "d/0900")): "\x01garbage",
		"odd":                                    "no object",
		"mystery":                                "no note",
		"zebra":                                  "no kind",
		string(revisionKey):                      "short",
	} {
		if err := opened(l).db.Set([]byte(raw), []byte(value), pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	// An object that is whole, at a path that no store can ask for.
	b := opened(l).db.NewBatch()
	if err := errors.Join(put(b, "d/../x", enginetest.Object("x", 1, "1")), put(b, "d/*", enginetest.Object("x", 1, "1")), b.Commit(pebble.Sync)); err != nil {
		t.Fatal(err)
	}
	objects, found := enginetest.Checked(t, l)
	if objects != 1998 {
		t.Errorf("the check counts %d objects, expected 1998", objects)
	}
	wants := []string{
		`key "d/0007": the stored object is cut short`, `key "d/0900": the stored object is cut short`,
		`stored key "odd" is not the key of an object`, `stored key "mystery" is no note`, `stored key "zebra" is not the key`,
		`read the last revision in store: it has 5 bytes, expected 8`, `key "d/../x": storage: invalid path`, `key "d/*": storage: glob`,
	}
	all := strings.Join(found, "\n")
	for _, want := range wants {
		if !strings.Contains(all, want) {
			t.Errorf("no report has %q:\n%s", want, all)
		}
	}
	if len(found) != len(wants) {
		t.Errorf("%d reports, expected %d:\n%s", len(found), len(wants), all)
	}
}

// threeTables makes a store of three tables of 200 objects each, and nothing in its log.
func threeTables(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	l := start(t, dir, Options{})
	for table := range 3 {
		for i := range 200 {
			path := fmt.Sprintf("d/%d-%03d", table, i)
			if err := l.Set(path, enginetest.Object(path, 1, fmt.Sprintf("%q", strings.Repeat(path, 30)))); err != nil {
				t.Fatal(err)
			}
		}
		if err := opened(l).db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	if files, err := filepath.Glob(dir + "/*.sst"); err != nil || len(files) != 3 {
		t.Fatalf("the store has the tables %q, %v, expected three", files, err)
	}
	return dir
}

func TestCheckGoesOnBehindATable(t *testing.T) {
	dir := threeTables(t)
	files, err := filepath.Glob(dir + "/*.sst")
	if err != nil {
		t.Fatal(err)
	}
	for damaged, file := range files { // in the order of their making
		t.Run(fmt.Sprintf("table %d", damaged), func(t *testing.T) {
			dir := threeTables(t)
			enginetest.Corrupt(t, dir, filepath.Base(file))
			l := start(t, dir, Options{})
			objects, found := enginetest.Checked(t, l)
			if objects < 400 || objects >= 600 {
				t.Errorf("the check counts %d objects, expected those of two tables", objects)
			}
			if len(found) != 1 || !strings.Contains(found[0], "nothing can be read ") {
				t.Fatalf("the reports are %q, expected one of a gap", found)
			}
			if damaged > 0 && !strings.Contains(found[0], fmt.Sprintf(`behind key "d/%d-`, damaged)) &&
				!strings.Contains(found[0], fmt.Sprintf(`behind key "d/%d-199"`, damaged-1)) {
				t.Errorf("the report is %q, expected the last key before the gap", found[0])
			}
			until := "up to the end"
			if damaged < 2 {
				until = fmt.Sprintf("up to key \"d/%d-000\"", damaged+1)
			}
			if !strings.HasSuffix(found[0], until) {
				t.Errorf("the report is %q, expected it to go %s", found[0], until)
			}
			var levels error
			if err := l.checkLevels(func(err error) { levels = err }); err != nil {
				t.Error(err)
			}
			if levels == nil || !strings.Contains(levels.Error(), "check the levels in "+dir+": the store is corrupt") {
				t.Errorf("the check of the levels reports %v", levels)
			}
		})
	}
}

func TestCheckMayBeClosedAndLeft(t *testing.T) {
	enginetest.TestCheckLeft(t, 3000, func(t *testing.T) enginetest.Layer {
		l := startInMemory(t)
		paths := enginetest.Numbered("d", 3000)
		enginetest.Set(t, l, paths...)
		if err := opened(l).db.Set(objectKeys.Append(nil, paths[0]), []byte("bad"), pebble.Sync); err != nil {
			t.Fatal(err)
		}
		return l
	}, scansOf)
}

func TestCompactGivesBack(t *testing.T) {
	l := startInMemory(t)
	for round := range 3 {
		for i := range 1000 {
			path := fmt.Sprintf("d/%03d", i)
			if err := l.Set(path, enginetest.Object(path, 1, fmt.Sprintf("%q", fmt.Sprint(round, strings.Repeat("x", 100))))); err != nil {
				t.Fatal(err)
			}
		}
		if err := opened(l).db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 900 {
		if err := l.Del(fmt.Sprintf("d/%03d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	levels, err := opened(l).db.SSTables(pebble.WithProperties())
	if err != nil {
		t.Fatal(err)
	}
	var entries, deletions uint64
	for _, tables := range levels {
		for _, table := range tables {
			entries += table.Properties.NumEntries
			deletions += table.Properties.NumDeletions
		}
	}
	if entries != 100 || deletions != 0 || opened(l).db.Metrics().MemTable.Size > 1<<20 {
		t.Errorf("after the compaction the tables have %d entries, %d of them deletions, expected the 100 objects that are left", entries, deletions)
	}
	if got := enginetest.Keys(t, l); len(got) != 100 {
		t.Errorf("%d objects, expected 100", len(got))
	}
}

// compacting begins a compaction whose output the disk does not make before release is
// called, and then only if it returns nil.
func compacting(t *testing.T, ctx context.Context) (l *Layer, compacted <-chan error, release func(error)) {
	t.Helper()
	var armed atomic.Bool
	entered, answer := make(chan struct{}, 100), make(chan struct{})
	var verdict error
	disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if armed.Load() && op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") {
			entered <- struct{}{}
			<-answer
			return verdict
		}
		return nil
	}))
	l = start(t, "store", Options{FS: disk})
	// Two tables of the same keys, so that no mere move will do, on two levels, so that
	// Pebble does not compact them by itself.
	enginetest.Set(t, l, "a", "b", "c")
	if err := l.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	enginetest.Set(t, l, "a", "b", "c")
	if err := opened(l).db.Flush(); err != nil {
		t.Fatal(err)
	}
	armed.Store(true)
	done := make(chan error, 1)
	go func() { done <- l.Compact(ctx) }()
	var once sync.Once
	release = func(err error) { once.Do(func() { verdict = err; close(answer) }) }
	t.Cleanup(func() { release(nil) })
	select {
	case <-entered:
	case err := <-done:
		t.Fatalf("the compaction ended with %v before it made a table", err)
	case <-time.After(time.Minute):
		t.Fatal("the compaction makes no table")
	}
	return l, done, release
}

func TestCompactEnds(t *testing.T) {
	t.Run("by its context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l, compacted, release := compacting(t, ctx)
		cancel()
		enginetest.Within(t, "Compact", func() {
			if err := <-compacted; !errors.Is(err, context.Canceled) {
				t.Errorf("it ended with %v, expected context.Canceled", err)
			}
		})
		enginetest.Set(t, l, "d")
		release(nil)
	})
	t.Run("by Close", func(t *testing.T) {
		l, compacted, release := compacting(t, t.Context())
		closed := make(chan struct{})
		go func() { defer close(closed); l.Close() }()
		enginetest.Within(t, "Compact", func() {
			if err := <-compacted; !errors.Is(err, storage.ErrNotActive) {
				t.Errorf("it ended with %v, expected ErrNotActive", err)
			}
		})
		release(nil)
		enginetest.Within(t, "Close", func() { <-closed })
	})
	t.Run("by a full disk", func(t *testing.T) {
		l, compacted, release := compacting(t, t.Context())
		release(syscall.ENOSPC)
		enginetest.Within(t, "Compact", func() {
			if err := <-compacted; !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("it ended with %v, expected the failure of the disk", err)
			}
		})
		if err := l.Compact(t.Context()); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("another one: %v, expected the failure of the disk", err)
		}
		if got := enginetest.Keys(t, l); len(got) != 3 {
			t.Errorf("after the failure there is %q", got)
		}
		if err := l.MarkIncomplete("a copy"); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("a mark after the failure: %v, expected the failure of the disk", err)
		}
		enginetest.Within(t, "Close", l.Close)
	})
}

func TestCrashKeepsMark(t *testing.T) {
	for _, durability := range []Durability{DurabilitySync, DurabilityNoSync} {
		disk := vfs.NewCrashableMem()
		enginetest.TestCrashKeepsMark(t, start(t, "store", Options{FS: disk, Durability: durability}), func() enginetest.Layer {
			return New("store", Options{FS: disk.CrashClone(vfs.CrashCloneCfg{})})
		})
	}
}
