package enginetest

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Engine is an engine under test.
type Engine struct {
	// New returns a layer, not started, on a new place that only the test uses. The layer has so little memory that
	// few writes reach all parts of the engine.
	New func(t testing.TB) Layer
	// In returns a layer, not started, on a directory that need not exist yet. Its limit of data is maxData bytes, or
	// none for 0.
	In func(dir string, maxData int) Layer
	// Scans returns how many scans a started layer holds.
	Scans func(l Layer) int
	// Rounds is how often a layer is closed during use.
	Rounds int

	// Refuses are changes that the engine rejects with storage.ErrInvalidStorageData, in addition to those that all
	// engines reject, by what is wrong with them.
	Refuses map[string]storage.Change
	// NothingLeft checks for other traces of a rejected batch than objects; nil if there can be none.
	NothingLeft func(t testing.TB, l Layer)
	// Calls makes calls of the engine's own that are allowed at any time, in addition to those of a Layer.
	Calls func(l Layer)
}

// TestLayer runs the tests that every engine passes, as subtests.
func TestLayer(t *testing.T, e Engine) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, e Engine)
	}{
		{"absent", testAbsent},
		{"inactive", testInactive},
		{"reopened", testReopened},
		{"last revision", testLastRevision},
		{"size hint", testSizeHint},
		{"refused entries", testRefusedEntries},
		{"too large", testTooLarge},
		{"scan against a model", testScanAgainstModel},
		{"scan of an invalid pattern", testScanInvalid},
		{"scan is a snapshot", testScanIsASnapshot},
		{"scan repeated and left", testScanRepeatedAndLeft},
		{"close inside a scan", testCloseInsideScan},
		{"close during everything", testCloseDuringEverything},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, e) })
	}
}

// The error of an absent object names its path.
func testAbsent(t *testing.T, e Engine) {
	l := Start(t, e.New(t))
	_, get := l.Get("users/2")
	for name, err := range map[string]error{"get": get, "del": l.Del("users/2")} {
		if !errors.Is(err, storage.ErrNotFound) || !strings.Contains(err.Error(), "users/2") {
			t.Errorf("%s of an absent key: %v", name, err)
		}
	}
}

// An inactive layer returns no data.
func testInactive(t *testing.T, e Engine) {
	l := e.New(t)
	inactive := func(when string) {
		t.Helper()
		if hint := l.SizeHint(); hint != 0 {
			t.Errorf("%s the size hint is %d", when, hint)
		}
		if identified, ok := l.(storage.Identified); ok {
			if _, err := identified.ID(); !errors.Is(err, storage.ErrNotActive) {
				t.Errorf("%s: ID: %v, expected ErrNotActive", when, err)
			}
		}
	}
	inactive("before Start")
	Start(t, l)
	Set(t, l, "a")
	l.Close()
	inactive("after Close")
}

// A directory is created with its parents, and another layer finds the content of the first one there.
func testReopened(t *testing.T, e Engine) {
	dir := t.TempDir() + "/not/yet/there"
	l := Start(t, e.In(dir, 0))
	paths := []string{"a", "a-b/c", "a/b", "a/b/c", "b.c/d_e", "z"}
	Set(t, l, paths...)
	if err := l.Del("z"); err != nil {
		t.Fatal(err)
	}
	before, err := l.Load()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	l = Start(t, e.In(dir, 0))
	after, err := l.Load()
	if err != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("loaded %v, %v, expected %v", after, err, before)
	}
	if got := Keys(t, l); !slices.Equal(got, paths[:5]) {
		t.Errorf("the keys are %q, expected %q", got, paths[:5])
	}
}

