// Package engine makes a store's layers from a URL.
//
//	memory:                    nothing is kept
//	pebble:./data              the directory ./data, every write synced
//	pebble:./data?sync=off     the same, faster, the newest writes lost in a crash
//	sqlite:./data.db           the SQLite database ./data.db, which other programs can read
//	badger:./data              a Badger database in ./data; ?key-file=PATH encrypts it
//	ko:./data                  the LevelDB database in ./data, as older software has it
//
// The form is scheme:location?option=value&option=value. The location is taken as it is
// written, up to the first '?', and options are those of a URL's query. What is unknown is
// an error that lists what is known.
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

// scheme is one kind of store.
type scheme struct {
	name string
	// location is what stands after the colon; empty when nothing may.
	location string
	// open makes the persistent layer; nil for a scheme without one.
	open func(location string, query url.Values) (storage.EmbeddedLayer, error)
}

// form is how a URL of the scheme looks.
func (s scheme) form() string { return s.name + ":" + s.location }

// schemes are all that there is: an engine is a line here and a table of its options in
// a file of its name.
var schemes = []scheme{
	{name: "memory"},
	{name: "pebble", location: "DIRECTORY", open: opener(pebbleOptions, newPebble)},
	{name: "sqlite", location: "FILE", open: opener(sqliteOptions, newSQLite)},
	{name: "badger", location: "DIRECTORY", open: opener(badgerOptions, newBadger)},
	{name: "ko", location: "DIRECTORY", open: opener(koOptions, newKo)},
}

// Open makes the persistent layer of a store, not started: nothing is touched yet. For
// memory: it is nil, since there is none.
func Open(storeURL string) (storage.EmbeddedLayer, error) {
	layer, err := open(storeURL)
	if err != nil {
		return nil, fmt.Errorf("store %q: %w: %w", storeURL, ErrInvalidURL, err)
	}
	return layer, nil
}

// Config makes the layers of a store, memory and the persistent one, if any, not started.
func Config(storeURL string) (storage.LayeredConfig, error) {
	layer, err := Open(storeURL)
	if err != nil {
		return storage.LayeredConfig{}, err
	}
	return storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: layer}, nil
}

func open(storeURL string) (storage.EmbeddedLayer, error) {
	name, rest, found := strings.Cut(storeURL, ":")
	if !found {
		return nil, fmt.Errorf("no scheme, expected one of %s", knownForms())
	}
	at := slices.IndexFunc(schemes, func(s scheme) bool { return s.name == name })
	if at < 0 {
		return nil, fmt.Errorf("unknown scheme %q, expected one of %s", name, knownForms())
	}
	s := schemes[at]
	location, raw, _ := strings.Cut(rest, "?")
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, fmt.Errorf("options %q: %w", raw, err)
	}
	switch {
	case s.location == "" && location != "":
		return nil, fmt.Errorf("unexpected %q after the scheme, expected %s", location, s.form())
	case s.location != "" && location == "":
		return nil, fmt.Errorf("nothing after the scheme, expected %s", s.form())
	case s.open != nil:
		return s.open(location, query)
	}
	return nil, setOptions(nil, new(struct{}), query)
}

// Forms returns how the URLs of all schemes look, for a reader.
func Forms() []string {
	forms := make([]string, len(schemes))
	for i, s := range schemes {
		forms[i] = s.form()
	}
	return forms
}

// knownForms lists the schemes for a reader.
func knownForms() string { return strings.Join(Forms(), ", ") }
