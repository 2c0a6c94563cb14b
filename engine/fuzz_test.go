package engine

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// FuzzOpen makes layers from anything: what is no URL of a store is ErrInvalidURL, what is one has a known
// scheme and a layer, and nothing is touched either way.
func FuzzOpen(f *testing.F) {
	for _, seed := range []string{
		"", ":", "memory:", "memory:x", "memory:?", "pebble:./data", "pebble:./data?sync=off&cache=64MiB", "pebble:?sync=on",
		"sqlite:./data.db?cache=1KiB", "badger:d?key-file=k&gc=5m&verify=on", "badger:d?key-env=NAME", "ko:d?recover=on&invalid=skip",
		"ko:d?sync=on&sync=off", "pebble:d?cache=-1", "pebble:d?cache=99999999999999999999GiB", "pebble:d?%zz", "redis:host", "pebble:a?b=c;d",
	} {
		f.Add(seed)
	}
	f.Chdir(f.TempDir())
	f.Fuzz(func(t *testing.T, storeURL string) {
		layer, err := Open(storeURL)
		if files, readErr := os.ReadDir("."); readErr != nil || len(files) > 0 {
			t.Fatalf("Open(%q) left %v, %v", storeURL, files, readErr)
		}
		if err != nil {
			if !errors.Is(err, ErrInvalidURL) || layer != nil {
				t.Fatalf("Open(%q) = %v, %v, want ErrInvalidURL alone", storeURL, layer, err)
			}
			return
		}
		scheme, rest, _ := strings.Cut(storeURL, ":")
		location, _, _ := strings.Cut(rest, "?")
		known := false
		for _, s := range schemes {
			known = known || s.name == scheme
		}
		if !known || (layer == nil) != (scheme == "memory") || (location == "") != (scheme == "memory") {
			t.Fatalf("Open(%q) = %v, want an error, or a layer of a known scheme at a location", storeURL, layer)
		}
	})
}
