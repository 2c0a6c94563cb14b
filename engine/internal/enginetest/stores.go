package enginetest

import (
	"math/rand/v2"
	"testing"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storagetest"
)

// TestStores runs the suites of storagetest on the stores that can use a layer. They test how a store uses the layer,
// not what a disk keeps: the layer does not sync.
func TestStores(t *testing.T, layer func(dir string) storage.EmbeddedLayer) {
	eachStore(t, layer, func(t *testing.T, memory bool, open func(t storagetest.T) storage.Database, options storagetest.Options) {
		storagetest.TestDatabase(t, open, options)
		if memory {
			// Events do not depend on the layer below memory, or on its absence.
			storagetest.TestEvents(t, open, options)
		}
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		storagetest.TestModel(t, open, options, seed)
	})
}

// TestSubscriptions runs the suites of subscriptions, which hardly depend on the layer.
func TestSubscriptions(t *testing.T, layer func(dir string) storage.EmbeddedLayer) {
	eachStore(t, layer, func(t *testing.T, _ bool, open func(t storagetest.T) storage.Database, options storagetest.Options) {
		storagetest.TestSubscribe(t, open, options)
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		storagetest.TestSubscriptions(t, open, options, seed)
	})
}

func eachStore(t *testing.T, layer func(dir string) storage.EmbeddedLayer,
	test func(t *testing.T, memory bool, open func(t storagetest.T) storage.Database, options storagetest.Options)) {
	for _, c := range []struct {
		name   string
		config func() storage.LayeredConfig
	}{
		{"alone", func() storage.LayeredConfig { return storage.LayeredConfig{} }},
		{"with memory", func() storage.LayeredConfig {
			return storage.LayeredConfig{Memory: storage.NewMemoryLayer()}
		}},
		{"with memory as a cache", func() storage.LayeredConfig {
			return storage.LayeredConfig{
				Memory:        storage.NewMemoryLayer(),
				MemoryOptions: storage.LayerOptions{SkipLoadMemory: true},
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			open := func(t storagetest.T) storage.Database {
				config := c.config()
				config.Embedded = layer(t.TempDir())
				return storage.New(config)
			}
			test(t, c.name == "with memory", open, storagetest.Options{Persistent: true, Exclusive: true})
		})
	}
}
