package storage_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
)

// A client whose connection broke does not know whether its order was taken, and sends it again. The order and the record
// of its request are one commit: however often the request comes, there is one order, and each answer is the same.
func ExampleLayered_Commit_retried() {
	store := memory(storage.Options{})
	defer store.Close()

	// order takes an order once for each id of a request.
	order := func(request string, data json.RawMessage) (path string, err error) {
		record := "requests/" + request
		path = key.Build("orders/*") // what Push would do, known before the commit
		answer, err := json.Marshal(path)
		if err != nil {
			return "", err
		}
		var batch storage.Batch
		batch.SetWith(path, data, storage.SetOptions{IfAbsent: true})
		// Within a day a client has tried again, or never will.
		batch.SetWith(record, answer, storage.SetOptions{IfAbsent: true, TTL: 24 * time.Hour})
		_, err = store.Commit(&batch)
		var conflict *storage.ConflictError
		if errors.As(err, &conflict) && conflict.Path == record {
			earlier, err := store.Get(record)
			if err != nil {
				return "", err
			}
			err = json.Unmarshal(earlier.Data, &path)
			return path, err
		}
		return path, err
	}

	first, err := order("7f3a", json.RawMessage(`{"lamps":2}`))
	if err != nil {
		log.Fatal(err)
	}
	again, err := order("7f3a", json.RawMessage(`{"lamps":2}`))
	if err != nil {
		log.Fatal(err)
	}
	orders, err := store.Count("orders/*")
	fmt.Println("the same answer:", first == again)
	fmt.Println(orders, "order,", err)
	// Output:
	// the same answer: true
	// 1 order, <nil>
}
