package ko

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"

	"github.com/syndtr/goleveldb/leveldb"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storagetest"
)

func TestConformance(t *testing.T) {
	storagetest.TestEmbedded(t, func(_ storagetest.T, dir string) storage.EmbeddedLayer {
		return New(dir, Options{})
	}, storagetest.Options{Persistent: true, Exclusive: true, Corrupt: flipByte})
}

func TestConformanceOfStores(t *testing.T) {
	enginetest.TestStores(t, func(dir string) storage.EmbeddedLayer { return New(dir, Options{Durability: DurabilityNoSync}) })
}

// flipByte flips a bit in the stored value of a key, behind the back of LevelDB's
// checksums.
func flipByte(t storagetest.T, dir, path string) {
	t.Helper()
	db, err := leveldb.OpenFile(dir, nil)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	value, err := db.Get([]byte(path), nil)
	if err != nil {
		t.Fatalf("get %q: %v", path, errors.Join(err, db.Close()))
	}
	flipped := bytes.Clone(value)
	flipped[len(flipped)-1] ^= 1
	if err := errors.Join(db.Put([]byte(path), flipped, nil), db.Close()); err != nil {
		t.Fatalf("put %q: %v", path, err)
	}
}

func TestLogHandler(t *testing.T) {
	enginetest.TestLogHandler(t, func(dir string, log *slog.Logger) storage.EmbeddedLayer {
		return New(dir, Options{Logger: log, WriteBuffer: 256 << 10})
	})
}
