package storage_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// openExample returns a started store in memory.
func openExample() *storage.Layered {
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
	if err := store.Start(storage.Options{}); err != nil {
		log.Fatal(err)
	}
	return store
}

// One of many workers does a job at a time. When it is stuck or gone, another one takes over
// after ten seconds; while it works, it renews its lease.
func ExampleLayered_Acquire() {
	store := openExample()
	defer store.Close()

	lease, err := store.Acquire(context.Background(), "jobs/report", 10*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	for page := range 3 {
		if err := lease.Renew(10 * time.Second); errors.Is(err, storage.ErrLeaseLost) {
			log.Fatal("another worker has the job")
		}
		if _, err := store.Set("jobs/report", fmt.Appendf(nil, `{"page":%d}`, page)); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("unlocked by another:", store.Unlock("jobs/report"))
	fmt.Println("released by its owner:", lease.Release())
	fmt.Println("released again:", lease.Release())
	// Output:
	// unlocked by another: unlock "jobs/report": storage: a lease holds the lock, only its owner can release it
	// released by its owner: <nil>
	// released again: release "jobs/report": storage: the lease has ended, it was released
}

// A worker that lost its lease without noticing is kept out by its token: what it writes to
// refuses a token that is smaller than one it has seen.
func ExampleLease_Token() {
	store := openExample()
	defer store.Close()

	var seen uint64
	printPage := func(text string, token uint64) {
		if token < seen {
			fmt.Println("refused:", text)
			return
		}
		seen = token
		fmt.Println("printed:", text)
	}

	slow, err := store.Acquire(context.Background(), "devices/printer", time.Millisecond)
	if err != nil {
		log.Fatal(err)
	}
	printPage("page 1 of the first job", slow.Token())
	// The worker is put aside here for longer than its lease lasts, and another one comes.
	next, err := store.Acquire(context.Background(), "devices/printer", time.Minute)
	if err != nil {
		log.Fatal(err)
	}
	printPage("page 1 of the second job", next.Token())
	printPage("page 2 of the first job", slow.Token())
	// Output:
	// printed: page 1 of the first job
	// printed: page 1 of the second job
	// refused: page 2 of the first job
}
