package ko

import (
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
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// filledObjects is how many objects filled stores.
const filledObjects = 2000 + 200

// recovered starts a damaged store, which must be refused first, with a recovery.
func recovered(t *testing.T, disk *memDisk, options Options) *Layer {
	t.Helper()
	options.Recover = true
	l := enginetest.Start(t, disk.layer(t, options))
	if l.Recovery() == nil {
		t.Fatal("there is no report of a recovery")
	}
	return l
}

func TestRecovery(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, disk *memDisk)
		cause  string
		// opens is whether the damaged database opens at all.
		opens bool
		// lost bounds how many objects are lost: from and to.
		lost [2]int
	}{
		{"a damaged manifest", func(t *testing.T, disk *memDisk) {
			disk.corruptFiles(t, isManifest, 0.1, 0.2)
		}, "MANIFEST-", false, [2]int{0, 0}},
		{"a manifest that is missing", func(t *testing.T, disk *memDisk) {
			for name := range disk.live {
				if isManifest(name) {
					delete(disk.live, name)
				}
			}
		}, "missing", false, [2]int{0, 0}},
		{"a current file of garbage", func(t *testing.T, disk *memDisk) {
			disk.live[currentFile].data = []byte("garbage")
		}, "CURRENT", false, [2]int{0, 0}},
		{"a log damaged in the middle", func(t *testing.T, disk *memDisk) {
			disk.corruptFiles(t, isLog, 0.5, 0.51)
		}, ".log", true, [2]int{1, 200}},
		{"damaged blocks of tables", func(t *testing.T, disk *memDisk) {
			disk.corruptFiles(t, isTable, 0.2, 0.25)
		}, "checksum mismatch", true, [2]int{1, 2000}},
		{"a table that is missing", func(t *testing.T, disk *memDisk) {
			for name := range disk.live {
				if isTable(name) {
					delete(disk.live, name)
					return
				}
			}
		}, "missing", false, [2]int{1, 2000}},
		{"a table of garbage", func(t *testing.T, disk *memDisk) {
			for name, file := range disk.live {
				if isTable(name) {
					clear(file.data)
					return
				}
			}
		}, "", true, [2]int{1, 2000}},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := filled(t)
			delete(disk.live, revisionFile) // so that a start reads the tables
			c.damage(t, disk)
			mustRefuse(t, disk.layer(t, Options{}), "recover=on", c.cause)
			var logged strings.Builder
			l := recovered(t, disk, Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
			report := l.Recovery()
			loaded, err := l.Load()
			if err != nil {
				t.Fatal(err)
			}
			if lost := filledObjects - len(loaded); lost < c.lost[0] || lost > c.lost[1] {
				t.Errorf("%d objects are lost, expected %v", lost, c.lost)
			}
			if report.After != len(loaded) || (report.Before >= 0) != c.opens || report.Before > filledObjects ||
				report.UndecodableCount != 0 || !isCorrupt(report.Cause) || !strings.Contains(report.Cause.Error(), c.cause) ||
				len(report.Details) == 0 {
				t.Errorf("the report is %+v with %d objects", report, len(loaded))
			}
			for path, obj := range loaded {
				if string(obj.Data) != fmt.Sprintf("%q", path) {
					t.Errorf("%s is %s", path, obj.Data)
				}
			}
			enginekit.Drain(l.life.Log())
			if !strings.Contains(logged.String(), "recovered a corrupt store") {
				t.Errorf("logged is %q", logged.String())
			}
			enginetest.Set(t, l, "after")
			l.Close()
			// Now it is sound, and nothing is recovered any more.
			for _, options := range []Options{{}, {Recover: true}} {
				l = enginetest.Start(t, disk.layer(t, options))
				if got := enginetest.Keys(t, l); len(got) != len(loaded)+1 || l.Recovery() != nil {
					t.Errorf("after the recovery there are %d keys, and the report %+v", len(got), l.Recovery())
				}
				l.Close()
			}
		})
	}
}

