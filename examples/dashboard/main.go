// Dashboard: devices report readings, and a subscription keeps a table of them.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"sync"

	"github.com/oolith-db/oolith"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

const readings = 25 // of each device, so the program ends

func main() {
	if err := run(os.Stdout, "boiler", "cellar", "garden", "roof"); err != nil {
		log.Fatal(err)
	}
}

func run(out io.Writer, devices ...string) error {
	store, err := oolith.Open("memory:")
	if err != nil {
		return err
	}
	defer store.Close()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	var working sync.WaitGroup
	defer working.Wait()
	for i, device := range devices {
		working.Go(func() {
			for n := range readings {
				if _, err := store.Push("devices/"+device+"/readings/*", fmt.Appendf(nil, `{"celsius":%d}`, 10*i+n)); err != nil {
					cancel(err)
				}
			}
		})
	}

	// The devices are already reporting. The subscription first delivers the earlier readings, in any order, and then
	// every later one exactly once. (A subscriber that falls 16,384 changes behind receives a NoticeReset and starts
	// over, which cannot happen to this table.)
	subscription, err := store.Subscribe(ctx, "devices/*/readings/*", storage.SubscribeOptions{})
	if err != nil {
		return err
	}
	defer subscription.Close()
	seen, newest := map[string]int{}, map[string]meta.Object{}
	for range readings*len(devices) + 1 { // one more for NoticeLive
		notice, err := subscription.Next(ctx)
		if err != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
		switch notice.Kind {
		case storage.NoticeLive:
			fmt.Fprintln(out, "the state is complete, what follows happens now")
		case storage.NoticeState, storage.NoticeSet:
			device := key.LastIndex(key.Parent(key.Parent(notice.Path)))
			seen[device]++
			if notice.Revision > newest[device].Revision {
				newest[device] = *notice.Object
			}
			fmt.Fprintf(out, "%-7s %3d %s\n", device, seen[device], notice.Object.Data)
		}
	}
	for _, device := range devices {
		fmt.Fprintf(out, "%-7s sent %d readings, the newest is %s\n", device, seen[device], newest[device].Data)
	}
	return nil
}
