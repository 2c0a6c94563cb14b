package storage_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// memory returns a started store in memory.
func memory(opt storage.Options) *storage.Layered {
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
	if err := store.Start(opt); err != nil {
		log.Fatal(err)
	}
	return store
}

// A batch moves stock from one shelf to another, if the shelf is as it was read: all of it, or nothing.
func ExampleLayered_Commit() {
	store := memory(storage.Options{})
	defer store.Close()
	if _, err := store.Set("shelves/a", json.RawMessage(`{"lamps":7}`)); err != nil {
		log.Fatal(err)
	}
	shelf, err := store.Get("shelves/a")
	if err != nil {
		log.Fatal(err)
	}

	var move storage.Batch
	move.SetWith("shelves/a", json.RawMessage(`{"lamps":5}`), storage.SetOptions{IfRevision: shelf.Revision})
	move.Set("shelves/b", json.RawMessage(`{"lamps":2}`))
	move.Push("moves/*", json.RawMessage(`{"from":"a","to":"b","lamps":2}`))
	stored, err := store.Commit(&move)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(stored), "changes, revisions", stored[0].Revision, "to", stored[2].Revision)

	// The shelf is another one now: the same batch does nothing.
	_, err = store.Commit(&move)
	var conflict *storage.ConflictError
	if errors.As(err, &conflict) {
		fmt.Println(conflict.Path, "has revision", conflict.Current, "and not", conflict.Expected)
	}
	moves, err := store.Count("moves/*")
	fmt.Println(moves, "move,", err)
	// Output:
	// 3 changes, revisions 2 to 4
	// shelves/a has revision 2 and not 1
	// 1 move, <nil>
}

// Update counts without losing a count, however many do so at once.
func ExampleLayered_Update() {
	store := memory(storage.Options{})
	defer store.Close()

	visit := func(old meta.Object) (json.RawMessage, error) {
		var page struct{ Visits int }
		if old.Data != nil {
			if err := json.Unmarshal(old.Data, &page); err != nil {
				return nil, err
			}
		}
		page.Visits++
		return json.Marshal(page)
	}
	for range 3 {
		if _, err := store.Update("pages/start", visit); err != nil {
			log.Fatal(err)
		}
	}
	page, err := store.Get("pages/start")
	fmt.Println(string(page.Data), err)
	// Output:
	// {"Visits":3} <nil>
}

// A session that ends by itself: no read shows it from its end on.
func ExampleLayered_SetWith_timeToLive() {
	store := memory(storage.Options{})
	defer store.Close()

	session, err := store.SetWith("sessions/5f1c", json.RawMessage(`{"cart":["lamp"]}`),
		storage.SetOptions{TTL: 30 * time.Millisecond})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("expires at all:", session.Expires != 0)

	time.Sleep(time.Until(time.Unix(0, session.Expires)))
	_, err = store.Get("sessions/5f1c")
	fmt.Println("gone:", errors.Is(err, storage.ErrNotFound))
	// Output:
	// expires at all: true
	// gone: true
}

// The list of readings of each device keeps the newest three.
func ExampleRetention() {
	store := memory(storage.Options{Retention: []storage.Retention{
		{Pattern: "devices/*/readings/*", Count: 3, Age: 24 * time.Hour},
	}})
	defer store.Close()

	for _, celsius := range []string{"18.5", "18.9", "19.2", "19.4", "19.3"} {
		if _, err := store.Push("devices/boiler/readings/*", json.RawMessage(celsius)); err != nil {
			log.Fatal(err)
		}
	}
	readings, err := store.GetList("devices/boiler/readings/*")
	if err != nil {
		log.Fatal(err)
	}
	for _, reading := range readings {
		fmt.Println(string(reading.Data))
	}
	// Output:
	// 19.2
	// 19.4
	// 19.3
}

// Pages of the newest first. The cursor of a page is a place: what is written meanwhile moves nothing.
func ExampleLayered_Page() {
	store := memory(storage.Options{})
	defer store.Close()
	for _, title := range []string{"Rain", "Sun", "Fog", "Snow", "Hail"} {
		if _, err := store.Push("notes/*", json.RawMessage(fmt.Sprintf("%q", title))); err != nil {
			log.Fatal(err)
		}
	}

	opt := storage.ListOptions{Descending: true, Limit: 2}
	for {
		page, err := store.Page("notes/*", opt)
		if err != nil {
			log.Fatal(err)
		}
		for _, note := range page.Objects {
			fmt.Println(string(note.Data))
		}
		fmt.Println("--")
		if page.Next == "" {
			break
		}
		if _, err := store.Push("notes/*", json.RawMessage(`"Wind"`)); err != nil {
			log.Fatal(err)
		}
		opt.Cursor = page.Next
	}
	// Output:
	// "Hail"
	// "Snow"
	// --
	// "Fog"
	// "Sun"
	// --
	// "Rain"
	// --
}

// An iteration reads a long list bit by bit.
func ExampleLayered_Iterate() {
	store := memory(storage.Options{})
	defer store.Close()
	for i := range 1000 {
		if _, err := store.Push("samples/*", json.RawMessage(fmt.Sprint(i))); err != nil {
			log.Fatal(err)
		}
	}

	sum := 0
	for sample, err := range store.Iterate("samples/*", storage.ListOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		n := 0
		if err := json.Unmarshal(sample.Data, &n); err != nil {
			log.Fatal(err)
		}
		sum += n
	}
	fmt.Println(sum)
	// Output:
	// 499500
}
