package ko

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/syndtr/goleveldb/leveldb"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/storage"
)

// older is the older software: it knows LevelDB and the entries as they were, and no more.
type older struct {
	t  testing.TB
	db *leveldb.DB
}

// olderEntry is an entry as it was.
type olderEntry struct {
	Created int64           `json:"created"`
	Updated int64           `json:"updated"`
	Index   string          `json:"index"`
	Path    string          `json:"path,omitempty"`
	Data    json.RawMessage `json:"data"`
}

func openOlder(t testing.TB, dir string) *older {
	t.Helper()
	db, err := leveldb.OpenFile(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &older{t, db}
}

func (o *older) close() {
	o.t.Helper()
	if err := o.db.Close(); err != nil {
		o.t.Fatal(err)
	}
}

func (o *older) putRaw(key, value string) {
	o.t.Helper()
	if err := o.db.Put([]byte(key), []byte(value), nil); err != nil {
		o.t.Fatal(err)
	}
}

func (o *older) put(key string, entry olderEntry) {
	o.t.Helper()
	value, err := json.Marshal(entry)
	if err != nil {
		o.t.Fatal(err)
	}
	o.putRaw(key, string(value))
}

// all reads everything, as it does at its start.
func (o *older) all() map[string]olderEntry {
	o.t.Helper()
	entries := map[string]olderEntry{}
	it := o.db.NewIterator(nil, nil)
	defer it.Release()
	for it.Next() {
		var entry olderEntry
		if err := json.Unmarshal(it.Value(), &entry); err != nil {
			o.t.Fatalf("key %q: %v", it.Key(), err)
		}
		entries[string(it.Key())] = entry
	}
	if err := it.Error(); err != nil {
		o.t.Fatal(err)
	}
	return entries
}

// makeOlder makes a database of the older software.
func makeOlder(t testing.TB, dir string, fill func(o *older)) {
	t.Helper()
	o := openOlder(t, dir)
	fill(o)
	o.close()
}

// A database of the older software is opened, changed, and read back by it.
func TestOlderDatabase(t *testing.T) {
	dir := t.TempDir()
	// What json.Marshal makes of these is what the older software stored.
	data := []string{
		`{"a":1}`, `"<b>&amp;</b>"`, `"\u2028"`, `1e400`, `null`, `[]`, `{"a":1,"a":2}`, `12345678901234567890.000`,
		`"` + strings.Repeat("long ", 3000) + `"`,
	}
	want := map[string]olderEntry{}
	makeOlder(t, dir, func(o *older) {
		for i, d := range data {
			for _, path := range []string{fmt.Sprintf("with/path/%d", i), fmt.Sprintf("without/%d", i)} {
				entry := olderEntry{Created: int64(i) + 1, Updated: int64(i % 2), Index: fmt.Sprint(i), Data: json.RawMessage(d)}
				if strings.HasPrefix(path, "with/") {
					entry.Path = path
				}
				o.put(path, entry)
				want[path] = entry
			}
		}
		for i := range 20000 {
			path := fmt.Sprintf("many/%d/x", i)
			want[path] = olderEntry{Created: 1, Index: "x", Path: path, Data: json.RawMessage(fmt.Sprintf(`{"n":%d,"text":"%s"}`, i, enginetest.BenchData[9:14]))}
			o.put(path, want[path])
		}
		want = o.all()
	})
	makeOlder(t, dir, func(*older) {}) // which makes a table of the log
	if tables, err := filepath.Glob(dir + "/*.ldb"); err != nil || len(tables) == 0 {
		t.Fatalf("the test's database has no tables: %v", err)
	}
	l := start(t, dir, Options{})
	loaded, err := l.Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded) != len(want) {
		t.Errorf("%d objects are loaded, expected %d", len(loaded), len(want))
	}
	for path, entry := range want {
		got, err := l.Get(path)
		if err != nil {
			t.Fatal(err)
		}
		if got.Created != entry.Created || got.Updated != entry.Updated || got.Path != path || got.Index != entry.Index ||
			!bytes.Equal(got.Data, entry.Data) || !bytes.Equal(loaded[path].Data, entry.Data) {
			t.Errorf("%s is %+v, expected %+v", path, got, entry)
		}
	}

	changed := enginetest.Object("with/path/0", 9, ` {"b" : "<&>"} `)
	changed.Updated = 10
	if err := l.Commit([]storage.Change{
		{Key: "with/path/0", Object: changed, Revision: 1},
		{Key: "without/1", Revision: 2},
		{Key: "new/1", Object: enginetest.Object("new/1", 11, `"new"`), Revision: 3},
	}); err != nil {
		t.Fatal(err)
	}
	if err := l.MarkIncomplete("a test"); err != nil {
		t.Fatal(err)
	}
	l.Close()
	want["with/path/0"] = olderEntry{9, 10, "0", "with/path/0", json.RawMessage(`{"b" : "<&>"}`)}
	want["new/1"] = olderEntry{11, 0, "1", "new/1", json.RawMessage(`"new"`)}
	delete(want, "without/1")
	o := openOlder(t, dir)
	got := o.all()
	o.put("back/1", olderEntry{12, 0, "1", "back/1", json.RawMessage(`"back"`)})
	o.close()
	if len(got) != len(want) {
		t.Errorf("the older software reads %d objects, expected %d", len(got), len(want))
	}
	for path, entry := range want {
		if g := got[path]; g.Created != entry.Created || g.Updated != entry.Updated || g.Index != entry.Index ||
			!bytes.Equal(g.Data, entry.Data) {
			t.Errorf("the older software reads %s as %+v, expected %+v", path, got[path], entry)
		}
	}
	for _, name := range []string{revisionFile, incompleteFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("after the older software: %v", err)
		}
	}
	l = New(dir, Options{})
	if err := l.Start(storage.LayerOptions{AllowIncomplete: true}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got, err := l.Get("back/1"); err != nil || string(got.Data) != `"back"` {
		t.Errorf("what the older software wrote back is %+v, %v", got, err)
	}
}

