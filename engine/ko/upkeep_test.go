package ko

import (
	"fmt"
	"strings"
	"testing"

	"github.com/syndtr/goleveldb/leveldb"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
)

// A check reads over damaged blocks, and says where they are.
func TestCheckOfDamagedTables(t *testing.T) {
	disk := filled(t)
	disk.corruptFiles(t, isTable, 0.4, 0.5)
	l := enginetest.Start(t, disk.layer(t, Options{}))
	objects, reported := enginetest.Checked(t, l)
	if objects == 0 || objects >= filledObjects || len(reported) == 0 {
		t.Errorf("Check counts %d of %d and reports %q", objects, filledObjects, reported)
	}
	for _, text := range reported {
		if !strings.Contains(text, ".ldb") || !strings.Contains(text, "at its beginning") && !strings.Contains(text, `behind key "d/`) || !strings.Contains(text, "checksum mismatch") {
			t.Errorf("reported is %q, expected the file, the place and the checksum", text)
		}
	}
}

// A table without any order in it is reported, not an end of the check.
func TestCheckOfATableOfGarbage(t *testing.T) {
	disk := filled(t)
	for name, file := range disk.live {
		if isTable(name) {
			clear(file.data)
			break
		}
	}
	l := enginetest.Start(t, disk.layer(t, Options{}))
	if objects, reported := enginetest.Checked(t, l); objects == 0 || objects >= filledObjects || len(reported) != 1 {
		t.Errorf("Check counts %d of %d and reports %q", objects, filledObjects, reported)
	}
}

func TestCheckOfEntries(t *testing.T) {
	l := startInMemory(t)
	enginetest.Set(t, l, "a", "b", "c", "d")
	var b leveldb.Batch
	b.Put([]byte("b"), []byte(`{"created":1`))
	b.Put([]byte("d"), nil)
	if err := databaseOf(l).db.Write(&b, nil); err != nil {
		t.Fatal(err)
	}
	objects, reported := enginetest.Checked(t, l)
	if objects != 2 || len(reported) != 2 || !strings.Contains(reported[0], `"b"`) || !strings.Contains(reported[1], `"d"`) {
		t.Errorf("Check counts %d and reports %q", objects, reported)
	}
}

func TestCheckLeft(t *testing.T) {
	enginetest.TestCheckLeft(t, 3000, func(t *testing.T) enginetest.Layer {
		l := startInMemory(t)
		paths := enginetest.Numbered("d", 3000)
		fill(t, l, paths)
		if err := databaseOf(l).db.Put([]byte(paths[0]), nil, nil); err != nil {
			t.Fatal(err)
		}
		return l
	}, scansOf)
}

// size is what the tables and logs have in bytes.
func (d *memDisk) size() int {
	d.lock.Lock()
	defer d.lock.Unlock()
	size := 0
	for name, file := range d.live {
		if isTable(name) || isLog(name) {
			size += len(file.data)
		}
	}
	return size
}

func TestCompactGivesSpaceBack(t *testing.T) {
	disk := newMemDisk()
	l := enginetest.Start(t, disk.layer(t, Options{WriteBuffer: 256 << 10}))
	var paths []string
	for i := range 5000 {
		paths = append(paths, fmt.Sprintf("d/%d", i))
	}
	for range 5 {
		fill(t, l, paths)
	}
	// LevelDB removes the old tables a moment later, and at a start what is left of them.
	compacted := func() int {
		t.Helper()
		if err := l.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.Close()
		l = enginetest.Start(t, disk.layer(t, Options{}))
		return disk.size()
	}
	before := disk.size()
	if after := compacted(); after > before/2 {
		t.Errorf("of %d bytes there are %d after a compaction", before, after)
	}
	if objects, reported := enginetest.Checked(t, l); objects != len(paths) || len(reported) > 0 {
		t.Errorf("Check counts %d and reports %q", objects, reported)
	}
	l.Clear()
	if after := compacted(); after > 0 {
		t.Errorf("of a cleared store there are %d bytes after a compaction", after)
	}
}

// A large store is compacted in parts, also when one object is larger than a part.
func TestCompactInParts(t *testing.T) {
	l := startInMemory(t)
	large := `"` + strings.Repeat("x", compactionBytes+1) + `"`
	for _, path := range []string{"b", "d"} {
		if err := l.Set(path, enginetest.Object(path, 1, large)); err != nil {
			t.Fatal(err)
		}
	}
	enginetest.Set(t, l, "a", "c", "e")
	var parts []string
	for from := []byte(nil); ; {
		d, to, err := l.beginCompaction(from)
		if err != nil {
			t.Fatal(err)
		}
		d.compactions.Done()
		parts = append(parts, string(to))
		if from = to; to == nil {
			break
		}
	}
	if got := strings.Join(parts, ","); got != "c,e," {
		t.Errorf("the parts end at %q, expected c, e and the end", got)
	}
	if err := l.Compact(t.Context()); err != nil {
		t.Error(err)
	}
	if got := enginetest.Keys(t, l); len(got) != 5 {
		t.Errorf("after a compaction the keys are %q", got)
	}
}
