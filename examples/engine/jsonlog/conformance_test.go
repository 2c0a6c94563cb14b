package jsonlog

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storagetest"
)

func TestConformance(t *testing.T) {
	conform(t, func(_ storagetest.T, dir string) storage.EmbeddedLayer { return New(dir) })
}

func TestConformanceOfBatches(t *testing.T) {
	conform(t, func(_ storagetest.T, dir string) storage.EmbeddedLayer { return NewBatch(dir) })
}

// conform runs the whole suite on a layer, and on a store over it.
func conform(t *testing.T, open func(t storagetest.T, dir string) storage.EmbeddedLayer) {
	options := storagetest.Options{Persistent: true, Exclusive: true, Corrupt: flipByte}
	storagetest.TestEmbedded(t, open, options)
	store := func(t storagetest.T) storage.Database {
		return storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Persistent: open(t, t.TempDir())})
	}
	storagetest.TestDatabase(t, store, options)
	storagetest.TestEvents(t, store, options)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	storagetest.TestModel(t, store, options, seed)
}

// flipByte changes a byte in the newest entry of a key.
func flipByte(t storagetest.T, dir, path string) {
	t.Helper()
	name := filepath.Join(dir, "log.jsonl")
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("read the log: %v", err)
	}
	at := bytes.LastIndex(content, []byte(" "+path+" "))
	if at < 0 {
		t.Fatalf("the log has no key %q", path)
	}
	content[at+len(path)+20] ^= 1
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatalf("write the log: %v", err)
	}
}
