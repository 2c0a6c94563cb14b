package main

import (
	"encoding/json"
	"errors"
	"runtime"
	"strconv"
	"sync"

	"github.com/tidwall/buntdb"

	"github.com/oolith-db/oolith/meta"
)

// peerRows compares the store with other ways to keep JSON in memory.
func peerRows(c config) (rows []row, err error) {
	store, _, err := watched(c.objects)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	std := new(sync.Map)
	locked := newLockedMap(c.objects)
	for i := range c.objects {
		obj := object(i)
		std.Store(obj.Path, obj)
	}
	// An overwrite in buntdb moves the object in its indexes; the store has no index in which an overwrite moves an
	// object.
	bunt, err := newBunt(c.objects, false)
	if err != nil {
		return nil, err
	}
	ordered, err := newBunt(c.objects, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bunt.Close(), ordered.Close()) }()
	paths := lookups(c.objects)
	runtime.GC()

	c.cpu = false // several goroutines
	readers := max(2, runtime.GOMAXPROCS(0))
	get := func(r read) side { return readsWith(readers, r, paths) }
	for _, contest := range []struct {
		name           string
		ours, baseline side
	}{
		{"Get, parallel / map+RWMutex", get(storeGet(store)), get(locked.get)},
		{"Get, parallel / sync.Map", get(storeGet(store)), get(func(path string) error {
			if found, ok := std.Load(path); !ok || found.(*meta.Object).Created == 0 {
				return absent(path)
			}
			return nil
		})},
		{"Get, parallel / buntdb", get(storeGet(store)), get(func(path string) error {
			return bunt.View(func(tx *buntdb.Tx) error {
				_, err := tx.Get(path)
				return err
			})
		})},
		{"Set, events on / buntdb in memory, no events", sets(storeSet(store), paths), sets(buntSet(bunt), paths)},
		{"GetN(100) / buntdb, index by time", getN(store, "places/*"), buntNewest(ordered)},
	} {
		r, err := versus(c, contest.name, contest.ours, contest.baseline, nil)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func (m *lockedMap) get(path string) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if _, ok := m.data[path]; !ok {
		return absent(path)
	}
	return nil
}

// byID is an index of buntdb by the field of the data that ascends with the creation.
const byID = "byID"

func newBunt(n int, indexed bool) (*buntdb.DB, error) {
	db, err := buntdb.Open(":memory:")
	if err != nil {
		return nil, err
	}
	if indexed {
		if err := db.CreateIndex(byID, "places/*", buntdb.IndexJSON("id")); err != nil {
			return nil, err
		}
	}
	return db, db.Update(func(tx *buntdb.Tx) error {
		for i := range n {
			if _, _, err := tx.Set(path(i), string(body(i)), nil); err != nil {
				return err
			}
		}
		return nil
	})
}

func buntSet(db *buntdb.DB) func(string, json.RawMessage) error {
	return func(path string, data json.RawMessage) error {
		return db.Update(func(tx *buntdb.Tx) error {
			_, _, err := tx.Set(path, string(data), nil)
			return err
		})
	}
}

func buntNewest(db *buntdb.DB) side {
	return func(n int) error {
		for range n {
			values := make([]string, 0, listLimit)
			err := db.View(func(tx *buntdb.Tx) error {
				return tx.Descend(byID, func(_, value string) bool {
					values = append(values, value)
					return len(values) < listLimit
				})
			})
			if err != nil {
				return err
			}
			if len(values) != listLimit {
				return absent("the newest " + strconv.Itoa(listLimit))
			}
		}
		return nil
	}
}
