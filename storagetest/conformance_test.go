package storagetest

import (
	"testing"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// diskOptions are what a layer on a Disk offers.
func diskOptions(disk *Disk) Options {
	return Options{
		Persistent: true,
		Exclusive:  true,
		Corrupt:    func(t T, dir, path string) { must(t, "Corrupt", disk.Corrupt(dir, path)) },
	}
}

func TestMemoryLayer(t *testing.T) {
	TestLayer(t, func(T) storage.Layer { return storage.NewMemoryLayer() }, Options{})
}

func TestPlainLayer(t *testing.T) {
	disk := &Disk{}
	open := func(_ T, dir string) storage.EmbeddedLayer { return NewPlainLayer(disk, dir) }
	TestEmbedded(t, open, diskOptions(disk))
}

func TestBatchLayer(t *testing.T) {
	disk := &Disk{}
	open := func(_ T, dir string) storage.EmbeddedLayer { return NewBatchLayer(disk, dir) }
	TestEmbedded(t, open, diskOptions(disk))
}

// TestEmbeddedWrapper checks that the wrapper is as good a layer as what it wraps.
func TestEmbeddedWrapper(t *testing.T) {
	for _, c := range layerKinds {
		t.Run(c.name, func(t *testing.T) {
			disk := &Disk{}
			open := func(_ T, dir string) storage.EmbeddedLayer { return storage.NewEmbeddedWrapper(c.open(disk, dir)) }
			TestEmbedded(t, open, diskOptions(disk))
		})
	}
}

// TestFaultyLayer checks that a wrapper without faults is as good as what it wraps.
func TestFaultyLayer(t *testing.T) {
	for _, c := range layerKinds {
		t.Run(c.name, func(t *testing.T) {
			disk := &Disk{}
			open := func(_ T, dir string) storage.EmbeddedLayer {
				faults := &Faults{}
				return faults.Wrap(c.open(disk, dir))
			}
			TestEmbedded(t, open, diskOptions(disk))
		})
	}
}

// layerKinds are the layers on a Disk.
var layerKinds = []struct {
	name string
	open func(disk *Disk, dir string) storage.EmbeddedLayer
}{
	{"plain", func(disk *Disk, dir string) storage.EmbeddedLayer { return NewPlainLayer(disk, dir) }},
	{"batch", func(disk *Disk, dir string) storage.EmbeddedLayer { return NewBatchLayer(disk, dir) }},
}

// databaseKind is a way to put a database together.
type databaseKind struct {
	name string
	opts Options
	open func(t T) storage.Database
}

// databaseKinds are the ways in which layers make a database.
func databaseKinds() []databaseKind {
	persistent := Options{Persistent: true}
	kinds := []databaseKind{
		{"memory", Options{}, func(T) storage.Database {
			return storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
		}},
		{"adapter", Options{}, func(T) storage.Database {
			return storage.NewAdapter(storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()}))
		}},
	}
	kinds = append(kinds, databaseKind{"shared", persistent, func(T) storage.Database { return twinStore(new(Twin)) }})
	for _, l := range layerKinds {
		disk := &Disk{}
		layer := func(t T) storage.EmbeddedLayer { return l.open(disk, t.TempDir()) }
		kinds = append(kinds,
			databaseKind{"memory and " + l.name, persistent, func(t T) storage.Database {
				return storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Persistent: layer(t)})
			}},
			databaseKind{l.name + " only", Options{Persistent: true, PartialGlobDel: l.name == "plain"}, func(t T) storage.Database {
				return storage.New(storage.LayeredConfig{Embedded: layer(t)})
			}},
			databaseKind{"cache of " + l.name, persistent, func(t T) storage.Database {
				return storage.New(storage.LayeredConfig{
					Memory:        storage.NewMemoryLayer(),
					MemoryOptions: storage.LayerOptions{SkipLoadMemory: true, CacheBytes: 4 << 10}, // objects come and go
					Embedded:      layer(t),
				})
			}},
			databaseKind{"wrapped " + l.name, persistent, func(t T) storage.Database {
				return storage.New(storage.LayeredConfig{
					Memory:   storage.NewMemoryLayer(),
					Embedded: storage.NewEmbeddedWrapper(layer(t)),
				})
			}},
		)
	}
	return kinds
}

func TestDatabases(t *testing.T) {
	for _, kind := range databaseKinds() {
		t.Run(kind.name, func(t *testing.T) {
			TestDatabase(t, kind.open, kind.opts)
			TestEvents(t, kind.open, kind.opts)
			TestSubscribe(t, kind.open, kind.opts)
		})
	}
}

// TestRandomSubscriptions holds the subscriptions of each kind of database to their guarantees, from a fixed seed and
// from one that is new each time and that the name of the subtest shows.
func TestRandomSubscriptions(t *testing.T) {
	fresh := uint64(time.Now().UnixNano())
	for _, kind := range databaseKinds() {
		t.Run(kind.name, func(t *testing.T) {
			TestSubscriptions(t, kind.open, kind.opts, 1)
			TestSubscriptions(t, kind.open, kind.opts, fresh)
		})
	}
}

// TestRandomOperations compares each kind of database with the model, from a fixed seed
// and from one that is new each time and that the name of the subtest shows.
func TestRandomOperations(t *testing.T) {
	fresh := uint64(time.Now().UnixNano())
	for _, kind := range databaseKinds() {
		t.Run(kind.name, func(t *testing.T) {
			for seed := range uint64(5) {
				TestModel(t, kind.open, kind.opts, seed)
			}
			TestModel(t, kind.open, kind.opts, fresh)
		})
	}
}

// FuzzModel lets the fuzzer choose the calls, for each kind of database.
func FuzzModel(f *testing.F) {
	kinds := databaseKinds()
	for i := range kinds {
		f.Add(uint8(i), RandomChoices(uint64(i), 300))
	}
	f.Fuzz(func(t *testing.T, kind uint8, choices []byte) {
		k := kinds[int(kind)%len(kinds)]
		CheckModel(t, k.open, k.opts, choices)
	})
}
