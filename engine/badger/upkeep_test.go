package badger

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/storage"
)

func TestCheckReportsEachThing(t *testing.T) {
	l := startSmall(t)
	enginetest.SetAll(t, l, enginetest.Numbered("d", 2000)...)
	put(t, l, rawKey(l, "d/000007"), "")
	put(t, l, rawKey(l, "d/000900"), "\x01garbage")
	put(t, l, rawKey(l, "d/../x"), "")
	objects, found := enginetest.Checked(t, l)
	if objects != 1998 {
		t.Errorf("the check counts %d objects, expected 1998", objects)
	}
	wants := []string{
		`key "d/000007": the stored object is cut short`, `key "d/000900": the stored object is cut short`,
		`key "d/../x": storage: invalid path`,
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
	for _, table := range storeOf(l).db.Tables() {
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
			// Beside objects there are some notes, and versions of what fills a table in memory.
			if n := entriesOf(l) - want; n > 100 {
				t.Errorf("the tables have %d entries beside the %d objects", n, want)
			}
			if _, found := enginetest.Checked(t, l); len(found) > 0 {
				t.Errorf("the check finds %q", found)
			}
		})
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
		if err := storeOf(l).rotate(t.Context()); err != nil {
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

func TestCrashKeepsMark(t *testing.T) {
	for _, durability := range []Durability{DurabilitySync, DurabilityNoSync} {
		options := small()
		options.Durability = durability
		dir := t.TempDir()
		enginetest.TestCrashKeepsMark(t, start(t, dir, options), func() enginetest.Layer { return New(copyOf(t, dir), options) })
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
		storeOf(l).writing.Lock() // so that it cannot come to its end
		done := make(chan error, 1)
		go func() { done <- l.Compact(t.Context()) }()
		storeOf(l).stop() // what Close does first
		storeOf(l).writing.Unlock()
		if err := <-done; !errors.Is(err, storage.ErrNotActive) {
			t.Errorf("it ended with %v, expected ErrNotActive", err)
		}
	})
}
