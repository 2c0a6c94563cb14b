package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/oolith-db/oolith/internal/jsonvalid"
	"github.com/oolith-db/oolith/storage"
)

// The store compared with the references, with drained events: the usual use.

// The ways to take the events of a store.
const (
	byChannels = "channels" // six goroutines drain WatchSharded
	byWatch    = "Watch"
)

// drained returns a store in memory, with n objects, whose events are taken in the given way; taken runs at each
// event.
func drained(n int, way string, taken func()) (*storage.Layered, error) {
	store, err := memoryStore(n)
	if err != nil {
		return nil, err
	}
	switch way {
	case byWatch:
		store.Watch(func(storage.Event) { taken() })
	case byChannels:
		channels := store.WatchSharded()
		for i := range channels.Count() {
			go func() {
				for range channels.Shard(i) {
					taken()
				}
			}()
		}
	}
	return store, nil
}

func nothing() {}

// setter writes, and reads, what rows compare.
type setter func(path string, data json.RawMessage) error

// writesOf is a side on which some goroutines overwrite paths. readsOfTen of ten calls are reads. Each goroutine does its
// share of the calls and shares nothing with the others. A common counter would be an atomic instruction in each call,
// before which a processor completes all earlier reads.
func writesOf(goroutines int, set setter, get read, readsOfTen int, paths []string) side {
	data := bodies()
	begins := make([]int, goroutines)
	for g := range begins {
		begins[g] = g * len(paths) / goroutines
	}
	share := func(g, calls int) error {
		at := begins[g]
		defer func() { begins[g] = at }()
		for i := range calls {
			path := paths[at]
			if at++; at == len(paths) {
				at = 0
			}
			var err error
			if i%10 < readsOfTen {
				err = get(path)
			} else {
				err = set(path, data[i%len(data)])
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return func(n int) error {
		return parallel(goroutines, goroutines, func(_, g int) error { return share(g, max(1, n/goroutines)) })
	}
}

func referenceRows(c config) (rows []row, err error) {
	// One after the other, so none is measured in a heap with the stores of another.
	for _, some := range []func(config) ([]row, error){callRows, untilTakenRows, quietSetRows, collectionRows} {
		added, err := some(c)
		if err != nil {
			return nil, err
		}
		rows = append(rows, added...)
		debug.FreeOSMemory()
	}
	return rows, nil
}

// callRows measures calls on stores of the same content whose events are drained.
func callRows(c config) (rows []row, err error) {
	strict, plain := newReference(true, true), newReference(false, true)
	defer strict.close()
	defer plain.close()
	strict.fill(c.objects)
	plain.fill(c.objects)
	random := lookups(c.objects)
	hot := random[:hotKeys]

	add := func(name string, ours, baseline side, g *goal) {
		if err != nil {
			return
		}
		var result [][]float64
		if result, err = contestOfMany(c, ours, baseline); err == nil {
			rows = append(rows, compared(name, "ns", result[0], result[1], g))
		}
	}
	for _, way := range []string{byChannels, byWatch} {
		store, err := drained(c.objects, way, nothing)
		if err != nil {
			return nil, err
		}
		set, get := storeSet(store), storeGet(store)
		for _, writers := range []int{1, 8} {
			goals := map[int][2]float64{1: {1.0, 1.4}, 8: {1.0, 1.3}}[writers]
			name := fmt.Sprintf("Set, hot, drained by %s, %d writers / ", way, writers)
			ours := writesOf(writers, set, get, 0, hot)
			add(name+"strict reference", ours, writesOf(writers, strict.set, strict.get, 0, hot), ratioAtMost(goals[0]))
			add(name+"plain reference", ours, writesOf(writers, plain.set, plain.get, 0, hot), ratioAtMost(goals[1]))
			if way == byChannels {
				add(fmt.Sprintf("Set, random, drained by %s, %d writers / plain reference", way, writers),
					writesOf(writers, set, get, 0, random), writesOf(writers, plain.set, plain.get, 0, random), ratioAtMost(1.0))
			}
		}
		if way == byChannels {
			for name, paths := range map[string][]string{"hot": hot, "random": random} {
				mix := fmt.Sprintf("90/10, %s, 8 goroutines / ", name)
				ours := writesOf(8, set, get, 9, paths)
				add(mix+"strict reference", ours, writesOf(8, strict.set, strict.get, 9, paths), ratioAtMost(1.0))
				add(mix+"plain reference", ours, writesOf(8, plain.set, plain.get, 9, paths), ratioAtMost(1.0))
				for _, readers := range []int{1, 8} {
					goal := map[string]float64{"hot": 0.5, "random": 0.95}[name]
					add(fmt.Sprintf("Get, %s, %d goroutines / plain reference", name, readers),
						writesOf(readers, set, get, 10, paths), writesOf(readers, plain.set, plain.get, 10, paths), ratioAtMost(goal))
				}
			}
			add("newest 100 of a list / plain reference", getN(store, "places/*"), plain.newest("places/*", 100), ratioAtMost(1.0))
			push := func(pattern string, data json.RawMessage) error { _, err := store.Push(pattern, data); return err }
			lists := []string{"pushed/a/*", "pushed/b/*", "pushed/c/*"}
			add("Push / strict reference", writesOf(1, push, get, 0, lists), writesOf(1, strict.push, strict.get, 0, lists), ratioAtMost(1.0))
		}
		store.Close()
	}
	return rows, err
}

// untilTakenRows measures a write from its call until its event was taken.
func untilTakenRows(c config) (rows []row, err error) {
	hot := lookups(hotKeys)
	for _, way := range []string{byChannels, byWatch} {
		oursTaken, theirsTaken := make(chan struct{}), make(chan struct{})
		store, err := drained(hotKeys, way, func() { oursTaken <- struct{}{} })
		if err != nil {
			return nil, err
		}
		strict := newReference(true, false)
		strict.fill(hotKeys)
		for range referenceShards {
			ch := make(chan event, referenceBuffer)
			strict.channels = append(strict.channels, ch)
			strict.drained.Go(func() {
				for range ch {
					theirsTaken <- struct{}{}
				}
			})
		}
		acknowledged := func(set setter, taken <-chan struct{}) setter {
			return func(path string, data json.RawMessage) error {
				err := set(path, data)
				<-taken
				return err
			}
		}
		result, err := contestOfMany(c,
			writesOf(1, acknowledged(storeSet(store), oursTaken), nil, 0, hot),
			writesOf(1, acknowledged(strict.set, theirsTaken), nil, 0, hot))
		strict.close()
		store.Close()
		if err != nil {
			return nil, err
		}
		rows = append(rows, compared("Set until its event was taken, by "+way+" / strict reference", "ns", result[0], result[1], ratioAtMost(1.0)))
	}
	return rows, nil
}

// quietSetRows measures a write that nobody watches, beside the check of its JSON.
func quietSetRows(c config) ([]row, error) {
	store, err := memoryStore(hotKeys)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	data, hot := bodies(), lookups(hotKeys)
	ours := sets(storeSet(store), hot)
	check := func(n int) error {
		for i := range n {
			if !jsonvalid.Valid(data[i%len(data)]) {
				return fmt.Errorf("data %d is no JSON", i)
			}
		}
		return nil
	}
	result, err := contest(c, ours, check)
	if err != nil {
		return nil, err
	}
	allocations, err := allocationsOf(ours, 100_000)
	if err != nil {
		return nil, err
	}
	bytes, err := bytesOf(ours, 100_000)
	if err != nil {
		return nil, err
	}
	return []row{
		compared("Set, hot, unwatched / the check of its JSON", "ns", result[0], result[1], ratioAtMost(400.0/150)),
		row{Name: "Set, unwatched, allocations", Unit: "allocs", Ours: allocations, Goal: oursAtMost(2)}.judged(),
		row{Name: "Set, unwatched, memory", Unit: "B", Ours: bytes, Goal: oursAtMost(240)}.judged(),
	}, nil
}

// bytesOf returns the memory that an operation allocates, in bytes.
func bytesOf(s side, n int) (float64, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := s(n); err != nil {
		return 0, err
	}
	runtime.ReadMemStats(&after)
	return float64(after.TotalAlloc-before.TotalAlloc) / float64(n), nil
}

// collectionRows measures a full garbage collection of each.
func collectionRows(c config) ([]row, error) {
	times := func(keep any) (ns []float64) {
		for range c.rounds {
			begin := time.Now()
			runtime.GC()
			ns = append(ns, float64(time.Since(begin)))
		}
		runtime.KeepAlive(keep)
		return ns
	}
	store, err := memoryStore(c.objects)
	if err != nil {
		return nil, err
	}
	ours := times(store)
	store.Close()
	store = nil
	plain := newReference(false, false)
	plain.fill(c.objects)
	return []row{compared("a full collection / plain reference", "ns", ours, times(plain), ratioAtMost(0.4))}, nil
}