// The database holds the objects and nothing else, whatever is done.
func TestNothingOfOurOwnInTheDatabase(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, Options{})
	if err := l.Commit([]storage.Change{{Key: "a", Object: enginetest.Object("a", 1, "1"), Revision: 1}, {Key: "b", Revision: 2}}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.MarkIncomplete("x"), l.MarkIncomplete(""), l.Compact(t.Context())); err != nil {
		t.Fatal(err)
	}
	l.Close()
	o := openOlder(t, dir)
	defer o.close()
	if got := o.all(); len(got) != 1 {
		t.Errorf("the older software reads %v, expected a alone", got)
	}
}

// What cannot be read fails with its key, and can be deleted.
func TestOlderUndecodable(t *testing.T) {
	dir := t.TempDir()
	makeOlder(t, dir, func(o *older) {
		o.putRaw("d/1", `{"created":1,"updated":0,"index":"1","path":"d/1","data":1}`)
		o.putRaw("d/2", `{"created":1,"updated":0,"index":"2","path":"d/2"`)
		o.putRaw("d/3", `{"created":1,"updated":0,"index":"3","path":"d/3","data":1}`)
	})
	l := start(t, dir, Options{})
	_, load := l.Load()
	_, get := l.Get("d/2")
	_, list := l.GetList("d/*")
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: New(dir, Options{})})
	l.Close()
	open := store.Start(storage.Options{Logger: slog.New(slog.DiscardHandler)})
	for name, err := range map[string]error{"Load": load, "Get": get, "GetList": list, "a start": open} {
		if err == nil || !strings.Contains(err.Error(), `"d/2"`) || errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s: %v, expected an error with the key", name, err)
		}
	}
	l = start(t, dir, Options{})
	if err := l.Del("d/2"); err != nil {
		t.Fatal(err)
	}
	if loaded, err := l.Load(); err != nil || len(loaded) != 2 {
		t.Errorf("after its delete %d objects are loaded, %v", len(loaded), err)
	}
}

// invalidKeys are no valid paths; they lie around valid ones.
var invalidKeys = []string{"", "/", "/a", "a/", "a//b", "a b", "a/../b", "a/.", "a/*", "a*b/c", "d/x y", "d/\xff", "d//z/z", "é/1", "~"}

func makeInvalid(t testing.TB, dir string, invalid []string) {
	t.Helper()
	makeOlder(t, dir, func(o *older) {
		for _, path := range append([]string{"a", "a/b", "d/x", "d/y/z", "d/z"}, invalid...) {
			data, err := json.Marshal(path)
			if err != nil {
				t.Fatal(err)
			}
			o.put(path, olderEntry{Created: 1, Path: path, Data: data})
		}
	})
}

