package bbolt

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storagetest"
)

func in(dir string) string { return filepath.Join(dir, "store.db") }

func TestConformance(t *testing.T) {
	open := func(_ storagetest.T, dir string) storage.EmbeddedLayer { return New(in(dir), Options{}) }
	options := storagetest.Options{Persistent: true, Exclusive: true, Corrupt: flipByte}
	storagetest.TestEmbedded(t, open, options)
	store := func(t storagetest.T) storage.Database {
		return storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Persistent: open(t, t.TempDir())})
	}
	storagetest.TestDatabase(t, store, options)
	storagetest.TestEvents(t, store, options)
	storagetest.TestSubscribe(t, store, options)
	seed := rand.Uint64()
	storagetest.TestModel(t, store, options, seed)
	storagetest.TestSubscriptions(t, store, options, seed)
}

// Without memory, all reads of a store come from the layer.
func TestModelWithoutMemory(t *testing.T) {
	store := func(t storagetest.T) storage.Database {
		return storage.New(storage.LayeredConfig{Persistent: New(in(t.TempDir()), Options{})})
	}
	storagetest.TestModel(t, store, storagetest.Options{Persistent: true}, rand.Uint64())
}

// flipByte changes a byte of what is stored of a key, behind the back of the layer.
func flipByte(t storagetest.T, dir, path string) {
	t.Helper()
	db, err := bolt.Open(in(dir), 0o644, nil)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	defer db.Close()
	err = db.Update(func(tx *bolt.Tx) error {
		key := space.Append(nil, path)
		value := append([]byte(nil), tx.Bucket(objects).Get(key)...)
		value[len(value)-1] ^= 1
		return tx.Bucket(objects).Put(key, value)
	})
	if err != nil {
		t.Fatalf("flip a byte of %q: %v", path, err)
	}
}
