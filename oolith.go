// Package oolith is an embeddable, real-time JSON store. Programs read objects from memory, write them durably, and
// watch them change.
//
//	store, err := oolith.Open("pebble:./data", pebble.Engine)
//	if err != nil {
//		return err
//	}
//	defer store.Close()
//
//	stop := store.Watch(func(event storage.Event) {
//		fmt.Println(event.Operation, event.Key)
//	})
//	defer stop()
//
//	index, err := store.Push("cities/*", json.RawMessage(`{"name":"Lisbon"}`))
//	newest, err := store.GetN("cities/*", 10)
//
// # Concepts
//
// An object (package meta) is a JSON value with its path, the times of its creation and last change, and a revision:
// the position of its last change in the store's commit order. A path (package key) consists of segments, such as
// cities/pt/lisbon. A pattern contains *: cities/pt/* is a list, and so is cities/*/lisbon.
//
// A store (type Layered of package storage) has two layers. Memory answers reads: a lookup takes no lock, and the
// newest hundred objects of a million cost the same as of a thousand. The persistent layer (the packages in engine)
// makes writes durable: a write returns once it is on disk, complete. Every change passes through one queue, so both
// layers and all watchers see the same order.
//
// Open creates both layers from a URL and starts the store. The caller imports and passes the engine, such as
// pebble.Engine of package engine/pebble; "memory:" needs none. For more control, create the layers with package
// engine or directly, and call storage.New and Start.
package oolith

import (
	"fmt"

	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/storage"
)

// Open starts the store at a URL with one of the engines; see package engine for the forms of URLs. With
// "pebble:./data" and pebble.Engine the objects are in the directory ./data, which Open creates if it does not exist.
// With "memory:", which needs no engine, Close discards them. The caller must close the store.
func Open(url string, engines ...engine.Engine) (*storage.Layered, error) {
	return OpenWith(url, storage.Options{}, engines...)
}

// OpenWith is Open with options for the store.
func OpenWith(url string, options storage.Options, engines ...engine.Engine) (*storage.Layered, error) {
	config, err := engine.Config(url, engines...)
	if err != nil {
		return nil, fmt.Errorf("oolith: %w", err)
	}
	store := storage.New(config)
	if err := store.Start(options); err != nil {
		return nil, fmt.Errorf("oolith: open %s: %w", url, err)
	}
	return store, nil
}
