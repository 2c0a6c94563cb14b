package patch_test

import (
	"errors"
	"fmt"
	"log"

	"github.com/oolith-db/oolith"
	"github.com/oolith-db/oolith/patch"
)

// A merge patch is a piece of the object: what it names changes, and null removes.
func ExampleMerge() {
	store, err := oolith.Open("memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	if _, err := store.Set("cities/lisbon", []byte(`{"trams":58,"bridges":{"red":1},"mayor":"?"}`)); err != nil {
		log.Fatal(err)
	}
	obj, err := patch.Merge(store, "cities/lisbon", []byte(`{"trams":57,"bridges":{"long":1},"mayor":null}`))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(obj.Data))
	// Output:
	// {"trams":57,"bridges":{"red":1,"long":1}}
}

// A JSON Patch can test what it builds on, and reaches into arrays.
func ExampleApply() {
	store, err := oolith.Open("memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	if _, err := store.Set("cities/lisbon", []byte(`{"lines":["12E","15E"]}`)); err != nil {
		log.Fatal(err)
	}
	change := []byte(`[
		{"op":"test","path":"/lines/1","value":"15E"},
		{"op":"add","path":"/lines/1","value":"28E"}
	]`)
	obj, err := patch.Apply(store, "cities/lisbon", change)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(obj.Data))

	_, err = patch.Apply(store, "cities/lisbon", change)
	fmt.Println(errors.Is(err, patch.ErrTestFailed))
	fmt.Println(err)
	// Output:
	// {"lines":["12E","28E","15E"]}
	// true
	// update "cities/lisbon": patch: operation 0, test "/lines/1", does not apply: the test failed
}
