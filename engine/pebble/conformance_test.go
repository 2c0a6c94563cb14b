package pebble

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2"

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

func TestSubscriptionsOfStores(t *testing.T) {
	enginetest.TestSubscriptions(t, func(dir string) storage.EmbeddedLayer { return New(dir, Options{Durability: DurabilityNoSync}) })
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

func TestLogHandler(t *testing.T) {
	enginetest.TestLogHandler(t, func(dir string, log *slog.Logger) storage.EmbeddedLayer {
		return New(dir, Options{Logger: log, MemTableSize: 256 << 10})
	})
}
