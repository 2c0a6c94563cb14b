package storage_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/oolith-db/oolith/storage"
)

func ExampleLayered_Subscribe() {
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
	if err := store.Start(storage.Options{}); err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	write := func(path, data string) {
		if _, err := store.Set(path, []byte(data)); err != nil {
			log.Fatal(err)
		}
	}
	write("devices/lamp", `{"on":false}`)

	ctx := context.Background()
	sub, err := store.Subscribe(ctx, "devices/*", storage.SubscribeOptions{})
	if err != nil {
		log.Fatal(err)
	}
	write("devices/lamp", `{"on":true}`)

	tell := func(sub *storage.Subscription, notices int) {
		for range notices {
			n, err := sub.Next(ctx)
			if err != nil {
				log.Fatal(err)
			}
			switch n.Kind {
			case storage.NoticeReset: // changes were missed: forget what is known
				fmt.Println("reset")
			case storage.NoticeState: // a part of what there is
				fmt.Println("state", n.Path, string(n.Object.Data))
			case storage.NoticeLive: // that was all; from here on it happens
				fmt.Println("live at revision", n.Revision)
			case storage.NoticeSet, storage.NoticeDel:
				fmt.Println(n.Kind, n.Path, string(n.Object.Data))
			}
		}
	}
	tell(sub, 3)

	// The subscriber goes away, and comes back with the revision that it knows all up to.
	known := sub.Revision()
	sub.Close()
	write("devices/heater", `{"on":true}`)
	if err := store.Del("devices/lamp"); err != nil {
		log.Fatal(err)
	}
	sub, err = store.Subscribe(ctx, "devices/*", storage.SubscribeOptions{From: known})
	if err != nil {
		log.Fatal(err)
	}
	defer sub.Close()
	tell(sub, 3)

	// Output:
	// state devices/lamp {"on":false}
	// live at revision 1
	// set devices/lamp {"on":true}
	// set devices/heater {"on":true}
	// del devices/lamp {"on":true}
	// live at revision 4
}

// A loop over a subscription ends with its error.
func ExampleSubscription_All() {
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
	if err := store.Start(storage.Options{}); err != nil {
		log.Fatal(err)
	}
	sub, err := store.Subscribe(context.Background(), "readings/*", storage.SubscribeOptions{Lag: storage.LagNewest})
	if err != nil {
		log.Fatal(err)
	}
	defer sub.Close()
	for i := range 3 {
		if _, err := store.Set("readings/kitchen", fmt.Appendf(nil, "%d", 20+i)); err != nil {
			log.Fatal(err)
		}
	}
	store.Close() // what was committed comes first

	for n, err := range sub.All(context.Background()) {
		switch {
		case errors.Is(err, storage.ErrNotActive):
			fmt.Println("the store was closed")
		case err != nil:
			log.Fatal(err)
		case n.Kind == storage.NoticeSet:
			fmt.Println(n.Path, string(n.Object.Data))
		}
	}

	// Output:
	// readings/kitchen 20
	// readings/kitchen 21
	// readings/kitchen 22
	// the store was closed
}
