package main

import (
	"encoding/json"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/oolith-db/oolith/storage"
)

// watched returns a store in memory with a Watch and a drained WatchSharded.
func watched(n int) (store *storage.Layered, seen *atomic.Int64, err error) {
	if store, err = memoryStore(n); err != nil {
		return nil, nil, err
	}
	seen = new(atomic.Int64)
	store.Watch(func(storage.Event) { seen.Add(1) })
	channels := store.WatchSharded()
	for i := range channels.Count() {
		go func() {
			for range channels.Shard(i) {
				seen.Add(1)
			}
		}()
	}
	return store, seen, nil
}

// sets is a side that overwrites paths one by one, and continues where it stopped.
func sets(set func(path string, data json.RawMessage) error, paths []string) side {
	at, data := 0, bodies()
	return func(n int) error {
		for range n {
			if err := set(paths[at], data[at%len(data)]); err != nil {
				return err
			}
			if at++; at == len(paths) {
				at = 0
			}
		}
		return nil
	}
}

func storeSet(store *storage.Layered) func(string, json.RawMessage) error {
	return func(path string, data json.RawMessage) error {
		_, err := store.Set(path, data)
		return err
	}
}

// lockedMap is the minimum that could replace the store: no order, no events.
type lockedMap struct {
	mu   sync.RWMutex
	data map[string]json.RawMessage // guarded by mu
}

func newLockedMap(n int) *lockedMap {
	m := &lockedMap{data: make(map[string]json.RawMessage)}
	for i := range n {
		m.data[path(i)] = body(i)
	}
	return m
}

func (m *lockedMap) set(path string, data json.RawMessage) error {
	copied := append(json.RawMessage(nil), data...)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.data[path] = copied
	return nil
}

// setRows measures Set of existing keys in memory, with events on and off.
func setRows(c config) ([]row, error) {
	loud, _, err := watched(c.objects)
	if err != nil {
		return nil, err
	}
	defer loud.Close()
	quiet, err := memoryStore(c.objects)
	if err != nil {
		return nil, err
	}
	defer quiet.Close()
	paths := lookups(c.objects)
	hot := paths[:hotKeys]
	plain := newLockedMap(c.objects)
	runtime.GC()

	result, err := contest(c,
		sets(storeSet(loud), paths), sets(storeSet(loud), hot),
		sets(storeSet(quiet), paths), sets(plain.set, paths))
	if err != nil {
		return nil, err
	}
	allocations, err := allocationsOf(sets(storeSet(loud), paths), c.objects)
	if err != nil {
		return nil, err
	}
	limit := oursAtMost(1500)
	cold := compared("Set, cold keys, events on / map+RWMutex", "ns", result[0], result[3], limit)
	warm := compared("Set, hot keys, events on / map+RWMutex", "ns", result[1], result[3], limit)
	return []row{
		cold, warm,
		compared("Set, cold keys, events off / map+RWMutex", "ns", result[2], result[3], nil),
		row{Name: "Set, events on, allocations", Unit: "allocs", Ours: allocations, Goal: oursAtMost(5)}.judged(),
	}, nil
}
