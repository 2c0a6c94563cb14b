package badger

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/storage"
)

func TestCheckReportsEachThing(t *testing.T) {
	l := startSmall(t)
	enginetest.SetAll(t, l, enginetest.Numbered("old", 10)...)
	l.Clear()
	enginetest.SetAll(t, l, enginetest.Numbered("d", 2000)...)
	put(t, l, rawKey(l, "d/000007"), "")
	put(t, l, rawKey(l, "d/000900"), "\x01garbage")
	put(t, l, rawKey(l, "d/../x"), "")
	put(t, l, []byte("mystery"), "no note")
	put(t, l, []byte("odd"), "no object")
	put(t, l, []byte("zebra"), "no kind")
	put(t, l, generationKey, "short")
	objects, found := enginetest.Checked(t, l)
	if objects != 1998 {
		t.Errorf("the check counts %d objects, expected 1998", objects)
	}
	wants := []string{
		`key "d/000007": the stored object is cut short`, `key "d/000900": the stored object is cut short`,
		`key "d/../x": storage: invalid path`, `stored key "mystery" is no note`, `stored key "odd" is not the key`,
		`stored key "zebra" is not the key`, `"mgen" has 5 bytes, expected 8`,
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

func TestCheckMayBeClosedAndLeft(t *testing.T) {
	enginetest.TestCheckLeft(t, 3000, func(t *testing.T) enginetest.Layer {
		l := startSmall(t)
		paths := enginetest.Numbered("d", 3000)
		enginetest.SetAll(t, l, paths...)
		put(t, l, rawKey(l, paths[0]), "bad")
		return l
	}, scansOf)
}

// entriesOf counts the entries of all tables.
func entriesOf(l *Layer) (n int) {
	for _, table := range l.store.db.Tables() {
		n += int(table.KeyCount)
	}
	return n
}

func TestCompactGivesBack(t *testing.T) {
	for _, c := range []struct {
		name   string
		remove func(l *Layer) error
		left   int
	}{
		{"overwritten and deleted", func(l *Layer) error {
			var changes []storage.Change
			for _, path := range enginetest.Numbered("d", 1000)[:900] {
				changes = append(changes, storage.Change{Key: path, Revision: 1})
			}
			return l.Commit(changes)
		}, 100},
		{"cleared", func(l *Layer) error {
			l.Clear()
			return nil
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := startSmall(t)
			for range 3 {
				if err := l.Commit(puts(enginetest.Numbered("d", 1000), 100, 1)); err != nil {
					t.Fatal(err)
				}
				if err := l.Commit(puts(enginetest.Numbered("large", 300), 5000, 1)); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.Commit([]storage.Change{{Key: "large/000000", Revision: 1}}); err != nil {
				t.Fatal(err)
			}
			if err := c.remove(l); err != nil {
				t.Fatal(err)
			}
			if err := l.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := c.left
			if c.left > 0 {
				want += 299
			}
			if got := len(enginetest.Keys(t, l)); got != want {
				t.Errorf("%d objects are left, expected %d", got, want)
			}
			// Beside objects there are some notes, and what fills a table in memory.
			if n := entriesOf(l) - want; n > 500 {
				t.Errorf("the tables have %d entries beside the %d objects", n, want)
			}
			// Of 900 large values of 5 KB, 300 or none are alive; the file being written counts for
			// its hole.
			if files := match(t, l.store.dir, "*.vlog"); len(files) > 3 {
				t.Errorf("the value log has the files %q, expected three at most", files)
			}
			if _, found := enginetest.Checked(t, l); len(found) > 0 {
				t.Errorf("the check finds %q", found)
			}
		})
	}
}

// What was deleted stays so when the value log is collected, whatever is merged before and after.
// Badger's own collection brings it back here.
func TestGarbageCollectionBringsNothingBack(t *testing.T) {
	options := small()
	options.GCInterval = -1
	l := start(t, t.TempDir(), options)
	s := l.store
	paths := enginetest.Numbered("d", 1500)
	step := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	step("put", l.Commit(puts(paths, 3000, 1)))
	step("rotate", s.rotate(t.Context()))
	step("merge", s.merge(t.Context()))
	// Most is overwritten, and known to be garbage.
	step("overwrite", l.Commit(puts(paths[:1300], 10, 1)))
	s.release()
	step("rotate", s.rotate(t.Context()))
	step("merge", s.merge(t.Context()))
	// Then the rest is deleted, and the deletion put away, and not merged with what it deletes.
	var deletes []storage.Change
	for _, path := range paths[1300:1400] {
		deletes = append(deletes, storage.Change{Key: path, Revision: 1})
	}
	step("delete", l.Commit(deletes))
	step("rotate", s.rotate(t.Context()))
	files, err := s.valueFiles()
	step("look", err)
	if len(files) == 0 || files[0].garbage < files[0].size/2 {
		t.Fatalf("the value log is %+v, expected garbage", files)
	}
	step("collect", s.collectGarbage(t.Context(), 0.1))
	s.release()
	for range 2 {
		step("merge", s.merge(t.Context()))
		if got := len(enginetest.Keys(t, l)); got != 1400 {
			t.Fatalf("%d objects, expected 1400", got)
		}
		step("rotate", s.rotate(t.Context()))
		step("collect", s.collectGarbage(t.Context(), 0.1))
	}
	left, err := s.valueFiles()
	step("look", err)
	if len(left) >= len(files) {
		t.Errorf("of %d files of the value log %d are left", len(files), len(left))
	}
	for _, path := range paths[1400:] {
		if obj, err := l.Get(path); err != nil || len(obj.Data) < 3000 {
			t.Fatalf("%s: %d bytes, %v", path, len(obj.Data), err)
		}
	}
}

// What is deleted while a scan is under way stays so, also when the process crashes before the scan
// ends. The scan keeps a log that is read back.
func TestDeletedUnderAScan(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, small())
	paths := enginetest.Numbered("d", 500)
	enginetest.SetAll(t, l, paths...)
	var crashed string
	seen := 0
	for _, err := range l.Scan("") {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen > 1 {
			continue
		}
		// So that the deletion is not in the log that the scan keeps.
		if err := l.store.rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		var deletes []storage.Change
		for _, path := range paths {
			deletes = append(deletes, storage.Change{Key: path, Revision: 1})
		}
		if err := l.Commit(deletes); err != nil {
			t.Fatal(err)
		}
		if err := l.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		crashed = copyOf(t, dir)
	}
	if seen != len(paths) {
		t.Errorf("the scan saw %d objects, expected %d", seen, len(paths))
	}
	l.Close()
	l = start(t, crashed, small())
	if got := enginetest.Keys(t, l); len(got) != 0 {
		t.Errorf("after the crash there are %d objects, expected none", len(got))
	}
}

// Upkeep collects the garbage of the value log by itself, beside writers.
func TestUpkeepCollects(t *testing.T) {
	rng := enginetest.Seeded(t)
	options := small()
	options.GCInterval = 10 * time.Millisecond
	dir := t.TempDir()
	l := start(t, dir, options)
	paths := enginetest.Numbered("d", 40)
	want := map[string]int{}
	written := 0
	for deadline := time.Now().Add(time.Minute); ; {
		path, size := paths[rng.IntN(len(paths))], 20_000+rng.IntN(50_000)
		if err := l.Commit(puts([]string{path}, size, 1)); err != nil {
			t.Fatal(err)
		}
		want[path] = size + len(path) + 2
		written += size
		if rng.IntN(5) == 0 {
			if err := l.Commit([]storage.Change{{Key: path, Revision: 1}}); err != nil {
				t.Fatal(err)
			}
			delete(want, path)
		}
		// About 2 MB are alive, in files of 2 MB.
		if written > 30<<20 && len(match(t, dir, "*.vlog")) < 15 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d MB were written, and the value log has the files %q", written>>20, match(t, dir, "*.vlog"))
		}
	}
	for range 2 {
		got := enginetest.Keys(t, l)
		if len(got) != len(want) {
			t.Errorf("%d objects, expected %d", len(got), len(want))
		}
		for path, size := range want {
			if obj, err := l.Get(path); err != nil || len(obj.Data) != size {
				t.Errorf("%s: %d bytes, %v, expected %d", path, len(obj.Data), err, size)
			}
		}
		l.Close()
		l = start(t, dir, options)
	}
}

// What a clear leaves behind goes in the background, also after a crash.
func TestPurge(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, small())
	enginetest.SetAll(t, l, enginetest.Numbered("d", 10_000)...)
	l.Clear()
	crashed := copyOf(t, dir)
	for _, l := range []*Layer{l, start(t, crashed, small())} {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			l.store.writing.Lock()
			older, _ := l.store.older(l.store.view.Load().generation, []byte{objectKind})
			l.store.writing.Unlock()
			if len(older) == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d entries and more are left", len(older))
			}
		}
	}
}