// LevelDB's own recovery, which the older software uses, can leave tables on which LevelDB
// panics: that is an error here, and a recovery here mends it.
func TestDatabaseThatLevelDBRecovered(t *testing.T) {
	disk := filled(t)
	disk.corruptFiles(t, isTable, 0.4, 0.45)
	db, err := leveldb.Recover(disk, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	whole := map[string]string{}
	l := enginetest.Start(t, disk.layer(t, Options{}))
	calls := map[string]error{}
	paths := enginetest.Keys(t, l)
	for _, path := range paths {
		if _, err := l.Get(path); err != nil {
			calls["Get"] = err
		} else {
			whole[path] = ""
		}
		for _, err := range l.Scan(path) {
			if err != nil {
				calls["Scan"] = err
			}
		}
		if err := l.Del(path + "x"); !errors.Is(err, storage.ErrNotFound) {
			calls["Del"] = err
		}
	}
	if len(whole) == len(paths) {
		t.Error("all is well: the test has no teeth")
	}
	for _, name := range []string{"Get", "Scan", "Del"} {
		if err := calls[name]; err == nil || !isCorrupt(err) || !strings.Contains(err.Error(), "recover=on") {
			t.Errorf("%s: %v, expected a corrupt store", name, err)
		}
	}
	if objects, reported := enginetest.Checked(t, l); objects != len(paths) || len(reported) == 0 || !strings.Contains(reported[0], "index is broken") {
		t.Errorf("Check counts %d and reports %q", objects, reported)
	}
	l.SizeHint()
	l.Close()
	l = recovered(t, disk, Options{})
	for _, path := range paths {
		if _, err := l.Get(path); err != nil {
			t.Errorf("after a recovery: %v", err)
		}
	}
	if objects, reported := enginetest.Checked(t, l); objects != len(paths) || len(reported) > 0 {
		t.Errorf("after a recovery Check counts %d and reports %q", objects, reported)
	}
}

// A table that has several versions of its objects, and a damaged block, is rebuilt with the
// newest.
func TestRecoveryOfVersions(t *testing.T) {
	disk := newMemDisk()
	l := enginetest.Start(t, disk.layer(t, Options{WriteBuffer: 8 << 20}))
	const n = 2000
	for version := range 5 {
		for i := range n {
			path := fmt.Sprintf("d/%04d", i)
			if version == 4 && i%2 == 1 {
				if err := l.Del(path); err != nil {
					t.Fatal(err)
				}
			} else if err := l.Set(path, enginetest.Object(path, int64(version), "1")); err != nil {
				t.Fatal(err)
			}
		}
	}
	l.Close()
	enginetest.Start(t, disk.layer(t, Options{})).Close() // which makes a table of the log
	disk.corruptFiles(t, isTable, 0.4, 0.41)
	delete(disk.live, revisionFile)
	mustRefuse(t, disk.layer(t, Options{}), "recover=on")
	l = recovered(t, disk, Options{})
	loaded, err := l.Load()
	if err != nil {
		t.Fatal(err)
	}
	stale := 0
	for i := range n {
		path := fmt.Sprintf("d/%04d", i)
		if obj := loaded[path]; (obj == nil) != (i%2 == 1) || obj != nil && obj.Created != 4 {
			stale++
		}
	}
	// A damaged block hides what is in it, so that a few are absent, or older where the
	// block ends.
	if len(loaded) == 0 || stale > n/10 {
		t.Errorf("%d objects are there, %d are not in their newest version", len(loaded), stale)
	}
}

// A sound database is left alone, whatever is asked for.
func TestRecoveryOfASoundDatabase(t *testing.T) {
	disk := filled(t)
	var renamed bool
	disk.refuse = func(op operation) error {
		renamed = renamed || op.kind == "rename"
		return nil
	}
	l := enginetest.Start(t, disk.layer(t, Options{Recover: true}))
	if got := enginetest.Keys(t, l); len(got) != filledObjects || l.Recovery() != nil || renamed {
		t.Errorf("there are %d keys, and the report %+v", len(got), l.Recovery())
	}
	empty := enginetest.Start(t, newMemDisk().layer(t, Options{Recover: true}))
	if got := enginetest.Keys(t, empty); len(got) != 0 || empty.Recovery() != nil {
		t.Errorf("a new database has %q, and the report %+v", got, empty.Recovery())
	}
}

// Entries that are no objects are named, left out where that is asked for, and can be removed. Keys that are no
// paths are refused as always.
func TestRecoveryNamesTheUndecodable(t *testing.T) {
	dir := t.TempDir()
	makeOlder(t, dir, func(o *older) {
		o.putRaw("a", `{"data":1}`)
		o.putRaw("b", `{"data":`)
		o.putRaw("c", `text`)
		o.putRaw("no path", `{"data":1}`)
	})
	manifests, err := filepath.Glob(dir + "/MANIFEST-*")
	if err != nil || len(manifests) != 1 {
		t.Fatal(manifests, err)
	}
	if err := os.Remove(manifests[0]); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, New(dir, Options{}), "corrupt")
	if err := New(dir, Options{Recover: true}).Start(storage.LayerOptions{}); !errors.Is(err, storage.ErrInvalidPath) {
		t.Errorf("a recovery with keys that are no paths: %v", err)
	}
	if manifests, err = filepath.Glob(dir + "/MANIFEST-*"); err != nil || len(manifests) != 1 {
		t.Fatal(manifests, err)
	}
	if err := os.Remove(manifests[0]); err != nil {
		t.Fatal(err)
	}
	l := start(t, dir, Options{Recover: true, SkipInvalid: true})
	report := l.Recovery()
	if report == nil || report.UndecodableCount != 2 || !slices.Equal(report.Undecodable, []string{"b", "c"}) || report.After != 4 {
		t.Fatalf("the report is %+v", report)
	}
	if skipped, n := l.Skipped(); n != 3 || !slices.Equal(skipped, []string{"b", "c", "no path"}) {
		t.Errorf("skipped are %q, %d", skipped, n)
	}
	if loaded, err := l.Load(); err != nil || len(loaded) != 1 {
		t.Errorf("Load: %v, %v", loaded, err)
	}
	if err := errors.Join(l.Del("b"), l.Del("c")); err != nil {
		t.Fatal(err)
	}
	if loaded, err := l.Load(); err != nil || len(loaded) != 1 {
		t.Errorf("after the deletes there are %v, %v", loaded, err)
	}
}

// Revisions go on where they were.
func TestRecoveryKeepsRevisions(t *testing.T) {
	disk := newMemDisk()
	l := enginetest.Start(t, disk.layer(t, Options{}))
	commitAt(t, l, "a", 50)
	if err := l.Commit([]storage.Change{{Key: "a", Revision: 60}}); err != nil {
		t.Fatal(err)
	}
	l.Close()
	disk.live[currentFile].data = []byte("garbage")
	l = recovered(t, disk, Options{})
	wantLast(t, l, "after a recovery", 60)
}
