package badger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/y"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/internal/testrand"
)

// filled returns the directory of a closed store with several tables and a file of the value log.
func filled(t testing.TB) (dir string) { return filledWith(t, small()) }

func filledWith(t testing.TB, o Options) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for run := range 3 {
		l := start(t, dir, o)
		if err := l.Commit(puts(enginetest.Numbered(fmt.Sprint("d", run), 400), 100, 1)); err != nil {
			t.Fatal(err)
		}
		if err := l.Commit(puts(enginetest.Numbered(fmt.Sprint("v", run), 20), 3000, 1)); err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	if files := match(t, dir, "*.sst"); len(files) < 3 {
		t.Fatalf("the store has the tables %q, expected three", files)
	}
	return dir
}

func match(t testing.TB, dir, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestCorruptFiles(t *testing.T) {
	remove := func(pattern string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			files := match(t, dir, pattern)
			if len(files) == 0 {
				t.Fatalf("no file %s", pattern)
			}
			if err := os.Remove(files[0]); err != nil {
				t.Fatal(err)
			}
		}
	}
	change := func(pattern string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { enginetest.Corrupt(t, dir, pattern) }
	}
	shorten := func(pattern string, by int64) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			name := match(t, dir, pattern)[0]
			info, err := os.Stat(name)
			if err == nil {
				err = os.Truncate(name, info.Size()-by)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name   string
		damage func(*testing.T, string)
		texts  []string
	}{
		{"a changed table", change("*.sst"), []string{"corrupt", "backup", ".sst"}},
		{"a table cut short", shorten("*.sst", 1), []string{"corrupt", "backup", ".sst"}},
		{"a table cut in half", shorten("*.sst", 5000), []string{"corrupt", "backup", ".sst"}},
		{"a missing table", remove("*.sst"), []string{"corrupt", "backup", ".sst, it is missing"}},
		{"a changed list of tables", change("MANIFEST"), []string{"corrupt", "backup", "list of tables"}},
		{"a missing list of tables", remove("MANIFEST"), []string{"corrupt", "backup", "MANIFEST", "is missing"}},
		{"a missing list of data keys", remove("KEYREGISTRY"), []string{"corrupt", "backup", "KEYREGISTRY", "is missing"}},
	} {
		for _, o := range []Options{small(), encrypted(small())} {
			t.Run(fmt.Sprintf("%s, encrypted %v", c.name, o.Key != nil), func(t *testing.T) {
				dir := filledWith(t, o)
				c.damage(t, dir)
				before := match(t, dir, "*")
				mustRefuse(t, New(dir, o), c.texts...)
				if after := match(t, dir, "*"); !slices.Equal(before, after) {
					t.Errorf("the files changed from %q to %q", before, after)
				}
			})
		}
	}
}

// Each bit of a table counts: whichever is changed, the table is corrupt. Or the change is one of
// what compression left open, and makes no difference: then all that the store holds is as before.
func TestVerifyTable(t *testing.T) {
	rng := testrand.New(t)
	for _, o := range []Options{small(), encrypted(small())} {
		dir := filledWith(t, o)
		s := New(dir, o).newStore(dir, nil)
		manifest, err := s.readManifest()
		if err != nil {
			t.Fatal(err)
		}
		registry, err := openRegistry(dir, o.Key)
		if err != nil {
			t.Fatal(err)
		}
		l := start(t, dir, o)
		want, err := l.Load()
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		for id, listed := range manifest.Tables {
			sound, err := os.ReadFile(s.tableName(id))
			if err != nil {
				t.Fatal(err)
			}
			if n, err := s.verifyTable(id, listed, registry, true); err != nil || n.entries < 400 {
				t.Fatalf("a sound table has %d entries, %v", n.entries, err)
			}
			for range 100 {
				broken := bytes.Clone(sound)
				at := rng.IntN(len(broken))
				broken[at] ^= 1 << rng.IntN(8)
				enginetest.WriteFile(t, s.tableName(id), string(broken))
				switch _, err := s.verifyTable(id, listed, registry, true); {
				case err == nil:
					l := start(t, dir, o)
					sameContent(t, fmt.Sprintf("with a change at byte %d of %d", at, len(broken)), l, want, 400)
					l.Close()
				case !errors.Is(err, errCorrupt):
					t.Errorf("a change at byte %d of %d: %v", at, len(broken), err)
				}
			}
			enginetest.WriteFile(t, s.tableName(id), string(sound))
		}
	}
}