// The last revision is that of a commit, regardless of its changes, also after a restart, and nothing else changes it.
func testLastRevision(t *testing.T, e Engine) {
	l := Start(t, e.In(t.TempDir(), 0))
	for _, c := range []struct {
		name string
		do   func() error
		want uint64
	}{
		{"nothing", func() error { return nil }, 0},
		{"a put", func() error { return l.Commit([]storage.Change{{Key: "a", Object: Object("a", 1, "1"), Revision: 3}}) }, 3},
		{"a delete", func() error { return l.Commit([]storage.Change{{Key: "a", Revision: 9}}) }, 9},
		{"a clear", func() error { return l.Commit([]storage.Change{{Clear: true, Revision: 11}}) }, 11},
		{"an empty batch", func() error { return l.Commit(nil) }, 11},
		{"Clear", func() error { l.Clear(); return nil }, 11},
		{"the highest", func() error { return l.Commit([]storage.Change{{Key: "a", Revision: math.MaxUint64}}) }, math.MaxUint64},
	} {
		if err := c.do(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		for _, when := range []string{"", " and a restart"} {
			if got, err := l.LastRevision(); err != nil || got != c.want {
				t.Errorf("after %s%s the last revision is %d, %v, expected %d", c.name, when, got, err, c.want)
			}
			l.Close()
			Start(t, l)
		}
	}
}

// The hint is never far above the number of objects, and not far below it after a restart.
func testSizeHint(t *testing.T, e Engine) {
	const n = 20_000
	l := Start(t, e.In(t.TempDir(), 0))
	SetAll(t, l, Numbered("d", n)...)
	if hint := l.SizeHint(); hint > n*4 {
		t.Errorf("with %d new objects the hint is %d", n, hint)
	}
	l.Close()
	Start(t, l)
	if hint := l.SizeHint(); hint < n/4 || hint > n*4 {
		t.Errorf("with %d objects the hint is %d", n, hint)
	}
}

// One bad entry of a batch is rejected by its index, and nothing of the batch is stored.
func testRefusedEntries(t *testing.T, e Engine) {
	type refusal struct {
		change storage.Change
		want   error
	}
	cases := map[string]refusal{
		"too large":                {storage.Change{Key: "b", Object: Object("b", 1, strings.Repeat("1", 101)), Revision: 2}, nil},
		"invalid path":             {storage.Change{Key: "/", Object: Object("b", 1, "1"), Revision: 2}, storage.ErrInvalidPath},
		"invalid path of a delete": {storage.Change{Key: "/", Revision: 2}, storage.ErrInvalidPath},
		"nothing at all":           {storage.Change{}, storage.ErrInvalidPath},
		"a put without a key":      {storage.Change{Object: Object("b", 1, "1"), Revision: 2}, storage.ErrInvalidPath},
		"a clear of one key":       {storage.Change{Key: "b", Clear: true, Revision: 2}, storage.ErrInvalidOptions},
		"a clear and a put":        {storage.Change{Clear: true, Object: Object("b", 1, "1"), Revision: 2}, storage.ErrInvalidOptions},
		"a glob":                   {storage.Change{Key: "a/*", Revision: 2}, storage.ErrGlobNotAllowed},
		"empty":                    {storage.Change{Key: "b", Object: &meta.Object{}, Revision: 2}, storage.ErrInvalidStorageData},
	}
	for name, change := range e.Refuses {
		cases[name] = refusal{change, storage.ErrInvalidStorageData}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			l := Start(t, e.In(t.TempDir(), 100))
			good := storage.Change{Key: "a", Object: Object("a", 1, "1"), Revision: 1}
			err := l.Commit([]storage.Change{good, c.change})
			var refused *storage.EntryError
			if !errors.As(err, &refused) || refused.Index != 1 {
				t.Fatalf("the error is %v, expected an EntryError of change 1", err)
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("the error is %v, expected %v", err, c.want)
			}
			if got := Keys(t, l); len(got) != 0 {
				t.Errorf("the refused batch stored %q", got)
			}
			if e.NothingLeft != nil {
				e.NothingLeft(t, l)
			}
			if err := l.Commit([]storage.Change{good}); err != nil {
				t.Errorf("the batch without the entry: %v", err)
			}
		})
	}
}

// The error of an object that is too large names its path and the limit.
func testTooLarge(t *testing.T, e Engine) {
	l := Start(t, e.In(t.TempDir(), 100))
	err := l.Set("b", Object("b", 1, strings.Repeat("1", 101)))
	if err == nil || !strings.Contains(err.Error(), `"b"`) || !strings.Contains(err.Error(), "at most 100") {
		t.Errorf("the error is %v", err)
	}
	if err := l.Set("b", Object("b", 1, strings.Repeat("1", 100))); err != nil {
		t.Errorf("the largest allowed: %v", err)
	}
}

// Close ends or waits for every call in progress, and a start can follow.
func testCloseDuringEverything(t *testing.T, e Engine) {
	l := e.New(t)
	stop := make(chan struct{})
	var group sync.WaitGroup
	calls := []func(int) error{
		func(i int) error { path := fmt.Sprintf("d/%d", i%500); return l.Set(path, Object(path, 1, `"x"`)) },
		func(i int) error { return l.Del(fmt.Sprintf("d/%d", i%500)) },
		func(i int) error { return l.Commit(Pair(fmt.Sprint(i%2000), uint64(i+1), 20)) },
		func(i int) error { _, err := l.Get(fmt.Sprintf("d/%d", i%500)); return err },
		func(int) error { _, err := l.GetList("d/*"); return err },
		func(int) error { _, err := l.Keys(); return err },
		func(int) error { _, err := l.Load(); return err },
		func(int) error { _, err := l.LastRevision(); return err },
		func(int) error { l.Clear(); return nil },
		func(int) error { l.SizeHint(); l.Active(); return nil },
		func(int) error {
			_, err := l.Check(t.Context(), func(err error) { t.Errorf("the check finds %v", err) })
			return err
		},
		func(int) error { return l.Compact(t.Context()) },
		func(int) error { return l.MarkIncomplete("") },
		func(int) error { return scanWithin(l) },
	}
	if e.Calls != nil {
		calls = append(calls, func(int) error { e.Calls(l); return nil })
	}
	for n, call := range calls {
		group.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				err := call(i)
				if err != nil && !errors.Is(err, storage.ErrNotActive) && !errors.Is(err, storage.ErrNotFound) {
					t.Errorf("call %d: %v", n, err)
					return
				}
			}
		})
	}
	for range e.Rounds {
		Within(t, "Start and Close", func() {
			if err := l.Start(storage.LayerOptions{}); err != nil {
				t.Error(err)
				return
			}
			for i := range 3 {
				if err := l.Set("round/1", Object("round/1", int64(i), "1")); err != nil {
					t.Error(err)
				}
			}
			var closers sync.WaitGroup
			for range 2 {
				closers.Go(l.Close)
			}
			closers.Wait()
		})
		if t.Failed() {
			break
		}
	}
	close(stop)
	group.Wait()
}

// scanWithin scans, with a read and another scan inside the loop.
func scanWithin(l Layer) error {
	for _, err := range l.Scan("*/*") {
		if err != nil {
			return err
		}
		for _, err := range l.Scan("d/*") {
			if err != nil {
				return err
			}
			break
		}
		if _, err := l.Get("d/1"); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
	}
	return nil
}
