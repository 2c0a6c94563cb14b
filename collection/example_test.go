package collection_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/oolith-db/oolith"
	"github.com/oolith-db/oolith/collection"
	"github.com/oolith-db/oolith/storage"
)

// A list of a store as values of a type.
func Example() {
	store, err := oolith.Open("memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	type City struct {
		Name       string `json:"name"`
		Population int    `json:"population"`
	}
	cities, err := collection.New[City](store, "cities/*")
	if err != nil {
		log.Fatal(err)
	}
	if err := cities.Set("lisbon", City{"Lisbon", 545_796}); err != nil {
		log.Fatal(err)
	}
	if _, err := cities.Push(City{"Porto", 231_800}); err != nil {
		log.Fatal(err)
	}
	if _, err := cities.Update("lisbon", func(city *City) error {
		city.Population++
		return nil
	}); err != nil {
		log.Fatal(err)
	}
	for city, err := range cities.Iterate(storage.ListOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(city.Value.Name, city.Value.Population)
	}
	// Output:
	// Lisbon 545797
	// Porto 231800
}

// An object that does not fit is one error, and no end.
func ExampleCollection_Iterate() {
	store, err := oolith.Open("memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	for path, data := range map[string]string{"numbers/one": `1`, "numbers/two": `"two"`} {
		if _, err := store.Set(path, []byte(data)); err != nil {
			log.Fatal(err)
		}
	}
	numbers, err := collection.New[int](store, "numbers/*")
	if err != nil {
		log.Fatal(err)
	}
	for number, err := range numbers.Iterate(storage.ListOptions{}) {
		var misfit *collection.DecodeError
		switch {
		case errors.As(err, &misfit):
			fmt.Println(misfit)
		case err != nil:
			log.Fatal(err)
		default:
			fmt.Println(number.Index, number.Value)
		}
	}
	// Unordered output:
	// one 1
	// collection: object "numbers/two" does not fit int: json: cannot unmarshal string into Go value of type int
}

// A subscription tells what is there, and then every change.
func ExampleCollection_Subscribe() {
	store, err := oolith.Open("memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	numbers, err := collection.New[int](store, "numbers/*")
	if err != nil {
		log.Fatal(err)
	}
	if err := numbers.Set("one", 1); err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	subscription, err := numbers.Subscribe(ctx, storage.SubscribeOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer subscription.Close()
	if err := numbers.Del("one"); err != nil {
		log.Fatal(err)
	}
	for notice, err := range subscription.All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(notice.Kind, notice.Item.Index, notice.Item.Value)
		if notice.Kind == storage.NoticeDel {
			break
		}
	}
	// Output:
	// state one 1
	// live  0
	// del one 1
}
