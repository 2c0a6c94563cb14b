// Counter: many goroutines add to one number, and no addition is lost.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"sync"
	"sync/atomic"

	"github.com/oolith-db/oolith"
	"github.com/oolith-db/oolith/meta"
)

func main() {
	if err := run(os.Stdout, 16, 500); err != nil {
		log.Fatal(err)
	}
}

func run(out io.Writer, goroutines, additions int) error {
	store, err := oolith.Open("memory:")
	if err != nil {
		return err
	}
	defer store.Close()

	// Update calls add with the present object, and again with the newer one if another goroutine changed it in the
	// meantime. No lock is held.
	var calls atomic.Int64
	add := func(old meta.Object) (json.RawMessage, error) {
		calls.Add(1)
		count := 0
		if old.Data != nil { // nil if there is no object yet
			if err := json.Unmarshal(old.Data, &count); err != nil {
				return nil, err
			}
		}
		return json.Marshal(count + 1)
	}
	failures := make([]error, goroutines)
	var adding sync.WaitGroup
	for i := range goroutines {
		adding.Go(func() {
			for range additions {
				if _, err := store.Update("counters/visits", add); err != nil {
					failures[i] = err
					return
				}
			}
		})
	}
	adding.Wait()
	if err := errors.Join(failures...); err != nil {
		return err
	}
	counter, err := store.Get("counters/visits")
	if err != nil {
		return err
	}
	conflicts := calls.Load() - int64(goroutines*additions)
	_, err = fmt.Fprintf(out, "%d goroutines counted to %s; %d times one was faster than another\n", goroutines, counter.Data, conflicts)
	return err
}
