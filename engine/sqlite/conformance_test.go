package sqlite

import (
	"cmp"
	"log/slog"
	"path/filepath"
	"testing"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
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
	enginetest.TestStores(t, func(dir string) storage.EmbeddedLayer { return New(in(dir), Options{Durability: DurabilityNoSync}) })
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
	if err = cmp.Or(err, c.close()); err != nil {
		t.Fatalf("flip a byte of %q: %v", path, err)
	}
}

func TestLogHandler(t *testing.T) {
	enginetest.TestLogHandler(t, func(dir string, log *slog.Logger) storage.EmbeddedLayer { return New(in(dir), Options{Logger: log}) })
}
