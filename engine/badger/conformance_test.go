package badger

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storagetest"
)

// small returns options with which a store takes little memory, and with which few writes
// reach all parts of Badger.
func small() Options {
	return Options{
		MemTableSize:     1 << 20,
		ValueLogFileSize: 2 << 20,
		ValueThreshold:   1 << 10,
		CacheSize:        1 << 20,
	}
}

func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name    string
		options Options
	}{
		{"plain", small()},
		{"encrypted", encrypted(small())},
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
	for _, c := range []struct {
		name   string
		config func(dir string) storage.LayeredConfig
	}{
		{"alone", func(dir string) storage.LayeredConfig {
			return storage.LayeredConfig{Embedded: New(dir, small())}
		}},
		{"with memory", func(dir string) storage.LayeredConfig {
			return storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: New(dir, small())}
		}},
		{"with memory as a cache", func(dir string) storage.LayeredConfig {
			return storage.LayeredConfig{
				Memory:        storage.NewMemoryLayer(),
				MemoryOptions: storage.LayerOptions{SkipLoadMemory: true},
				Embedded:      New(dir, small()),
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			open := func(t storagetest.T) storage.Database { return storage.New(c.config(t.TempDir())) }
			options := storagetest.Options{Persistent: true, Exclusive: true}
			storagetest.TestDatabase(t, open, options)
			storagetest.TestEvents(t, open, options)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			storagetest.TestModel(t, open, options, seed)
		})
	}
}

// flipByte flips a bit in the stored value of a key, behind the back of Badger's own
// checksums.
func flipByte(o Options) func(t storagetest.T, dir, path string) {
	return func(t storagetest.T, dir, path string) {
		t.Helper()
		s := newStore(dir, o.withDefaults(), nil)
		defer s.stop()
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