// The mark is on the disk when it is made, also where writes are not synced.
func TestMarkSurvivesACrash(t *testing.T) {
	for _, durability := range []Durability{DurabilitySync, DurabilityNoSync} {
		options := small()
		options.Durability = durability
		dir := t.TempDir()
		l := start(t, dir, options)
		if err := l.MarkIncomplete("a copy\nof something"); err != nil {
			t.Fatal(err)
		}
		enginetest.SetAll(t, l, "a", "b", "c")
		err := New(copyOf(t, dir), options).Start(storage.LayerOptions{})
		if !errors.Is(err, storage.ErrIncomplete) || !strings.HasSuffix(err.Error(), ": a copy of something") {
			t.Errorf("start of a marked store after a crash: %v", err)
		}
		if err := l.MarkIncomplete(""); err != nil {
			t.Fatal(err)
		}
		whole := start(t, copyOf(t, dir), options)
		if got := enginetest.Keys(t, whole); len(got) != 3 {
			t.Errorf("the mark is gone, and of three objects there is %q", got)
		}
	}
}

func TestCompactEnds(t *testing.T) {
	t.Run("by its context", func(t *testing.T) {
		l := startSmall(t)
		enginetest.SetAll(t, l, "a")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.Compact(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v, expected context.Canceled", err)
		}
	})
	t.Run("by Close", func(t *testing.T) {
		l := startSmall(t)
		enginetest.SetAll(t, l, enginetest.Numbered("d", 3000)...)
		l.store.writing.Lock() // so that it cannot come to its end
		done := make(chan error, 1)
		go func() { done <- l.Compact(t.Context()) }()
		l.store.stop() // what Close does first
		l.store.writing.Unlock()
		if err := <-done; !errors.Is(err, storage.ErrNotActive) {
			t.Errorf("it ended with %v, expected ErrNotActive", err)
		}
	})
}
