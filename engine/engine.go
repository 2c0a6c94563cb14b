// Package engine makes a store's layers from a URL.
//
//	memory:                    nothing is kept
//	pebble:./data              the directory ./data, every write synced
//	pebble:./data?sync=off     the same, faster, the newest writes lost in a crash
//	pebble:./data?readonly=on  the same, opened to read only: no file is created or changed
//	sqlite:./data.db           the SQLite database ./data.db, which other programs can read
//	badger:./data              a Badger database in ./data; ?key-file=PATH encrypts it
//	ko:./data                  the LevelDB database in ./data, as older software has it
//
// The form is scheme:location?option=value&option=value. The location is a path of the file system, in
// which %3F stands for '?', %25 for '%', and so on as in any URL; see Location. Options are those
// of a URL's query. What is unknown is an error that lists what is known.
//
// An engine comes into a program by import: it is passed to Open by the caller, as pebble.Engine is, and a
// program holds no engine that it does not name. Package engine/all has all of this module.
package engine

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/oolith-db/oolith/storage"
)

// ErrInvalidURL is what every error of this package wraps.
var ErrInvalidURL = errors.New("invalid store URL")

// Engine is one kind of store: a scheme, and what makes its persistent layer. It is made by New, once, and
// may be used by any number of goroutines.
type Engine struct {
	scheme string
	// place is what stands after the colon, for a reader; empty when nothing may.
	place string
	// open makes the persistent layer; nil for a scheme without one.
	open func(location string, query url.Values) (storage.EmbeddedLayer, error)
	// remote says that the location is none of the file system.
	remote bool
	// recognize tells whether there is a store of the engine at a path; nil where nothing tells.
	recognize func(location string) (bool, error)
}

// memory is the only engine that is always there.
var memory = Engine{scheme: "memory"}

// New returns the engine of a scheme. Place says what its location is, DIRECTORY or FILE; options are all that
// its URLs may have; create makes a layer and touches nothing, as T's zero value or the options say.
func New[T any](scheme, place string, options []Option[T], create func(location string, options T) storage.EmbeddedLayer) Engine {
	return Engine{scheme: scheme, place: place, open: func(location string, query url.Values) (storage.EmbeddedLayer, error) {
		var set T
		if err := setOptions(options, &set, query); err != nil {
			return nil, err
		}
		return create(location, set), nil
	}}
}

// Remote returns the engine as one whose locations are none of the file system. It has the option existing, with which it makes no store.
func (e Engine) Remote() Engine {
	e.remote = true
	return e
}

// IsRemote reports whether the engine of a URL is among those that are given, and its location none of the file system.
func IsRemote(storeURL string, engines ...Engine) bool {
	scheme, _, _ := strings.Cut(storeURL, ":")
	return slices.ContainsFunc(engines, func(e Engine) bool { return e.scheme == scheme && e.remote })
}

// Form is how a URL of the engine looks, for a reader: "pebble:DIRECTORY".
func (e Engine) Form() string { return e.scheme + ":" + e.place }

// Forms returns how the URLs of memory: and of the engines look, for a reader.
func Forms(engines ...Engine) []string {
	forms := []string{memory.Form()}
	for _, e := range engines {
		forms = append(forms, e.Form())
	}
	return forms
}

// Open makes the persistent layer of a store by the engine of its scheme, not started: nothing is touched
// yet. For memory: it is nil, since there is none.
func Open(storeURL string, engines ...Engine) (storage.EmbeddedLayer, error) {
	layer, err := open(storeURL, engines)
	if err != nil {
		return nil, fmt.Errorf("store %q: %w: %w", storeURL, ErrInvalidURL, err)
	}
	return layer, nil
}

// Config makes the layers of a store, memory and the persistent one, if any, not started.
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
		return nil, fmt.Errorf("no scheme, expected one of %s", known())
	}
	all := append([]Engine{memory}, engines...)
	at := slices.IndexFunc(all, func(e Engine) bool { return e.scheme == scheme })
	if at < 0 {
		if len(engines) == 0 {
			return nil, fmt.Errorf("no engine has the scheme %q: pass it, as in Open(url, pebble.Engine)", scheme)
		}
		return nil, fmt.Errorf("unknown scheme %q, expected one of %s", scheme, known())
	}
	e := all[at]
	raw, query, _ := strings.Cut(rest, "?")
	options, err := url.ParseQuery(query)
	if err != nil {
		return nil, fmt.Errorf("options %q: %w", query, err)
	}
	switch {
	case e.place == "" && raw != "":
		return nil, fmt.Errorf("unexpected %q after the scheme, expected %s", raw, e.Form())
	case e.open == nil:
		return nil, setOptions(nil, new(struct{}), options)
	case raw == "":
		return nil, fmt.Errorf("nothing after the scheme, expected %s", e.Form())
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
