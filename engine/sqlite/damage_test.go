package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// filled makes a closed store with n objects of some size and returns its file and content.
func filled(t *testing.T, n int) (file string, content map[string]*meta.Object) {
	t.Helper()
	file = in(t.TempDir())
	l := start(t, file, Options{})
	for i := range n {
		path := fmt.Sprintf("dir%d/object-%04d", i%3, i)
		obj := enginetest.Object(path, int64(i+1), fmt.Sprintf(`{"of":%q,"text":%q}`, path, strings.Repeat("word ", 30)))
		obj.Revision = uint64(i + 1)
		if err := l.Set(path, obj); err != nil {
			t.Fatal(err)
		}
	}
	content, err := l.Load()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return file, content
}

// change changes the bytes of a file.
func changeFile(t *testing.T, file string, change func(content []byte)) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	change(content)
	enginetest.WriteFile(t, file, string(content))
}

// flipAfter flips a bit in the byte behind the only place of a text.
func flipAfter(t *testing.T, file, text string) {
	t.Helper()
	changeFile(t, file, func(content []byte) {
		at := bytes.Index(content, []byte(text))
		if at < 0 || bytes.Count(content, []byte(text)) != 1 {
			t.Fatalf("%q is in the file %d times", text, bytes.Count(content, []byte(text)))
		}
		content[at+len(text)] ^= 1
	})
}

// An index that leads to another row must not hide one and show the other twice.
func TestFlippedByteOfAnIndex(t *testing.T) {
	file := in(t.TempDir())
	l := start(t, file, Options{})
	enginetest.Set(t, l, "dir/a", "dir/victim", "dir/zz")
	l.Close()
	flipAfter(t, file, "dirvictim") // the number of the row
	l = start(t, file, Options{})
	_, load := l.Load()
	_, list := l.GetList("dir/*")
	for name, err := range map[string]error{"Load": load, "GetList": list} {
		if !errors.Is(err, errOrder) || !strings.Contains(err.Error(), `key "dir/zz"`) {
			t.Errorf("%s: %v, expected %v", name, err, errOrder)
		}
	}
	if n := checkFinds(t, l, "objects_place"); n != 3 {
		t.Errorf("the check counts %d objects, expected 3: the rows are whole", n)
	}
}

// A page that is lost takes some objects along, each of which the check names.
func TestLostPage(t *testing.T) {
	file, content := filled(t, 300)
	lost := 0
	changeFile(t, file, func(bytes []byte) {
		at := strings.Index(string(bytes), `{"of":"dir0/object-0150"`) &^ 4095
		lost = strings.Count(string(bytes[at:at+4096]), `{"of":`)
		clear(bytes[at : at+4096])
	})
	l := start(t, file, Options{})
	if _, err := l.Load(); !isCorrupt(err) || !strings.Contains(err.Error(), "restore it from a backup") {
		t.Errorf("load: %v", err)
	}
	n := checkFinds(t, l, `key "dir0/object-0150": sqlite3: database disk image is malformed`, "SQLite finds: ")
	if lost < 2 || n != len(content)-lost {
		t.Errorf("of %d objects %d are lost, and the check counts %d", len(content), lost, n)
	}
}

// The index of the paths is lost: the check says so, and that it cannot name what is behind.
func TestLostIndexPage(t *testing.T) {
	file, _ := filled(t, 300)
	changeFile(t, file, func(content []byte) {
		// Leaves of the index hold paths and no data.
		at := -1
		for page := 0; page+4096 <= len(content); page += 4096 {
			text := string(content[page : page+4096])
			if strings.Contains(text, "dir1/object-0100") && !strings.Contains(text, `"of"`) {
				at = page
			}
		}
		if at < 0 {
			t.Fatal("no such page")
		}
		clear(content[at : at+4096])
	})
	l := start(t, file, Options{})
	checkFinds(t, l, "no path can be read", "SQLite finds: ")
	if _, err := l.Load(); err != nil {
		t.Errorf("the other index leads to all rows: %v", err)
	}
}

// Whatever bit is flipped, what is read is what was written, or somebody is told.
func TestAnyFlippedBit(t *testing.T) {
	rng := testrand.New(t)
	file, content := filled(t, 100)
	sound, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for range 200 {
		bit := rng.IntN(8 * len(sound))
		damaged := bytes.Clone(sound)
		damaged[bit/8] ^= 1 << (bit % 8)
		enginetest.WriteFile(t, file, string(damaged))
		if findsDamage(t, file, content) {
			told++
		}
		if t.Failed() {
			t.Fatalf("bit %d of byte %d", bit%8, bit/8)
		}
	}
	// The rest is of parts of pages that are not used.
	if told < 50 {
		t.Errorf("only %d of 200 flipped bits were noticed", told)
	}
}

