package badger

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// puts returns changes that store data of some length at each path.
func puts(paths []string, length int, revision uint64) []storage.Change {
	changes := make([]storage.Change, len(paths))
	for i, path := range paths {
		data := fmt.Sprintf("%q", path+strings.Repeat("x", length))
		changes[i] = storage.Change{Key: path, Object: enginetest.Object(path, int64(i+1), data), Revision: revision + uint64(i)}
	}
	return changes
}

// countParts returns options whose layer counts the transactions of batches that take several.
func countParts(o Options) (Options, *int) {
	parts := new(int)
	o.hooks.part = func(int) error { *parts++; return nil }
	return o, parts
}

func TestBatchOfSeveralTransactions(t *testing.T) {
	for _, c := range []struct {
		name   string
		n      int
		length int
		most   int // parts
	}{
		{"one transaction", 500, 10, 0},
		{"many small objects", 20_000, 10, 20},
		{"values that fill a transaction", 500, 900, 8},
		{"large values", 100, 100_000, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			options, parts := countParts(small())
			l := start(t, dir, options)
			paths := enginetest.Numbered("d", c.n)
			if err := l.Commit(puts(paths, c.length, 1)); err != nil {
				t.Fatal(err)
			}
			if *parts > c.most || (*parts == 0) != (c.most == 0) {
				t.Errorf("the batch took %d parts, expected at most %d", *parts, c.most)
			}
			check := func(when string) {
				t.Helper()
				if got := enginetest.Keys(t, l); !slices.Equal(got, paths) {
					t.Errorf("%s there are %d keys, expected %d", when, len(got), len(paths))
				}
				if got, err := l.LastRevision(); err != nil || got != uint64(c.n) {
					t.Errorf("%s the last revision is %d, %v", when, got, err)
				}
				if got, err := l.Get(paths[c.n/2]); err != nil || len(got.Data) < c.length {
					t.Errorf("%s an object has %d bytes, %v", when, len(got.Data), err)
				}
			}
			check("after the commit")
			l.Close()
			l = start(t, dir, options)
			check("after a restart")
		})
	}
}

// A delete of as many keys as a glob can match, with a clear and puts beside.
func TestDeleteOf100000Keys(t *testing.T) {
	const n = 100_000
	dir := t.TempDir()
	options := Options{MemTableSize: 4 << 20}
	options, parts := countParts(options)
	l := start(t, dir, options)
	db := storage.New(storage.LayeredConfig{Embedded: l})
	l.Close()
	if err := db.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	paths := enginetest.Numbered("users", n)
	if err := l.Commit(puts(append(paths, "other/1"), 20, 1)); err != nil {
		t.Fatal(err)
	}
	*parts = 0
	if err := db.Del("users/*"); err != nil {
		t.Fatal(err)
	}
	if *parts < 2 {
		t.Errorf("the delete took %d parts, expected several", *parts)
	}
	if got, err := db.Keys(); err != nil || !slices.Equal(got, []string{"other/1"}) {
		t.Errorf("after the delete there are %d keys, %v", len(got), err)
	}
	db.Close()
	l = start(t, dir, options)
	if got := enginetest.Keys(t, l); !slices.Equal(got, []string{"other/1"}) {
		t.Errorf("after a restart there are %d keys", len(got))
	}
}

// Whatever part of a large batch a crash comes before, nothing of the batch is there afterwards.
func TestCrashWithinALargeBatch(t *testing.T) {
	const n = 12_000
	old, paths := enginetest.Numbered("d", n/2), enginetest.Numbered("d", n)
	batches := map[string]func() []storage.Change{
		"puts": func() []storage.Change { return puts(paths, 30, 1_000_000) },
		"deletes": func() []storage.Change {
			changes := make([]storage.Change, n)
			for i, path := range paths {
				changes[i] = storage.Change{Key: path, Revision: 1_000_000}
			}
			return changes
		},
		"a clear and puts": func() []storage.Change {
			return append([]storage.Change{{Clear: true, Revision: 999_999}}, puts(paths, 30, 1_000_000)...)
		},
		"larger values": func() []storage.Change { return puts(paths[:n/2], 2000, 1_000_000) },
	}
	for name, changes := range batches {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := start(t, dir, small())
			if err := l.Commit(puts(old, 300, 1)); err != nil {
				t.Fatal(err)
			}
			before, err := l.Load()
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
			var crashed []string
			options := small()
			options.hooks.part = func(part int) error {
				if part%6 == 0 || part == 1 {
					crashed = append(crashed, copyOf(t, dir))
				}
				return nil
			}
			l = start(t, dir, options)
			if err := l.Commit(changes()); err != nil {
				t.Fatal(err)
			}
			l.Close()
			if len(crashed) < 2 {
				t.Fatalf("the batch was crashed at %d parts, expected several", len(crashed))
			}
			for i, dir := range crashed {
				l := start(t, dir, small())
				sameContent(t, fmt.Sprint("after crash ", i), l, before, uint64(len(old)))
				l.Close()
				l = start(t, dir, small())
				sameContent(t, fmt.Sprint("at the second start after crash ", i), l, before, uint64(len(old)))
				enginetest.SetAll(t, l, "new")
				l.Close()
			}
		})
	}
}

