package badger

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storagetest"
)

// small returns options with which a store takes little memory, and with which few writes
// reach all parts of Badger.
func small() Options {
	return Options{
		MemTableSize: 1 << 20,
		CacheSize:    1 << 20,
	}
}

// roomy returns such options for a store that takes objects of a megabyte.
func roomy() Options {
	o := small()
	o.MemTableSize = 7 << 20
	return o
}

func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name    string
		options Options
	}{
		{"plain", roomy()},
		{"encrypted", encrypted(roomy())},
	} {
		t.Run(c.name, func(t *testing.T) {
			storagetest.TestEmbedded(t, func(_ storagetest.T, dir string) storage.EmbeddedLayer {
				return New(dir, c.options)
			}, storagetest.Options{Persistent: true, Exclusive: true, Corrupt: flipByte(c.options)})
		})
	}
}

func encrypted(o Options) Options {
	o.Key = bytes.Repeat([]byte("k"), 32)
	return o
}

func TestConformanceOfStores(t *testing.T) {
	enginetest.TestStores(t, func(dir string) storage.EmbeddedLayer {
		options := roomy()
		options.Durability = DurabilityNoSync
		return New(dir, options)
	})
}

// flipByte flips a bit in the stored value of a key, behind the back of Badger's own
// checksums.
func flipByte(o Options) func(t storagetest.T, dir, path string) {
	return func(t storagetest.T, dir, path string) {
		t.Helper()
		o.Durability = DurabilityNoSync // the mark stays as it is
		s := New(dir, o).newStore(dir, nil)
		db, err := badger.OpenManaged(s.badgerOptions(o.Key, 0))
		if err != nil {
			t.Fatalf("open: %v", err)
		}
		s.db = db
		defer db.Close()
		s.version = db.MaxVersion()
		generation, err := s.note(generationKey, latest)
		if err != nil {
			t.Fatalf("generation: %v", err)
		}
		raw := spaceOf(generation).Append(nil, path)
		value, err := s.valueAt(raw, latest)
		if err != nil || value == nil {
			t.Fatalf("get %q: %v", path, err)
		}
		value[len(value)-1] ^= 1
		if err := s.transact(func(txn *badger.Txn) error { return txn.Set(raw, value) }); err != nil {
			t.Fatalf("set %q: %v", path, err)
		}
	}
}

func TestLogHandler(t *testing.T) {
	enginetest.TestLogHandler(t, func(dir string, log *slog.Logger) storage.EmbeddedLayer {
		options := small()
		options.Logger = log
		return New(dir, options)
	})
}
