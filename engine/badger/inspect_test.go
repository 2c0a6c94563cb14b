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

	"github.com/dgraph-io/badger/v4/y"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/storage"
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
		{"a missing table", remove("*.sst"), []string{"corrupt", "backup", ".sst is missing"}},
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

// A value log whose file is cut is an error of the object that is gone, with its key.
func TestCorruptValueLog(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"changed": func(content []byte) []byte {
			for i := 1000; i < len(content); i++ {
				content[i] ^= 0x55
			}
			return content
		},
		"cut short": func(content []byte) []byte { return content[:1000] },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t)
			for _, file := range match(t, dir, "*.vlog") {
				content, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if len(content) > 1000 {
					enginetest.WriteFile(t, file, string(damage(content)))
				}
			}
			l := start(t, dir, small())
			if _, err := l.Load(); err == nil || !strings.Contains(err.Error(), `"v0/`) {
				t.Errorf("load: %v, expected a key", err)
			}
			if _, err := l.Get("v0/000001"); err == nil || errors.Is(err, storage.ErrNotFound) || !strings.Contains(err.Error(), `"v0/000001"`) {
				t.Errorf("get: %v, expected the key", err)
			}
			if _, err := l.Get("d0/000001"); err != nil {
				t.Errorf("an object that is not in the value log: %v", err)
			}
		})
	}
	t.Run("without a header", func(t *testing.T) {
		dir := filled(t)
		name := match(t, dir, "*.vlog")[0]
		if err := os.Truncate(name, 10); err != nil {
			t.Fatal(err)
		}
		mustRefuse(t, New(dir, small()), "corrupt", "value log "+filepath.Base(name))
	})
}

// Each bit of a table counts: whichever is changed, the table is corrupt. Or the change is one of
// what compression left open, and makes no difference: then all that the store holds is as before.
func TestVerifyTable(t *testing.T) {
	rng := enginetest.Seeded(t)
	for _, o := range []Options{small(), encrypted(small())} {
		dir := filledWith(t, o)
		s := newStore(dir, o.withDefaults(), nil)
		defer s.stop()
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
			if n, err := s.inspectTable(id, listed, registry); err != nil || n.entries < 400 {
				t.Fatalf("a sound table has %d entries, %v", n.entries, err)
			}
			for range 100 {
				broken := bytes.Clone(sound)
				at := rng.IntN(len(broken))
				broken[at] ^= 1 << rng.IntN(8)
				enginetest.WriteFile(t, s.tableName(id), string(broken))
				switch _, err := s.inspectTable(id, listed, registry); {
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

// logOf returns the content of a log with transactions of some entries each, and the place
// and the version of each entry.
func logOf(dataKey []byte, transactions ...int) (content []byte, places []int) {
	content = make([]byte, logHeaderSize)
	add := func(meta byte, key, value string) {
		places = append(places, len(content))
		l := logReader{content: content, dataKey: dataKey}
		entry := []byte{meta, 0, byte(len(key)), byte(len(value)), 0}
		plain := []byte(key + value)
		sealed, err := l.decrypt(plain, len(content))
		if err != nil {
			panic(err)
		}
		entry = append(entry, sealed...)
		entry = binary.BigEndian.AppendUint32(entry, crc32.Checksum(entry, castagnoli))
		content = append(content, entry...)
	}
	for i, n := range transactions {
		version := uint64(i + 1)
		for e := range n {
			add(inTransaction, string(y.KeyWithTs(fmt.Appendf(nil, "key %d", e), version)), "some value")
		}
		add(endsOne, string(y.KeyWithTs([]byte("!badger!txn"), version)), fmt.Sprint(version))
	}
	return append(content, make([]byte, 1000)...), places
}

func TestLogDamage(t *testing.T) {
	for _, dataKey := range [][]byte{nil, bytes.Repeat([]byte("d"), 16)} {
		sound, places := logOf(dataKey, 3, 1, 2)
		flipped := func(place int) []byte {
			content := bytes.Clone(sound)
			content[places[place]+7] ^= 1
			return content
		}
		for _, c := range []struct {
			name    string
			content []byte
			entries int64
			damaged bool
		}{
			{"sound", sound, 6, false},
			{"empty", make([]byte, 1000), 0, false},
			{"cut at the end, as no crash leaves it", sound[:places[8]+3], 6, true},
			{"the first entry", flipped(0), 0, true},
			{"an entry in the middle of the first transaction", flipped(1), 1, true},
			{"the end of the first transaction", flipped(3), 3, true},
			{"the only entry of the second transaction", flipped(4), 3, true},
			{"the end of the second transaction", flipped(5), 4, true},
			{"the first entry of the last transaction, as a crash may leave it", flipped(6), 4, false},
			{"the second entry of the last transaction, as a crash may leave it", flipped(7), 5, false},
			{"the end of the last transaction, as a crash may leave it", flipped(8), 6, false},
		} {
			l := logReader{content: c.content, dataKey: dataKey}
			found, open := l.read()
			if damaged := l.damaged(found.end, open); damaged != c.damaged || found.entries != c.entries {
				t.Errorf("%s, encrypted %v: %d entries, damaged %v, expected %d and %v",
					c.name, dataKey != nil, found.entries, damaged, c.entries, c.damaged)
			}
		}
	}
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
		mustRefuse(t, New(crashed, o), "corrupt", "sync=off", filepath.Base(name))

		// Asked for, what stands before the damage is opened.
		lenient := o
		lenient.Durability = DurabilityNoSync
		l = start(t, copyOf(t, crashed), lenient)
		if n := len(enginetest.Keys(t, l)); n < 20 || n > 60 || n%2 != 0 {
			t.Errorf("%d objects are left, expected about half of 100, both of each pair", n)
		}
		l.Close()

		enginetest.WriteFile(t, name, string(append(content[:end-5:end-5], make([]byte, len(content)-end+5)...)))
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
