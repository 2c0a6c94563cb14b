package oolith_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"

	"github.com/oolith-db/oolith"
	"github.com/oolith-db/oolith/storage"
)

// Open, write, read: the whole of a small program. With "pebble:./data" in place of
// "memory:" the cities are there the next time.
func Example() {
	store, err := oolith.Open("memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	for _, name := range []string{"Lisbon", "Porto", "Braga"} {
		data := json.RawMessage(fmt.Sprintf(`{"name":%q}`, name))
		if _, err := store.Push("cities/pt/*", data); err != nil {
			log.Fatal(err)
		}
	}
	newest, err := store.GetN("cities/pt/*", 2)
	if err != nil {
		log.Fatal(err)
	}
	for _, city := range newest {
		fmt.Println(string(city.Data))
	}
	// Output:
	// {"name":"Braga"}
	// {"name":"Porto"}
}

// What is absent is an error that errors.Is knows.
func Example_errors() {
	store, err := oolith.Open("memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	_, err = store.Get("cities/pt/lisbon")
	fmt.Println(errors.Is(err, storage.ErrNotFound))
	_, err = store.Set("cities/pt/lisbon", json.RawMessage(`{"name":`))
	fmt.Println(errors.Is(err, storage.ErrInvalidStorageData))
	// Output:
	// true
	// true
}

// A watch sees each change in the order in which the store took it.
func ExampleOpen_watch() {
	store, err := oolith.Open("memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	seen := make(chan string)
	stop := store.Watch(func(event storage.Event) { seen <- event.Operation + " " + event.Key })
	defer stop()

	if _, err := store.Set("cities/lisbon", json.RawMessage(`{}`)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-seen)
	if err := store.Del("cities/*"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-seen)
	// Output:
	// set cities/lisbon
	// del cities/*
}

// Options are given at once; each hook runs after its write, with no lock held.
func ExampleOpen_options() {
	store, err := oolith.OpenWith("memory:", storage.Options{
		AfterWrite: func(key string) { fmt.Println("written", key) },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	if _, err := store.Set("cities/lisbon", json.RawMessage(`{}`)); err != nil {
		log.Fatal(err)
	}
	// Output:
	// written cities/lisbon
}
