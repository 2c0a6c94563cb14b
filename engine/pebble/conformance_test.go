package pebble

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storagetest"
)

func TestConformance(t *testing.T) {
	storagetest.TestEmbedded(t, func(_ storagetest.T, dir string) storage.EmbeddedLayer {
		return New(dir, Options{})
	}, storagetest.Options{Persistent: true, Exclusive: true, Corrupt: flipByte})
}

func TestConformanceOfStores(t *testing.T) {
	for _, c := range []struct {
		name   string
		config func(dir string) storage.LayeredConfig
	}{
		{"alone", func(dir string) storage.LayeredConfig {
			return storage.LayeredConfig{Embedded: New(dir, Options{})}
		}},
		{"with memory", func(dir string) storage.LayeredConfig {
			return storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: New(dir, Options{})}
		}},
		{"with memory as a cache", func(dir string) storage.LayeredConfig {
			return storage.LayeredConfig{
				Memory:        storage.NewMemoryLayer(),
				MemoryOptions: storage.LayerOptions{SkipLoadMemory: true},
				Embedded:      New(dir, Options{}),
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			open := func(t storagetest.T) storage.Database { return storage.New(c.config(t.TempDir())) }
			options := storagetest.Options{Persistent: true, Exclusive: true}
			storagetest.TestDatabase(t, open, options)
			storagetest.TestEvents(t, open, options)
			storagetest.TestSubscribe(t, open, options)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			storagetest.TestModel(t, open, options, seed)
			storagetest.TestSubscriptions(t, open, options, seed)
		})
	}
}

// flipByte flips a bit in the stored value of a key, behind the back of Pebble's own
// checksums.
func flipByte(t storagetest.T, dir, path string) {
	t.Helper()
	db, err := pebble.Open(dir, &pebble.Options{Logger: logger{to: slog.New(slog.DiscardHandler)}})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	raw := objectKeys.Append(nil, path)
	value, closer, err := db.Get(raw)
	if err != nil {
		t.Fatalf("get %q: %v", path, errors.Join(err, db.Close()))
	}
	flipped := bytes.Clone(value)
	flipped[len(flipped)-1] ^= 1
	if err := errors.Join(closer.Close(), db.Set(raw, flipped, pebble.Sync), db.Close()); err != nil {
		t.Fatalf("set %q: %v", path, err)
	}
}
