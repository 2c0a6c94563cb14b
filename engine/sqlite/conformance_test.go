package sqlite

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/engine/internal/enginekit"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storagetest"
)

// in is the file of a store in a directory of a test.
func in(dir string) string { return filepath.Join(dir, "store.db") }

func TestConformance(t *testing.T) {
	storagetest.TestEmbedded(t, func(_ storagetest.T, dir string) storage.EmbeddedLayer {
		return New(in(dir), Options{})
	}, storagetest.Options{Persistent: true, Exclusive: true, Corrupt: flipByte})
}

func TestConformanceOfStores(t *testing.T) {
	for _, c := range []struct {
		name   string
		config func(dir string) storage.LayeredConfig
	}{
		{"alone", func(dir string) storage.LayeredConfig {
			return storage.LayeredConfig{Embedded: New(in(dir), Options{})}
		}},
		{"with memory", func(dir string) storage.LayeredConfig {
			return storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: New(in(dir), Options{})}
		}},
		{"with memory as a cache", func(dir string) storage.LayeredConfig {
			return storage.LayeredConfig{
				Memory:        storage.NewMemoryLayer(),
				MemoryOptions: storage.LayerOptions{SkipLoadMemory: true},
				Embedded:      New(in(dir), Options{}),
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

// flipByte flips a bit in the stored data of a key, behind the back of the table's trigger.
func flipByte(t storagetest.T, dir, path string) {
	t.Helper()
	c, err := openConn(in(dir), toWrite, Options{}.withDefaults())
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	_, err = c.db.Config(sqlite3.DBCONFIG_ENABLE_TRIGGER, false)
	if err == nil {
		err = c.run(`UPDATE objects SET data = replace(data, '{"n":', '{"m":') WHERE path = ?1`, path)
	}
	if err = enginekit.FirstError(err, c.close()); err != nil {
		t.Fatalf("flip a byte of %q: %v", path, err)
	}
}
