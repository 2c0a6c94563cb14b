package main

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"strings"

	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// openStore opens the store for a command. Where there is no store yet, one that writes
// makes it; one that only reads does not, and gets an error.
//
// A durable store is opened without its memory layer: one command is over sooner than the
// whole store is loaded, and the memory of an import does not grow with the store.
func (a *app) openStore(create bool) (*storage.Layered, error) {
	layer, err := a.layer(create)
	if err != nil {
		return nil, err
	}
	config := storage.LayeredConfig{Embedded: layer}
	if layer == nil {
		config = storage.LayeredConfig{Memory: storage.NewMemoryLayer()}
	}
	store := storage.New(config)
	// What goes wrong reaches the command as an error.
	if err := store.Start(storage.Options{Logger: slog.New(slog.DiscardHandler)}); err != nil {
		return nil, fmt.Errorf("store %s: %w", a.storeURL, err)
	}
	return store, nil
}

// scanner is an open store that is read from end to end, in bounded memory.
type scanner struct {
	layer storage.EmbeddedLayer // nil when the store has no persistent layer
}

// openScanner opens an existing store for reading all that matches a pattern.
func (a *app) openScanner() (*scanner, error) {
	layer, err := a.layer(false)
	if err != nil {
		return nil, err
	}
	if layer != nil {
		if err := layer.Start(storage.LayerOptions{}); err != nil {
			return nil, fmt.Errorf("store %s: %w", a.storeURL, err)
		}
	}
	return &scanner{layer}, nil
}

// scan yields what matches a pattern, or everything for an empty one, directory by
// directory, from one consistent snapshot.
func (s *scanner) scan(pattern string) iter.Seq2[meta.Object, error] {
	if s.layer == nil {
		return func(func(meta.Object, error) bool) {} // memory: is empty when it is opened
	}
	return storage.Scan(s.layer, pattern)
}

// get returns one object, or storage.ErrNotFound.
func (s *scanner) get(path string) (meta.Object, error) {
	if s.layer == nil {
		return meta.Object{}, fmt.Errorf("get %q: %w", path, storage.ErrNotFound)
	}
	return s.layer.Get(path)
}

func (s *scanner) close() {
	if s.layer != nil {
		s.layer.Close()
	}
}

// layer makes the persistent layer of the store, not started; nil for memory:.
func (a *app) layer(create bool) (storage.EmbeddedLayer, error) {
	layer, err := engine.Open(a.storeURL)
	if err != nil {
		return nil, usage(err)
	}
	if layer == nil || create {
		return layer, nil
	}
	missing, err := isMissing(location(a.storeURL))
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", a.storeURL, err)
	}
	if missing {
		return nil, fmt.Errorf("store %s: there is no store yet: import, set or push makes one", a.storeURL)
	}
	return layer, nil
}

// location returns the directory of a store: what stands between its scheme and its options.
func location(storeURL string) string {
	_, rest, _ := strings.Cut(storeURL, ":")
	directory, _, _ := strings.Cut(rest, "?")
	return directory
}

// isMissing reports whether a directory is absent or empty: opening it would make a store.
func isMissing(directory string) (bool, error) {
	info, err := os.Stat(directory)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil || !info.IsDir() {
		return false, err // of a file, the engine says what is wrong with it
	}
	entries, err := os.ReadDir(directory)
	return len(entries) == 0, err
}

// checkPattern refuses what is no pattern, with a hint for the usual mistake.
func checkPattern(pattern string) error {
	if err := key.Check(pattern); err != nil {
		return usage(fmt.Errorf("pattern %q: %w", pattern, err))
	}
	if !key.HasGlob(pattern) {
		return usage(fmt.Errorf("pattern %q: it has no '*', expected one such as %q; for one object use get", pattern, pattern+"/*"))
	}
	return nil
}