// findsDamage reports whether anything tells that a file is damaged, and checks that something does
// where its content is not what it was.
func findsDamage(t *testing.T, file string, content map[string]*meta.Object) bool {
	t.Helper()
	l := New(file, Options{})
	if err := l.Start(storage.LayerOptions{}); err != nil {
		if !strings.Contains(err.Error(), file) {
			t.Errorf("start: %v, expected the name of the file", err)
		}
		return true
	}
	defer l.Close()
	found := 0
	if _, err := l.Check(t.Context(), func(error) { found++ }); err != nil {
		t.Errorf("check: %v", err)
	}
	loaded, err := l.Load()
	if found > 0 || err != nil {
		if found == 0 {
			t.Errorf("load: %v, and the check finds nothing", err)
		}
		return true
	}
	if len(loaded) != len(content) {
		t.Errorf("%d objects are read, expected %d", len(loaded), len(content))
	}
	for path, want := range content {
		listed := loaded[path]
		got, err := l.Get(path)
		if err != nil || listed == nil || !same(&got, want) || !same(listed, want) {
			t.Errorf("%s is %+v, %v and listed as %+v, expected %+v", path, got, err, listed, want)
		}
	}
	return false
}

func same(a, b *meta.Object) bool {
	return a.Path == b.Path && a.Index == b.Index && a.Created == b.Created && a.Updated == b.Updated &&
		a.Revision == b.Revision && a.Expires == b.Expires && bytes.Equal(a.Data, b.Data)
}

// killed makes the file and the log that a killed process leaves after so many writes.
func killed(t *testing.T, o Options, writes int) (file string) {
	t.Helper()
	f := newFaulty(t, nil, o, nil)
	f.layer.options.longLog = defaultLongLog
	if err := f.layer.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range writes {
		if err := f.layer.Commit(pair(fmt.Sprintf("%03d", i), uint64(i+1))); err != nil {
			t.Fatal(err)
		}
	}
	return f.disk.crash(t, rand.New(rand.NewPCG(0, 0)), 1)
}

// frames is how many frames a log has.
func frames(t *testing.T, file string) int {
	t.Helper()
	info, err := os.Stat(file + logSuffix)
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Size()-logHeaderSize) / (frameHeader + 4096)
}

// A page of the log that is damaged ends it, as SQLite reads it: what stands before is whole, and what stands behind is lost. That is so for
// a store that was killed, whose log is not in the file yet.
func TestDamagedLog(t *testing.T) {
	const frame = frameHeader + 4096
	for _, at := range []int{2, 4} {
		file := killed(t, Options{}, 30)
		first := frames(t, file) / at
		changeFile(t, file+logSuffix, func(content []byte) { content[logHeaderSize+first*frame+frameHeader+100] ^= 1 })
		l := start(t, file, Options{})
		new(enginetest.Pairs).CheckHeld(t, l)
		if n := enginetest.CheckSound(t, l); n == 0 || n >= 60 {
			t.Errorf("%d objects are there, expected a part of 60", n)
		}
	}
}

// What was written without sync may have holes after a loss of power: that is no damage, also for a
// start with sync, and for one after a crash of that.
func TestHolesWithoutSync(t *testing.T) {
	file := killed(t, Options{Durability: DurabilityNoSync}, 30)
	changeFile(t, file+logSuffix, func(content []byte) {
		content[logHeaderSize+frames(t, file)/2*(frameHeader+4096)+frameHeader+100] ^= 1
	})
	d := newDisk(t, nil)
	l := start(t, file, Options{vfs: d.name})
	if n := enginetest.CheckSound(t, l); n == 0 || n >= 60 {
		t.Errorf("%d objects are there, expected a part", n)
	}
	enginetest.Set(t, l, "left/x", "right/x/x")
	l = start(t, d.crash(t, rand.New(rand.NewPCG(0, 0)), 1), Options{})
	var written enginetest.Pairs
	written.Acknowledge("x")
	written.CheckHeld(t, l)
	if got := query(t, l.file, `SELECT count(*) FROM oolith WHERE name = 'sync'`); got != "0" {
		t.Errorf("there are %s notes that the log is not synced", got)
	}
}
