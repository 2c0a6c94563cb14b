package backup_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/oolith-db/oolith"
	"github.com/oolith-db/oolith/backup"
	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/engine/pebble"
	"github.com/oolith-db/oolith/storage"
)

// A backup of a store in use, and a new store made of it.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()

	store, err := oolith.Open("memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Set("cities/lisbon", []byte(`{"trams":57}`)); err != nil {
		log.Fatal(err)
	}

	file, err := os.Create(filepath.Join(dir, "monday.oolith"))
	if err != nil {
		log.Fatal(err)
	}
	info, err := backup.Write(ctx, store, file, backup.WriteOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("written:", info.Objects, "object at revision", info.Revision)

	// Read it from its start.
	if _, err := file.Seek(0, 0); err != nil {
		log.Fatal(err)
	}
	target, err := engine.Open("pebble:"+filepath.Join(dir, "restored"), pebble.Engine)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := backup.Restore(ctx, file, target, backup.RestoreOptions{}); err != nil {
		log.Fatal(err)
	}
	if err := file.Close(); err != nil {
		log.Fatal(err)
	}

	restored := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: target})
	if err := restored.Start(storage.Options{}); err != nil {
		log.Fatal(err)
	}
	defer restored.Close()
	city, err := restored.Get("cities/lisbon")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("restored:", string(city.Data), "of revision", city.Revision)
	// Output:
	// written: 1 object at revision 1
	// restored: {"trams":57} of revision 1
}
