// Million serves a store in memory with a list of a million objects and 300,000 directories, as oolith serve does: its requests
// would take longer to fill it than the tests take to look at it.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"

	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/storage"
)

const rows, directories, group = 1_000_000, 300_000, 1000

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
	if err := store.Start(storage.Options{}); err != nil {
		return err
	}
	defer store.Close()
	for i := 0; i < rows+directories; i += group {
		var batch storage.Batch
		for n := i; n < i+group; n++ {
			path, data := fmt.Sprintf("million/%d", n), fmt.Appendf(nil, `{"n":%d,"name":"row %d"}`, n, n)
			if n >= rows {
				path, data = fmt.Sprintf("d%06d/x", n-rows), fmt.Append(nil, n)
			}
			batch.Set(path, data)
		}
		if _, err := store.Commit(&batch); err != nil {
			return err
		}
	}
	handler := server.New(store, server.Options{StoreURL: "memory:"})
	defer handler.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"url": "http://" + listener.Addr().String()}); err != nil {
		return err
	}
	return handler.Serve(context.Background(), listener)
}
