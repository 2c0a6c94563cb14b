// Quickstart: open a durable store, watch it, write and read.
package main

import (
	"fmt"
	"log"

	"github.com/oolith-db/oolith"
	"github.com/oolith-db/oolith/engine/pebble"
	"github.com/oolith-db/oolith/storage"
)

func main() {
	store, err := oolith.Open("pebble:./oolith-data", pebble.Engine)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	store.Watch(func(e storage.Event) { fmt.Println("watched:", e.Operation, e.Key) })

	if _, err := store.Push("readings/*", []byte(`{"sensor":"roof","celsius":21.5}`)); err != nil {
		log.Fatal(err)
	}
	newest, err := store.GetN("readings/*", 5)
	if err != nil {
		log.Fatal(err)
	}
	for _, reading := range newest {
		fmt.Println(reading.Index, string(reading.Data))
	}
}