// A store is opened with SkipVerify although a block is damaged, and Check finds it.
func TestSkipVerify(t *testing.T) {
	dir := filled(t)
	name := match(t, dir, "*.sst")[0]
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := 100; i < 200; i++ {
		content[i] ^= 0x55 // in the first block
	}
	enginetest.WriteFile(t, name, string(content))
	mustRefuse(t, New(dir, small()), "corrupt")
	options := small()
	options.SkipVerify = true
	l := start(t, dir, options)
	var found []string
	if _, err := l.Check(t.Context(), func(err error) { found = append(found, err.Error()) }); err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 || !strings.Contains(found[0], filepath.Base(name)) || !strings.Contains(found[0], "may be missing") {
		t.Errorf("the check finds %q", found)
	}
}

// logOf returns the content of a log with transactions of some entries each, and the place of each entry.
func logOf(key *pb.DataKey, transactions ...int) (content []byte, places []int) {
	content = make([]byte, logHeaderSize)
	if key != nil {
		binary.BigEndian.PutUint64(content, key.KeyId)
	}
	add := func(meta byte, key []byte, value string, sealed func([]byte, int) []byte) {
		places = append(places, len(content))
		entry := append([]byte{meta, 0, byte(len(key)), byte(len(value)), 0}, sealed(append(key, value...), len(content))...)
		content = append(content, binary.BigEndian.AppendUint32(entry, crc32.Checksum(entry, castagnoli))...)
	}
	seal := func(plain []byte, at int) []byte {
		if key == nil {
			return plain
		}
		sealed, err := y.XORBlockAllocate(plain, key.Data, binary.BigEndian.AppendUint32(make([]byte, 12), uint32(at)))
		if err != nil {
			panic(err)
		}
		return sealed
	}
	for i, n := range transactions {
		version := uint64(i + 1)
		for e := range n {
			add(1<<6, y.KeyWithTs(fmt.Appendf(nil, "key %d", e), version), "some value", seal)
		}
		add(endsOne, y.KeyWithTs([]byte("!badger!txn"), version), fmt.Sprint(version), seal)
	}
	return append(content, make([]byte, 1000)...), places
}

// A log is read up to its first entry that is not sound.
func TestReadLog(t *testing.T) {
	for _, o := range []Options{small(), encrypted(small())} {
		dir := t.TempDir()
		start(t, dir, o).Close()
		registry, err := openRegistry(dir, o.Key)
		if err != nil {
			t.Fatal(err)
		}
		var key *pb.DataKey
		if o.Key != nil {
			if key, err = registry.DataKey(1); err != nil {
				t.Fatal(err)
			}
		}
		sound, places := logOf(key, 3, 1, 2)
		flipped := func(place int) []byte {
			content := bytes.Clone(sound)
			content[places[place]+7] ^= 1
			return content
		}
		for _, c := range []struct {
			name    string
			content []byte
			entries int64
			whole   int // transactions
		}{
			{"sound", sound, 9, 3},
			{"empty", make([]byte, 1000), 0, 0},
			{"cut at the end", sound[:places[8]+3], 8, 2},
			{"cut behind the end", sound[:len(sound)-1000], 9, 3},
			{"the first entry", flipped(0), 0, 0},
			{"an entry in the middle of the first transaction", flipped(1), 1, 0},
			{"the end of the first transaction", flipped(3), 3, 0},
			{"the only entry of the second transaction", flipped(4), 4, 1},
			{"the second entry of the last transaction", flipped(7), 7, 2},
		} {
			name := filepath.Join(t.TempDir(), "00001.mem")
			enginetest.WriteFile(t, name, string(c.content))
			ends := []int{logHeaderSize, places[4], places[6], len(sound) - 1000}
			log, err := readLog(name, registry)
			if err != nil || log.entries != c.entries || log.whole != ends[c.whole] || log.version != uint64(c.whole) {
				t.Errorf("%s, encrypted %v: %+v, %v, expected %d entries, transaction %d, which ends at %d",
					c.name, o.Key != nil, log, err, c.entries, c.whole, ends[c.whole])
			}
		}
		for name, content := range map[string][]byte{"short": sound[:19], "of another key": append([]byte{9, 9, 9, 9, 9, 9, 9, 9}, sound[8:]...)} {
			file := filepath.Join(t.TempDir(), "00001.mem")
			enginetest.WriteFile(t, file, string(content))
			if _, err := readLog(file, registry); !errors.Is(err, errCorrupt) {
				t.Errorf("a log that is %s: %v", name, err)
			}
		}
	}
}

