package badger

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// olderStore makes a store of format version 1, as the builds of that version did: of the second generation, with the values of 1 KiB
// and more in the value log. With closed false it is left as by a crash.
func olderStore(t *testing.T, o Options, closed bool) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s := New(dir, o).newStore(dir, nil)
	bo := s.badgerOptions(o.Key, 0)
	bo.ValueThreshold, bo.ValueLogFileSize = 1<<10, 8<<20
	db, err := badger.OpenManaged(bo)
	if err != nil {
		t.Fatal(err)
	}
	space := spaceOf(1)
	for i := range 100 {
		path, data := fmt.Sprintf("d/%03d", i), fmt.Sprintf("%q", strings.Repeat("x", i*100))
		if i == 99 {
			path, data = "large/0", fmt.Sprintf("%q", strings.Repeat("x", 3<<20)) // more than is taken now
		}
		txn := db.NewTransactionAt(latest, true)
		err := cmp.Or(
			txn.Set(generationKey, encodeNumber(1)), txn.Set(revisionKey, encodeNumber(uint64(i+1))),
			txn.Set(space.Append(nil, path), enginekit.AppendObject(nil, path, enginetest.Object(path, int64(i+1), data))),
			txn.Set(spaceOf(0).Append(nil, path), []byte("not purged yet")),
			txn.CommitAt(uint64(i+1), nil))
		if err != nil {
			t.Fatal(err)
		}
	}
	enginetest.WriteFile(t, filepath.Join(dir, enginekit.FormatFile), enginekit.FormatLine(formatName, 1))
	enginetest.WriteFile(t, filepath.Join(dir, lockFile), "")
	crashed := ""
	if !closed {
		crashed = copyOf(t, dir)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if !closed {
		return crashed
	}
	return dir
}

// A store of format version 1 is read as it is, also with values that are too large to be written now, and is one of this version once
// it was opened to write.
func TestOlderStore(t *testing.T) {
	for name, o := range map[string]Options{"plain": small(), "encrypted": encrypted(small())} {
		t.Run(name, func(t *testing.T) {
			dir := olderStore(t, o, true)
			check := func(when string, l *Layer, want int) {
				t.Helper()
				objects, err := l.Load()
				if err != nil || len(objects) != want {
					t.Fatalf("%s: %d objects of %d, %v", when, len(objects), want, err)
				}
				if large := objects["large/0"]; large == nil || len(large.Data) != 3<<20+2 {
					t.Errorf("%s: the large object is %.60v", when, large)
				}
				enginetest.CheckSound(t, l)
			}
			before := enginetest.Digest(t, dir)
			readOnly := o
			readOnly.ReadOnly = true
			l := start(t, dir, readOnly)
			check("to read only", l, 100)
			l.Close()
			if after := enginetest.Digest(t, dir); after != before {
				t.Errorf("the files were\n%s and are\n%s", before, after)
			}
			l = start(t, dir, o)
			check("at the first start", l, 100)
			if got, err := l.LastRevision(); err != nil || got != 100 {
				t.Errorf("the last revision is %d, %v", got, err)
			}
			enginetest.SetAll(t, l, "new")
			if err := l.Del("d/050"); err != nil {
				t.Fatal(err)
			}
			if err := l.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
			crashed := copyOf(t, dir)
			l.Close()
			for _, dir := range []string{dir, crashed} {
				l := start(t, dir, o)
				check("afterwards", l, 100)
				l.Clear()
				if got := enginetest.Keys(t, l); len(got) > 0 {
					t.Errorf("after a clear there is %q", got)
				}
				l.Close()
				if got := enginetest.Keys(t, start(t, dir, o)); len(got) > 0 {
					t.Errorf("after a clear and a restart there is %q", got)
				}
			}
			if content, err := os.ReadFile(filepath.Join(dir, enginekit.FormatFile)); err != nil || string(content) != formatLine {
				t.Errorf("FORMAT says %q, %v", content, err)
			}
		})
	}
}

// A store of format version 1 that was not closed has no mark by which to tell whether all is there.
func TestOlderStoreNotClosed(t *testing.T) {
	dir := olderStore(t, small(), false)
	before := enginetest.Digest(t, dir)
	mustRefuse(t, New(dir, small()), "was not closed", "open it once more with that build")
	if after := enginetest.Digest(t, dir); after != before {
		t.Errorf("the files were\n%s and are\n%s", before, after)
	}
}

// Of a store of format version 1, a value log that is damaged is an error of the objects that are gone, with the key.
func TestOlderValueLogDamaged(t *testing.T) {
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
			dir := olderStore(t, small(), true)
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
			if _, err := l.Load(); err == nil || !strings.Contains(err.Error(), `"d/`) {
				t.Errorf("load: %v, expected a key", err)
			}
			if _, err := l.Get("d/098"); err == nil || errors.Is(err, storage.ErrNotFound) || !strings.Contains(err.Error(), `"d/098"`) {
				t.Errorf("get: %v, expected the key", err)
			}
			if _, err := l.Get("d/001"); err != nil {
				t.Errorf("an object that is not in the value log: %v", err)
			}
		})
	}
	t.Run("without a header", func(t *testing.T) {
		dir := olderStore(t, small(), true)
		name := match(t, dir, "*.vlog")[0]
		if err := os.Truncate(name, 10); err != nil {
			t.Fatal(err)
		}
		mustRefuse(t, New(dir, small()), "corrupt", "value log "+filepath.Base(name))
	})
}
