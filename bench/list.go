package main

import (
	"fmt"
	"runtime"

	"github.com/oolith-db/oolith/storage"
)

const (
	shortList = 1000
	listLimit = 100
)

// lists are two stores: one with only a short list, and one with a long list, and a short one among unrelated
// objects.
type lists struct{ short, long *storage.Layered }

func newLists(c config) (l lists, err error) {
	if l.short, err = memoryStore(0); err != nil {
		return l, err
	}
	if l.long, err = memoryStore(c.objects); err != nil {
		return l, err
	}
	for i := range shortList {
		for _, store := range []*storage.Layered{l.short, l.long} {
			if _, err := store.SetWithMeta(fmt.Sprintf("short/%04d", i), body(i), int64(i+1), 0); err != nil {
				return l, err
			}
		}
	}
	runtime.GC()
	return l, nil
}

func (l lists) close() {
	l.short.Close()
	l.long.Close()
}

// getN is a side that reads the newest of a list.
func getN(store *storage.Layered, pattern string) side {
	return func(n int) error {
		for range n {
			objects, err := store.GetN(pattern, listLimit)
			if err != nil {
				return err
			}
			if len(objects) != listLimit {
				return fmt.Errorf("GetN(%q, %d): got %d objects", pattern, listLimit, len(objects))
			}
		}
		return nil
	}
}

// listRows compares GetN in a long list with the same in a short one.
func listRows(c config) ([]row, error) {
	l, err := newLists(c)
	if err != nil {
		return nil, err
	}
	defer l.close()
	result, err := contest(c, getN(l.long, "places/*"), getN(l.long, "short/*"), getN(l.short, "short/*"), getN(l.long, "*/*"))
	if err != nil {
		return nil, err
	}
	all := fmt.Sprintf("GetN(100) in %d", c.objects)
	return []row{
		compared(all+" / in 1000", "ns", result[0], result[2], ratioAtMost(3)),
		row{Name: all, Unit: "ns", Ours: median(result[0]), Goal: oursAtMost(50_000)}.judged(),
		compared("GetN(100) in 1000 / without unrelated keys", "ns", result[1], result[2], ratioAtMost(1.25)),
		row{Name: "GetN(100) of */*, two directories", Unit: "ns", Ours: median(result[3]), Goal: oursAtMost(50_000)}.judged(),
	}, nil
}
