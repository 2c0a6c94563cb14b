package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/puzpuzpuz/xsync/v4"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// dataSize is the length of an object's data in bytes.
const dataSize = 150

// body makes the data of the i-th object.
func body(i int) json.RawMessage {
	head := fmt.Sprintf(`{"id":%d,"name":"place %d","lat":%.5f,"lon":%.5f,"text":"`,
		i, i, float64(i%18000)/100-90, float64(i%36000)/100-180)
	return json.RawMessage(head + strings.Repeat("x", dataSize-len(head)-2) + `"}`)
}

// bodies are data to write repeatedly, made in advance.
func bodies() []json.RawMessage {
	made := make([]json.RawMessage, 1024)
	for i := range made {
		made[i] = body(i)
	}
	return made
}

// path returns the path of the i-th object.
func path(i int) string { return fmt.Sprintf("places/%016x", i) }

// lookups returns the paths of n objects in random order. They lie in memory in this order, because a caller's path
// is in the cache when it is looked up. They are not the strings that the store keeps, because a caller's paths are
// not either.
func lookups(n int) []string {
	order := rand.New(rand.NewPCG(1, 2)).Perm(n)
	paths := make([]string, n)
	for i, at := range order {
		paths[i] = path(at)
	}
	return paths
}

// memoryStore returns a started store in memory that holds n objects.
func memoryStore(n int) (*storage.Layered, error) {
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
	if err := store.Start(storage.Options{}); err != nil {
		return nil, err
	}
	return store, fill(store, n)
}

func fill(store *storage.Layered, n int) error {
	for i := range n {
		if _, err := store.SetWithMeta(path(i), body(i), int64(i+1), 0); err != nil {
			return err
		}
	}
	return nil
}

// bareMap is the concurrent map that the store is measured against, with the same objects.
type bareMap = *xsync.Map[string, *meta.Object]

func filledMap(n int) bareMap {
	m := xsync.NewMap[string, *meta.Object]()
	for i := range n {
		obj := object(i)
		m.Store(obj.Path, obj)
	}
	return m
}

// object returns the i-th object as the store keeps it.
func object(i int) *meta.Object {
	p := path(i)
	return &meta.Object{
		Created: int64(i + 1), Path: p, Index: p[strings.LastIndexByte(p, '/')+1:],
		Data: body(i), Revision: uint64(i + 1),
	}
}
