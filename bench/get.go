package main

import (
	"bytes"
	"fmt"
	"runtime"
	"time"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// hotKeys is the number of keys that the hot reads use in turn: their objects fit into a cache.
const hotKeys = 1000

// getRows compares Get with a bare look-up in a concurrent map of the same kind.
func getRows(c config) ([]row, error) {
	store, err := memoryStore(c.objects)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	bare := filledMap(c.objects)
	cold := lookups(c.objects)
	hot := cold[:hotKeys]
	runtime.GC()

	var rows []row
	for _, contest := range []struct {
		name           string
		ours, baseline side
		goal           *goal
	}{
		{"Get, cold keys / xsync.Map", reads(storeGet(store), cold), reads(mapLoad(bare), cold), ratioAtMost(1.5)},
		{"Get, hot keys / xsync.Map", reads(storeGet(store), hot), reads(mapLoad(bare), hot), ratioAtMost(1.5)},
		{"Get, cold keys / xsync.Map + copy of object", reads(storeGet(store), cold), reads(mapCopy(bare), cold), nil},
		{"Get, hot keys / xsync.Map + copy of object", reads(storeGet(store), hot), reads(mapCopy(bare), hot), nil},
	} {
		r, err := versus(c, contest.name, contest.ours, contest.baseline, contest.goal)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	allocations, err := allocationsOf(reads(storeGet(store), cold), c.objects)
	if err != nil {
		return nil, err
	}
	rows = append(rows, row{Name: "Get, allocations", Unit: "allocs", Ours: allocations, Goal: oursAtMost(0)}.judged())

	for _, more := range []func() ([]row, error){
		func() ([]row, error) { return scalingRows(c, store, bare, cold) },
		func() ([]row, error) { return besideWriterRows(c, store, bare, cold) },
	} {
		added, err := more()
		if err != nil {
			return nil, err
		}
		rows = append(rows, added...)
	}
	return rows, nil
}

// read looks a path up.
type read func(path string) error

func storeGet(store *storage.Layered) read {
	return func(path string) error {
		_, err := store.Get(path)
		return err
	}
}

func mapLoad(m bareMap) read {
	return func(path string) error {
		if _, ok := m.Load(path); !ok {
			return absent(path)
		}
		return nil
	}
}

// mapCopy reads as much as a Get that returns an object by value must.
func mapCopy(m bareMap) read {
	return func(path string) error {
		obj, ok := m.Load(path)
		if !ok {
			return absent(path)
		}
		if copied := *obj; copied.Created == 0 {
			return absent(path)
		}
		return nil
	}
}

func absent(path string) error { return fmt.Errorf("%s: expected an object, found none", path) }

// reads is a side that looks up paths one by one, and continues where it stopped.
func reads(r read, paths []string) side {
	at := 0
	return func(n int) error {
		for range n {
			if err := r(paths[at]); err != nil {
				return err
			}
			if at++; at == len(paths) {
				at = 0
			}
		}
		return nil
	}
}

// readsWith is reads with several goroutines, each with its part of the paths: n operations in total.
func readsWith(readers int, r read, paths []string) side {
	parts := make([]side, readers)
	for i := range parts {
		parts[i] = reads(r, paths[i*len(paths)/readers:(i+1)*len(paths)/readers])
	}
	return func(n int) error {
		return parallel(readers, readers, func(_, i int) error { return parts[i](max(1, n/readers)) })
	}
}

// scalingRows compares how much faster many readers are than one.
func scalingRows(c config, store *storage.Layered, bare bareMap, paths []string) ([]row, error) {
	readers := max(2, runtime.GOMAXPROCS(0))
	result, err := contestOfMany(c,
		readsWith(1, storeGet(store), paths), readsWith(readers, storeGet(store), paths),
		readsWith(1, mapLoad(bare), paths), readsWith(readers, mapLoad(bare), paths))
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("Get, speed-up by %d readers / xsync.Map's", readers)
	ours, theirs := ratios(result[0], result[1]), ratios(result[2], result[3])
	return []row{compared(name, "x", ours, theirs, ratioAtLeast(0.9))}, nil
}

// besideWriterRows compares reads during writes with reads alone. One core is left to the writer if there are
// several.
func besideWriterRows(c config, store *storage.Layered, bare bareMap, paths []string) ([]row, error) {
	data := bodies()
	setOurs := func(i int) error {
		_, err := store.Set(paths[i*7919%len(paths)], data[i%len(data)])
		return err
	}
	setBare := func(i int) error {
		p := paths[i*7919%len(paths)]
		old, _ := bare.Load(p)
		bare.Store(old.Path, &meta.Object{
			Created: old.Created, Path: old.Path, Index: old.Index, Data: bytes.Clone(data[i%len(data)]),
		})
		return nil
	}
	readers := max(1, runtime.GOMAXPROCS(0)-1)
	ours, theirs := readsWith(readers, storeGet(store), paths), readsWith(readers, mapLoad(bare), paths)
	result, err := contestOfMany(c,
		ours, beside(ours, paced(setOurs)), beside(ours, setOurs),
		theirs, beside(theirs, paced(setBare)), beside(theirs, setBare))
	if err != nil {
		return nil, err
	}
	return []row{
		compared("Get beside 10,000 sets a second / alone", "ns", result[1], result[0], ratioAtMost(1.1)),
		compared("Get, slowed by 10,000 sets/s / xsync.Map's", "x", ratios(result[1], result[0]), ratios(result[4], result[3]), nil),
		compared("Get, slowed by a writer at full speed / xsync's", "x", ratios(result[2], result[0]), ratios(result[5], result[3]), ratioAtMost(1.1)),
	}, nil
}

// beside is a side with a loop in the background.
func beside(s side, step func(i int) error) side {
	return func(n int) error {
		stop := background(step)
		err := s(n)
		if stopped := stop(); err == nil {
			err = stopped
		}
		return err
	}
}

// paced limits a loop to 10,000 steps a second.
func paced(step func(i int) error) func(i int) error {
	return func(i int) error {
		if i%10 == 0 {
			time.Sleep(time.Millisecond)
		}
		return step(i)
	}
}

// allocationsOf returns the allocations of an operation, on all goroutines.
func allocationsOf(s side, n int) (float64, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := s(n); err != nil {
		return 0, err
	}
	runtime.ReadMemStats(&after)
	// The runtime's own few allocations are not part of an operation.
	return float64((after.Mallocs - before.Mallocs) / uint64(n)), nil
}