func TestInvalidPathsAreRefused(t *testing.T) {
	dir := t.TempDir()
	makeInvalid(t, dir, invalidKeys)
	for range 2 {
		l := New(dir, Options{})
		err := l.Start(storage.LayerOptions{})
		if !errors.Is(err, storage.ErrInvalidPath) {
			l.Close()
			t.Fatalf("the start: %v", err)
		}
		for _, text := range []string{
			fmt.Sprintf("%d of its keys", len(invalidKeys)), "invalid=skip", dir,
			`"a//b" (empty segment at byte 2)`, `"a/*" (storage: glob`, `"d/\xff" (byte 2`, `"" (empty path)`,
		} {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("the error is %q, expected %q in it", err, text)
			}
		}
		if strings.Contains(err.Error(), "\n") || l.Active() {
			t.Errorf("the error has several lines, or the layer is active: %q", err)
		}
	}
}

func TestManyInvalidPathsAreCounted(t *testing.T) {
	dir := t.TempDir()
	var invalid []string
	for i := range 500 {
		invalid = append(invalid, fmt.Sprintf("x y/%03d", i))
	}
	makeInvalid(t, dir, invalid)
	err := New(dir, Options{}).Start(storage.LayerOptions{})
	if err == nil || !strings.Contains(err.Error(), "500 of its keys") || !strings.Contains(err.Error(), "and 480 more") ||
		!strings.Contains(err.Error(), `"x y/019"`) || strings.Contains(err.Error(), `"x y/020"`) {
		t.Errorf("the error is %v", err)
	}
	l := start(t, dir, Options{SkipInvalid: true})
	if skipped, n := l.Skipped(); n != 500 || !slices.Equal(skipped, invalid[:maxListed]) {
		t.Errorf("%d keys are skipped, of which %q", n, skipped)
	}
}

func TestInvalidPathsAreSkippedByName(t *testing.T) {
	dir := t.TempDir()
	makeInvalid(t, dir, invalidKeys)
	l := start(t, dir, Options{SkipInvalid: true})
	wantSkipped := slices.Sorted(slices.Values(invalidKeys))
	if skipped, n := l.Skipped(); n != len(invalidKeys) || !slices.Equal(skipped, wantSkipped) {
		t.Errorf("%d keys are skipped, %q, expected %q", n, skipped, wantSkipped)
	}
	want := []string{"a", "a/b", "d/x", "d/y/z", "d/z"}
	if got := enginetest.Keys(t, l); !slices.Equal(got, want) {
		t.Errorf("the keys are %q, expected %q", got, want)
	}
	for _, pattern := range []string{"", "*", "*/*", "*/*/*", "d/*", "a*/*", "d*/*/*", "*/x*"} {
		if got, want := enginetest.ScanPaths(t, l, pattern), testrand.Matching(want, pattern); !slices.Equal(got, want) {
			t.Errorf("scan %q yields %q, expected %q", pattern, got, want)
		}
	}
	var reported []string
	objects, err := l.Check(t.Context(), func(err error) { reported = append(reported, err.Error()) })
	if err != nil || objects != len(want) || len(reported) != len(invalidKeys) {
		t.Errorf("Check counts %d, %v and reports %q", objects, err, reported)
	}
	for i, path := range wantSkipped {
		if !strings.Contains(reported[i], fmt.Sprintf("%q", path)) {
			t.Errorf("report %d is %q, expected the key %q", i, reported[i], path)
		}
	}

	enginetest.Set(t, l, "d/new")
	l.Clear()
	enginetest.Set(t, l, "e")
	if got := enginetest.Keys(t, l); !slices.Equal(got, []string{"e"}) {
		t.Errorf("after Clear the keys are %q", got)
	}
	l.Close()
	// They stay refused, and untouched.
	if err := New(dir, Options{}).Start(storage.LayerOptions{}); !errors.Is(err, storage.ErrInvalidPath) {
		t.Errorf("a start without the option: %v", err)
	}
	o := openOlder(t, dir)
	defer o.close()
	got := o.all()
	for _, path := range invalidKeys {
		if _, ok := got[path]; !ok {
			t.Errorf("the key %q is gone", path)
		}
	}
	if len(got) != len(invalidKeys)+1 {
		t.Errorf("the older software reads %d entries, expected %d", len(got), len(invalidKeys)+1)
	}
}

// Damaged files are no entries that could be left out.
func TestSkipInvalidSkipsNoDamage(t *testing.T) {
	disk := filled(t)
	disk.corruptFiles(t, isTable, 0.2, 0.3)
	l := disk.layer(t, Options{SkipInvalid: true})
	err := l.Start(storage.LayerOptions{})
	if err == nil {
		defer l.Close()
		_, err = l.Load()
	}
	if !isCorrupt(err) {
		t.Errorf("a damaged table with invalid=skip: %v", err)
	}
}