// Whatever is in a log, reading it ends, and finds no more than there is.
func FuzzReadLog(f *testing.F) {
	sound, _ := logOf(nil, 3, 1, 2)
	f.Add(sound)
	f.Add(sound[:60])
	f.Add(append(bytes.Clone(sound[:logHeaderSize]), 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 8))
	f.Fuzz(func(t *testing.T, content []byte) {
		name := filepath.Join(t.TempDir(), "00001.mem")
		enginetest.WriteFile(t, name, string(content))
		if log, err := readLog(name, nil); err == nil && (log.whole > len(content) || log.entries > int64(len(content))) {
			t.Errorf("of %d bytes %+v", len(content), log)
		}
	})
}

// Damage in a log that a crash left is an error, and a log cut short is none.
func TestCorruptLog(t *testing.T) {
	for _, o := range []Options{small(), encrypted(small())} {
		dir := t.TempDir()
		l := start(t, dir, o)
		for i := range 50 {
			enginetest.SetAll(t, l, fmt.Sprint("d/", i), fmt.Sprint("e/", i))
		}
		crashed := copyOf(t, dir)
		l.Close()
		name := match(t, crashed, "*.mem")[0]
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		end := len(bytes.TrimRight(content, "\x00"))
		damaged := bytes.Clone(content)
		damaged[end/2] ^= 1
		enginetest.WriteFile(t, name, string(damaged))
		mustRefuse(t, New(crashed, o), "corrupt", "sync=off", "a log is lost or damaged")

		// Asked for, what stands before the damage is opened.
		lenient := o
		lenient.Durability = DurabilityNoSync
		l = start(t, copyOf(t, crashed), lenient)
		if n := len(enginetest.Keys(t, l)); n < 20 || n > 60 || n%2 != 0 {
			t.Errorf("%d objects are left, expected about half of 100, both of each pair", n)
		}
		l.Close()

		// The last transaction is cut short: it was acknowledged, or it was not.
		enginetest.WriteFile(t, name, string(append(content[:end-5:end-5], make([]byte, len(content)-end+5)...)))
		marked, err := readMark(crashed)
		if err != nil {
			t.Fatal(err)
		}
		mustRefuse(t, New(crashed, o), "corrupt", fmt.Sprintf("up to %d, expected %d", marked-1, marked))
		enginetest.WriteFile(t, filepath.Join(crashed, markFile), markOf(marked-1))
		l = start(t, crashed, o)
		if n := len(enginetest.Keys(t, l)); n != 98 {
			t.Errorf("%d objects are left of a log whose last transaction is cut short, expected 98", n)
		}
		l.Close()
	}
}

// What a crash leaves of files that were being made is no obstacle.
func TestUnfinishedFiles(t *testing.T) {
	dir := filled(t)
	for _, name := range []string{"00009.mem", "000009.vlog", probeFile, newFormat, "DISCARD"} {
		enginetest.WriteFile(t, filepath.Join(dir, name), "")
	}
	enginetest.WriteFile(t, filepath.Join(dir, "000999.sst"), "a table that is not in the list")
	l := start(t, dir, small())
	if n := len(enginetest.Keys(t, l)); n != 3*420 {
		t.Errorf("%d objects, expected %d", n, 3*420)
	}
	if len(match(t, dir, "000999.sst")) > 0 {
		t.Error("the unfinished table is still there")
	}
}

// A store can be opened with a smaller table in memory than the one whose log a crash left.
func TestSmallerMemTable(t *testing.T) {
	dir := t.TempDir()
	larger := small()
	larger.MemTableSize = 8 << 20
	l := start(t, dir, larger)
	paths := enginetest.Numbered("d", 30_000)
	enginetest.SetAll(t, l, paths...)
	crashed := copyOf(t, dir)
	l.Close()
	l = start(t, crashed, small())
	if got := enginetest.Keys(t, l); !slices.Equal(got, paths) {
		t.Errorf("%d objects, expected %d", len(got), len(paths))
	}
}
