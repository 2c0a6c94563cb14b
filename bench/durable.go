package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	engine "github.com/oolith-db/oolith/engine/pebble"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// manyWriters is how many goroutines write at the same time in the durable contests.
const manyWriters = 64

// durableStore returns a started store over memory and Pebble.
func durableStore(dir string) (*storage.Layered, error) {
	store := storage.New(storage.LayeredConfig{
		Memory:   storage.NewMemoryLayer(),
		Embedded: engine.New(dir, engine.Options{}),
	})
	return store, store.Start(storage.Options{})
}

// barePebble returns Pebble without the store, with the options of package engine/pebble.
func barePebble(dir string) (*pebble.DB, error) {
	open := func() (*pebble.DB, error) {
		cache := pebble.NewCache(64 << 20)
		defer cache.Unref()
		o := &pebble.Options{
			Cache:                       cache,
			FormatMajorVersion:          pebble.FormatValueSeparation,
			MemTableSize:                64 << 20,
			MemTableStopWritesThreshold: 4,
			CompactionConcurrencyRange:  func() (int, int) { return 1, max(1, min(runtime.GOMAXPROCS(0), 3)) },
			Logger:                      quietLogger{},
		}
		for i := range o.Levels {
			o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		}
		return pebble.Open(dir, o)
	}
	// As in package engine/pebble, the log in use is that of a second opening.
	db, err := open()
	if err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	return open()
}

// quietLogger drops Pebble's messages.
type quietLogger struct{}

func (quietLogger) Infof(string, ...any)  {}
func (quietLogger) Errorf(string, ...any) {}
func (quietLogger) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf("pebble: "+format, args...))
}

// writer stores data at a path, durably.
type writer func(path string, data []byte) error

func storeWriter(store *storage.Layered) writer {
	return func(path string, data []byte) error {
		_, err := store.Set(path, data)
		return err
	}
}

func layerWriter(layer *engine.Layer) writer {
	return func(path string, data []byte) error {
		return layer.Set(path, &meta.Object{Created: 1, Data: data})
	}
}

func pebbleWriter(db *pebble.DB) writer {
	return func(path string, data []byte) error {
		return db.Set([]byte(path), data, pebble.Sync)
	}
}

// writesWith is a side that writes with several goroutines, and continues where it stopped.
func writesWith(writers int, write writer, paths []string) side {
	at, data := 0, bodies()
	return func(n int) error {
		begin := at
		at = (at + n) % len(paths)
		return parallel(writers, n, func(_, i int) error {
			return write(paths[(begin+i)%len(paths)], data[i%len(data)])
		})
	}
}

// durableRows compares durable writes with those of bare Pebble.
func durableRows(c config) (rows []row, err error) {
	store, err := durableStore(filepath.Join(c.dir, "durable-store"))
	if err != nil {
		return nil, err
	}
	defer store.Close()
	layer := engine.New(filepath.Join(c.dir, "durable-layer"), engine.Options{})
	if err := layer.Start(storage.LayerOptions{}); err != nil {
		return nil, err
	}
	defer layer.Close()
	db, err := barePebble(filepath.Join(c.dir, "durable-bare"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	paths := lookups(c.objects)
	c.round *= 3 // a sync takes long
	for _, contest := range []struct {
		writers        int
		name           string
		ours, baseline writer
		goal           *goal
	}{
		{manyWriters, "durable Set/s / Pebble", storeWriter(store), pebbleWriter(db), ratioAtLeast(0.8)},
		{1, "durable Set/s / Pebble", storeWriter(store), pebbleWriter(db), ratioAtLeast(0.9)},
		{manyWriters, "layer's Set/s / Pebble", layerWriter(layer), pebbleWriter(db), nil},
		{1, "layer's Set/s / Pebble", layerWriter(layer), pebbleWriter(db), nil},
	} {
		r, err := throughput(c, fmt.Sprintf("%s, writers: %d", contest.name, contest.writers),
			writesWith(contest.writers, contest.ours, paths),
			writesWith(contest.writers, contest.baseline, paths), contest.goal)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// throughput compares two sides by operations a second.
func throughput(c config, name string, ours, baseline side, g *goal) (row, error) {
	result, err := contestOfMany(c, ours, baseline)
	if err != nil {
		return row{}, err
	}
	return compared(name, "/s", perSecond(result[0]), perSecond(result[1]), g), nil
}

func perSecond(ns []float64) []float64 {
	rates := make([]float64, len(ns))
	for i, took := range ns {
		rates[i] = 1e9 / took
	}
	return rates
}
