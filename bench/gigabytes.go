package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// The newest objects of a list in a heap of several gigabytes, for a caller whose list nobody has read for a long
// time.

const (
	largeLists = 100  // at most
	largeData  = 4096 // bytes of an object
)

// firstRead is a read of a list that nobody read before.
type firstRead struct {
	store   *storage.Layered
	pattern string
	took    *[]float64
}

// gigabyteRows compares the first reads of lists, and later ones, in a large store with those in stores of 1,000.
func gigabyteRows(c config) ([]row, error) {
	lists := min(largeLists, c.objects/(2*listLimit))
	large, err := largeStore(c.objects, lists)
	if err != nil {
		return nil, err
	}
	defer large.Close()
	used := heap()
	var first, firstSmall []float64
	var small *storage.Layered
	for i := range lists {
		if small != nil {
			small.Close()
		}
		if small, err = smallStore(); err != nil {
			return nil, err
		}
		runtime.GC() // what was written last is no longer in a cache
		reads := []firstRead{{large, largeList(i) + "/*", &first}, {small, "short/*", &firstSmall}}
		if i%2 == 1 {
			slices.Reverse(reads) // the first allocation after a collection pays for more than itself
		}
		for _, read := range reads {
			begin := time.Now()
			if err := getN(read.store, read.pattern)(1); err != nil {
				return nil, err
			}
			*read.took = append(*read.took, float64(time.Since(begin).Nanoseconds()))
		}
	}
	defer small.Close()
	next := 0
	anywhere := func(n int) error {
		for range n {
			next = (next + 37) % lists
			if err := getN(large, largeList(next)+"/*")(1); err != nil {
				return err
			}
		}
		return nil
	}
	later, err := contest(c, anywhere, getN(small, "short/*"))
	if err != nil {
		return nil, err
	}
	return []row{
		{Name: "live heap of the large store", Unit: "MB", Ours: used / 1e6},
		compared("GetN(100), first read of a list / in 1000", "ns", first, firstSmall, ratioAtMost(3)),
		compared("GetN(100), later reads, lists in turn / in 1000", "ns", later[0], later[1], ratioAtMost(3)),
	}, nil
}

func largeList(i int) string { return fmt.Sprintf("large/%02d", i) }

// largeStore returns a store of n objects of four kilobytes in some lists, written in turn.
func largeStore(n, lists int) (*storage.Layered, error) {
	store, err := memoryStore(0)
	if err != nil {
		return nil, err
	}
	data := json.RawMessage(`{"text":"` + strings.Repeat("x", largeData-11) + `"}`)
	for i := range n {
		if _, err := store.SetWithMeta(fmt.Sprintf("%s/%07d", largeList(i%lists), i), data, int64(i+1), 0); err != nil {
			store.Close()
			return nil, err
		}
	}
	return store, nil
}

func smallStore() (*storage.Layered, error) {
	store, err := memoryStore(0)
	if err != nil {
		return nil, err
	}
	data := json.RawMessage(`{"text":"` + strings.Repeat("x", largeData-11) + `"}`)
	for i := range shortList {
		if _, err := store.SetWithMeta(fmt.Sprintf("short/%04d", i), data, int64(i+1), 0); err != nil {
			store.Close()
			return nil, err
		}
	}
	return store, nil
}
