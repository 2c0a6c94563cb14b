package main

import (
	"fmt"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"time"

	engine "github.com/oolith-db/oolith/engine/pebble"
	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/storage"
)

// fillBatch is how many objects fillLayer writes at once.
const fillBatch = 10_000

// startRows measures the start of a store with all its objects on disk.
func startRows(c config) ([]row, error) {
	dir := filepath.Join(c.dir, "start")
	if err := fillLayer(dir, c.objects); err != nil {
		return nil, err
	}
	var rates, bare []float64
	for range 5 {
		for _, side := range []struct {
			once func(dir string, n int) (time.Duration, error)
			rate *[]float64
		}{{startOnce, &rates}, {decodeOnce, &bare}} {
			took, err := side.once(dir, c.objects)
			if err != nil {
				return nil, err
			}
			*side.rate = append(*side.rate, float64(c.objects)/took.Seconds())
		}
	}
	peak, final, err := startMemory(dir)
	if err != nil {
		return nil, err
	}
	payload := len(path(0)) + dataSize
	return []row{
		row{Name: "start, objects/s", Unit: "/s", Ours: median(rates), Goal: oursAtLeast(1e6)}.judged(),
		compared("start / decoding into the same tables", "/s", rates, bare, ratioAtLeast(0.7)),
		compared("start, live heap at its peak / at the end", "MB", []float64{peak / 1e6}, []float64{final / 1e6}, ratioAtMost(1.25)),
		{Name: "memory per object beyond path and data, started", Unit: "B", Ours: perObject(final, c.objects, payload)},
	}, nil
}

// fillLayer writes n objects to a directory.
func fillLayer(dir string, n int) error {
	layer := engine.New(dir, engine.Options{})
	if err := layer.Start(storage.LayerOptions{}); err != nil {
		return err
	}
	defer layer.Close()
	changes := make([]storage.Change, 0, fillBatch)
	for i := range n {
		obj := object(i)
		changes = append(changes, storage.Change{Key: obj.Path, Object: obj, Revision: obj.Revision})
		if len(changes) == fillBatch || i == n-1 {
			if err := layer.Commit(changes); err != nil {
				return err
			}
			changes = changes[:0]
		}
	}
	return nil
}

// startOnce starts and closes the store and returns the duration of the start.
func startOnce(dir string, n int) (time.Duration, error) {
	debug.FreeOSMemory()
	begin := time.Now()
	store, err := durableStore(dir)
	if err != nil {
		return 0, err
	}
	took := time.Since(begin)
	defer store.Close()
	if found := store.Stats().Objects; found != n {
		return 0, fmt.Errorf("start: %d objects are there, expected %d", found, n)
	}
	return took, nil
}

// decodeOnce opens the engine, decodes everything in it into the tables that memory has, and does nothing else.
func decodeOnce(dir string, n int) (time.Duration, error) {
	debug.FreeOSMemory()
	begin := time.Now()
	layer := engine.New(dir, engine.Options{})
	if err := layer.Start(storage.LayerOptions{}); err != nil {
		return 0, err
	}
	defer layer.Close()
	tree := pathtree.New()
	if _, _, err := tree.Load(layer.Scan(""), layer.SizeHint(), nil); err != nil {
		return 0, err
	}
	took := time.Since(begin)
	if found := tree.Len(); found != n {
		return 0, fmt.Errorf("start: %d objects were decoded, expected %d", found, n)
	}
	return took, nil
}

// startMemory starts the store with frequent collections and returns the peak of the live heap, as each collection
// found it, and the live heap at the end, both without what was live before.
func startMemory(dir string) (peak, final float64, err error) {
	before := heap()
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	stop := background(func(int) error {
		metrics.Read(sample)
		peak = max(peak, float64(sample[0].Value.Uint64())-before)
		time.Sleep(time.Millisecond)
		return nil
	})
	store, err := durableStore(dir)
	if stopped := stop(); err == nil {
		err = stopped
	}
	if err != nil {
		return 0, 0, err
	}
	final = heap() - before
	store.Close()
	return max(peak, final), final, nil
}