// sameContent checks what a layer holds.
func sameContent(t *testing.T, when string, l *Layer, want map[string]*meta.Object, revision uint64) {
	t.Helper()
	got, err := l.Load()
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	if len(got) != len(want) {
		t.Errorf("%s there are %d objects, expected %d", when, len(got), len(want))
	}
	for path, obj := range want {
		if found := got[path]; found == nil || string(found.Data) != string(obj.Data) || found.Revision != obj.Revision {
			t.Fatalf("%s %q is %.60v, expected %.60v", when, path, found, obj)
		}
	}
	if got, err := l.LastRevision(); err != nil || got != revision {
		t.Errorf("%s the last revision is %d, %v, expected %d", when, got, err, revision)
	}
}

// A crash while a batch is being taken back leaves it to be taken back.
func TestCrashWithinUndo(t *testing.T) {
	const n = 10_000
	dir := t.TempDir()
	l := start(t, dir, small())
	if err := l.Commit(puts(enginetest.Numbered("d", n/2), 700, 1)); err != nil {
		t.Fatal(err)
	}
	before, err := l.Load()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	failing := small()
	failing.hooks.part = func(part int) error {
		if part == 5 {
			return errors.New("enough of it")
		}
		return nil
	}
	l = start(t, dir, failing)
	err = l.Commit(puts(enginetest.Numbered("d", n), 30, 1_000_000))
	if err == nil || !strings.Contains(err.Error(), "enough of it") {
		t.Fatalf("the batch ended with %v", err)
	}
	// The layer takes no more writes, and shows nothing of the batch.
	if err := l.Set("later", enginetest.Object("later", 1, "1")); err == nil || !strings.Contains(err.Error(), "enough of it") {
		t.Errorf("a write behind it: %v", err)
	}
	sameContent(t, "after the failure", l, before, n/2)
	dir = copyOf(t, dir)
	var crashed []string
	undoing := small()
	undoing.hooks.undo = func() { crashed = append(crashed, copyOf(t, dir)) }
	l = start(t, dir, undoing)
	sameContent(t, "after it was taken back", l, before, n/2)
	if len(crashed) < 3 {
		t.Fatalf("it was taken back in %d steps, expected several", len(crashed))
	}
	for i, dir := range crashed {
		if i%4 == 0 {
			l := start(t, dir, small())
			sameContent(t, fmt.Sprint("after a crash within step ", i), l, before, n/2)
			l.Close()
		}
	}
}

// A reader sees all of a large batch or nothing, and does not wait for it.
func TestLargeBatchIsAtomicForReaders(t *testing.T) {
	options := small()
	paths := enginetest.Numbered("d", 20_000)
	var l *Layer
	length := 10
	checked := 0
	options.hooks.part = func(int) error {
		seen := 0
		for obj, err := range l.Scan("d/*") {
			if err != nil {
				return err
			}
			if want := len(paths[0]) + 2 + 10; len(obj.Data) != want {
				t.Errorf("within the batch an object has %d bytes, expected %d", len(obj.Data), want)
			}
			seen++
		}
		if obj, err := l.Get(paths[0]); length > 10 && (err != nil || len(obj.Data) != len(paths[0])+2+10) {
			t.Errorf("within the batch the first object has %d bytes, %v", len(obj.Data), err)
		}
		if want := len(paths); length > 10 && seen != want || length == 10 && seen != 0 {
			t.Errorf("within the batch there are %d objects", seen)
		}
		checked++
		return nil
	}
	l = start(t, t.TempDir(), options)
	for _, length = range []int{10, 20} {
		if err := l.Commit(puts(paths, length, 1)); err != nil {
			t.Fatal(err)
		}
		storeOf(l).release()
	}
	if obj, err := l.Get(paths[0]); err != nil || len(obj.Data) != len(paths[0])+2+20 {
		t.Errorf("after the batch the first object has %d bytes, %v", len(obj.Data), err)
	}
	if checked < 10 {
		t.Errorf("readers looked %d times, expected more", checked)
	}
}
