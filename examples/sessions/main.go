// Sessions: objects that expire unless they are used.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/oolith-db/oolith"
	"github.com/oolith-db/oolith/storage"
)

func main() {
	if err := run(os.Stdout, time.Second); err != nil {
		log.Fatal(err)
	}
}

func run(out io.Writer, ttl time.Duration) error {
	store, err := oolith.Open("memory:")
	if err != nil {
		return err
	}
	defer store.Close()
	ctx := context.Background()
	subscription, err := store.Subscribe(ctx, "sessions/*", storage.SubscribeOptions{})
	if err != nil {
		return err
	}
	defer subscription.Close()

	begin := func(path string, ttl time.Duration) error {
		_, err := store.SetWith(path, []byte(`{"basket":[]}`), storage.SetOptions{TTL: ttl})
		return err
	}
	for _, path := range []string{"sessions/kiosk", "sessions/tablet", "sessions/wall"} {
		if err := begin(path, ttl); err != nil {
			return err
		}
	}
	// The tablet is in use: its time to live starts again, so it outlives the others.
	if err := begin("sessions/tablet", time.Hour); err != nil {
		return err
	}

	// An expiry is a change like any other: durable, in order, and delivered to watchers.
	for ended := 0; ended < 2; {
		notice, err := subscription.Next(ctx)
		if err != nil {
			return err
		}
		if notice.Kind == storage.NoticeDel {
			ended++
			fmt.Fprintf(out, "ended: %s\n", notice.Path)
		}
	}
	left, err := store.GetList("sessions/*")
	if err != nil {
		return err
	}
	for _, session := range left {
		minutes := time.Until(time.Unix(0, session.Expires)).Round(time.Minute)
		fmt.Fprintf(out, "still there: %s, for %v\n", session.Path, minutes)
	}
	return nil
}
