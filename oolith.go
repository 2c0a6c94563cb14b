// Package oolith is a layered, real-time JSON store to build into a program: objects at
// paths, read from memory, written through to disk, watched as they change.
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
// # The tour
//
// An object (package meta) is one JSON value with its path, the times of its creation and
// last change, and its revision, the place of that change in the store's one order of
// changes. A path (package key) is made of segments, cities/pt/lisbon, and a pattern is a
// path with *: cities/pt/* is a list, and so is cities/*/lisbon.
//
// A store (package storage, type Layered) has two layers. Memory answers the reads: a
// look-up takes no lock, the newest hundred of a million cost what the newest hundred of
// a thousand cost. The persistent layer (packages below engine) makes writes durable: one
// is acknowledged after it is on the disk, whole. Every change passes through one
// queue, so that both layers, and everyone who watches, see the same order.
//
// Open makes both from a URL and starts the store. The engine comes by import, as pebble.Engine of
// package engine/pebble: a program has what it names, and "memory:" needs none. For more say, make the
// layers with package engine or by hand, and call storage.New and Start.
package oolith

import (
	"fmt"

	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/storage"
)

// Open starts the store that a URL names, by one of the engines; see package engine for the forms. With
// "pebble:./data" and pebble.Engine objects are kept in the directory ./data, which is made where it is missing;
// with "memory:", which needs no engine, they are gone when the store is closed. The caller closes the store.
func Open(url string, engines ...engine.Engine) (*storage.Layered, error) {
	return OpenWith(url, storage.Options{}, engines...)
}

// OpenWith is Open with options of the store.
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
