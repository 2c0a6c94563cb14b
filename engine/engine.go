// Package engine creates the layers of a store from a URL.
//
//	memory:                    in memory only, not durable
//	pebble:./data              the directory ./data, every write synced
//	pebble:./data?sync=off     faster, but a crash loses the newest writes
//	pebble:./data?readonly=on  read-only: no file is created or changed
//	sqlite:./data.db           the SQLite database ./data.db, which other programs can read
//	badger:./data              a Badger database in ./data; ?key-file=PATH encrypts it
//	ko:./data                  the LevelDB database in ./data, in the format of older software
//
// A URL has the form scheme:location?option=value&option=value. The location is a file system path with the escapes
// of any URL: %3F for '?', %25 for '%'; see Location. The options are a URL query. An unknown scheme or option is an
// error that lists the known ones.
//
// The caller passes engines to Open, such as pebble.Engine. A program contains only the engines that it imports.
// Package engine/all has all engines of this module.
package engine

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/oolith-db/oolith/storage"
)

// ErrInvalidURL is wrapped by every error of this package.
var ErrInvalidURL = errors.New("invalid store URL")

// Engine is a kind of store: a scheme and a function that creates its persistent layer. New creates an Engine, once.
// It may be used concurrently.
type Engine struct {
	scheme string
	// place describes the location, for users; empty if there is none.
	place string
	// open creates the persistent layer; nil for a scheme without one.
	open func(location string, query url.Values) (storage.EmbeddedLayer, error)
	// remote means that the location is not in the file system.
	remote bool
	// recognize reports whether a path holds a store of the engine; nil if that cannot be determined.
	recognize func(location string) (bool, error)
}

// memory is the only built-in engine.
var memory = Engine{scheme: "memory"}

// New returns the engine of a scheme. Place describes the location, such as DIRECTORY or FILE. Options are all the
// options of its URLs. Create returns a layer for T's zero value or the given options, without touching any file.
func New[T any](scheme, place string, options []Option[T], create func(location string, options T) storage.EmbeddedLayer) Engine {
	return Engine{scheme: scheme, place: place, open: func(location string, query url.Values) (storage.EmbeddedLayer, error) {
		var set T
		if err := setOptions(options, &set, query); err != nil {
			return nil, err
		}
		return create(location, set), nil
	}}
}

// Remote returns the engine, marked as one whose locations are not in the file system. It gains the option existing, with
// which it creates no store.
func (e Engine) Remote() Engine {
	e.remote = true
	return e
}

// IsRemote reports whether the engine of a URL is among the given ones and its location is not in the file system.
func IsRemote(storeURL string, engines ...Engine) bool {
	scheme, _, _ := strings.Cut(storeURL, ":")
	return slices.ContainsFunc(engines, func(e Engine) bool { return e.scheme == scheme && e.remote })
}

// Form returns the form of the engine's URLs, for users: "pebble:DIRECTORY".
func (e Engine) Form() string { return e.scheme + ":" + e.place }

// Forms returns the forms of URLs of memory: and of the engines, for users.
func Forms(engines ...Engine) []string {
	forms := []string{memory.Form()}
	for _, e := range engines {
		forms = append(forms, e.Form())
	}
	return forms
}

// Open creates the persistent layer of a store with the engine of its scheme. The layer is not started and no file is
// touched. For memory: the layer is nil.
func Open(storeURL string, engines ...Engine) (storage.EmbeddedLayer, error) {
	layer, err := open(storeURL, engines)
	if err != nil {
		return nil, fmt.Errorf("store %q: %w, %w", storeURL, ErrInvalidURL, err)
	}
	return layer, nil
}

// Config creates the layers of a store, memory and the persistent layer if there is one, without starting them.
func Config(storeURL string, engines ...Engine) (storage.LayeredConfig, error) {
	layer, err := Open(storeURL, engines...)
	if err != nil {
		return storage.LayeredConfig{}, err
	}
	return storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: layer}, nil
}

func open(storeURL string, engines []Engine) (storage.EmbeddedLayer, error) {
	scheme, rest, found := strings.Cut(storeURL, ":")
	known := func() string { return strings.Join(Forms(engines...), ", ") }
	if !found {
		return nil, fmt.Errorf("the scheme is missing, expected one of %s", known())
	}
	all := append([]Engine{memory}, engines...)
	at := slices.IndexFunc(all, func(e Engine) bool { return e.scheme == scheme })
	if at < 0 {
		if len(engines) == 0 {
			return nil, fmt.Errorf("no engine was passed for the scheme %q; pass one, as in Open(url, pebble.Engine)", scheme)
		}
		return nil, fmt.Errorf("unknown scheme %q, expected one of %s", scheme, known())
	}
	e := all[at]
	raw, query, _ := strings.Cut(rest, "?")
	options, err := url.ParseQuery(query)
	if err != nil {
		return nil, fmt.Errorf("the options %q have an invalid escape; write %%25 for a percent sign", query)
	}
	switch {
	case e.place == "" && raw != "":
		return nil, fmt.Errorf("unexpected %q after the scheme, expected %s", raw, e.Form())
	case e.open == nil:
		return nil, setOptions(nil, new(struct{}), options)
	case raw == "":
		return nil, fmt.Errorf("the location is missing, expected %s", e.Form())
	}
	location := ""
	if e.remote {
		location, err = unescape(raw)
	} else {
		location, err = decode(scheme, raw)
	}
	if err != nil {
		return nil, err
	}
	return e.open(location, options)
}
