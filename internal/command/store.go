package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// access is how a command uses a store.
type access int

const (
	// reads opens the store read-only: no file is created or changed.
	reads access = iota
	// changes requires an existing store.
	changes
	// creates creates the store if it does not exist.
	creates
)

// opened is the open store of a command: a *storage.Layered on this machine, or a remote behind a server. Its calls
// mean the same as those of storage.Layered.
type opened interface {
	Get(path string) (meta.Object, error)
	Page(pattern string, opt storage.ListOptions) (storage.Page, error)
	Iterate(pattern string, opt storage.ListOptions) iter.Seq2[meta.Object, error]
	Count(pattern string) (int, error)
	Directories(path string) ([]storage.Directory, error)
	SetWith(path string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error)
	PushWith(pattern string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error)
	TouchWith(path string, opt storage.SetOptions) (meta.Object, error)
	Update(path string, change func(old meta.Object) (json.RawMessage, error)) (meta.Object, error)
	Del(path string) error
	DelWith(path string, opt storage.DelOptions) error
	Commit(batch *storage.Batch) ([]meta.Object, error)
	Close()
}

// openStore opens the store for a command.
func (a *app) openStore(ctx context.Context, to access) (opened, error) {
	if isServer(a.storeURL) {
		return a.openRemote(ctx)
	}
	return a.openLocal(to)
}

// openLocal opens a store on this machine.
//
// It opens a durable store without a memory layer. A command then ends sooner than loading the whole store would
// take, and the memory of an import does not grow with the store.
func (a *app) openLocal(to access) (*storage.Layered, error) {
	layer, err := a.layer(to)
	if err != nil {
		return nil, err
	}
	config := storage.LayeredConfig{Embedded: layer}
	if layer == nil {
		config = storage.LayeredConfig{Memory: storage.NewMemoryLayer()}
	}
	store := storage.New(config)
	// The command gets all errors.
	if err := store.Start(storage.Options{Logger: slog.New(slog.DiscardHandler)}); err != nil {
		return nil, notOpened(a.storeURL, err)
	}
	a.tellSkipped(a.storeURL, layer)
	return store, nil
}

// tellSkipped reports on the terminal which keys a started layer skips, as its URL requests.
func (a *app) tellSkipped(storeURL string, layer storage.EmbeddedLayer) {
	skipper, ok := layer.(storage.Skipper)
	if !ok {
		return
	}
	if keys, count := skipper.Skipped(); count > 0 {
		shown := fmt.Sprintf("%q", keys[:min(len(keys), 20)])
		if count > 20 {
			shown += " and more"
		}
		_, _ = fmt.Fprintf(a.stderr, "oolith: store %s: %s skipped: %s\n", storeURL, plural(int64(count), "key"), shown)
	}
}

// layer creates the persistent layer of the store, not started; nil for memory:.
func (a *app) layer(to access) (storage.EmbeddedLayer, error) { return a.newLayer(a.storeURL, to) }

// newLayer creates the persistent layer of a store, not started; nil for memory:.
func (a *app) newLayer(storeURL string, to access) (storage.EmbeddedLayer, error) {
	if isServer(storeURL) {
		return nil, a.onlyFiles(storeURL)
	}
	named := storeURL
	storeURL, err := resolve(named)
	switch {
	case errors.Is(err, fs.ErrNotExist) && to != creates:
		return nil, fmt.Errorf("store %s: %w", named, errNoStore)
	case err != nil:
		return nil, usage(err)
	}
	layer, err := engine.Open(storeURL, engines...)
	switch {
	case err != nil:
	case a.readOnly || to == reads:
		layer, err = engine.Open(toReadOnly(storeURL), engines...)
	case to == changes && engine.IsRemote(storeURL, engines...):
		layer, err = engine.Open(withOption(storeURL, "existing"), engines...)
	}
	if err != nil {
		return nil, usage(elsewhere(storeURL, err))
	}
	if layer == nil || to == creates && !a.readOnly {
		return layer, nil
	}
	place := location(storeURL)
	if place == "" {
		return layer, nil // the layer reports whether there is a store
	}
	missing, err := isMissing(place)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", storeURL, err)
	}
	if missing {
		return nil, fmt.Errorf("store %s: %w", storeURL, errNoStore)
	}
	return layer, nil
}

// elsewhere says which command has an engine that this one lacks.
func elsewhere(storeURL string, err error) error {
	if strings.HasPrefix(storeURL, "etcd:") && !engine.IsRemote(storeURL, engines...) {
		return fmt.Errorf("store %q: this build has no etcd engine; in a clone, run go build -C cluster -o oolith ./cmd/oolith", storeURL)
	}
	return err
}

var errNoStore = errors.New("there is no store yet; import, copy, set or push creates one")

// resolve returns the URL of a store. A bare path names an existing store, whose files show the engine.
func resolve(store string) (string, error) {
	scheme, _, found := strings.Cut(store, ":")
	if found && slices.ContainsFunc(engine.Forms(engines...), func(form string) bool { return strings.HasPrefix(form, scheme+":") }) {
		return store, nil
	}
	if _, err := os.Lstat(store); found && err != nil {
		return store, nil // engine.Open lists the schemes
	}
	return engine.Find(store, engines...)
}

// durableLayer is newLayer for commands that make no sense with memory:.
func (a *app) durableLayer(storeURL string, to access) (storage.EmbeddedLayer, error) {
	layer, err := a.newLayer(storeURL, to)
	if err == nil && layer == nil {
		return nil, usage(fmt.Errorf("store %s: it is not durable, expected a durable store such as %s", storeURL, defaultStore))
	}
	return layer, err
}

// storeArgument lets a command's argument name the store instead of --store.
func (a *app) storeArgument(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.Flags().Changed("store") {
		return usage(fmt.Errorf("%s: both --store %s and the argument %s name a store, expected only one", cmd.Name(), a.storeURL, args[0]))
	}
	a.storeURL = args[0]
	return nil
}

// toReadOnly adds readonly=on to the URL of a store, unless the URL says how to open it: recover=on writes to the
// store, as its user requests.
func toReadOnly(storeURL string) string {
	scheme, _, _ := strings.Cut(storeURL, ":")
	_, raw, _ := strings.Cut(storeURL, "?")
	options, err := url.ParseQuery(raw)
	if scheme == "memory" || err != nil || options.Get("recover") == "on" {
		return storeURL
	}
	return withOption(storeURL, "readonly")
}

// withOption adds an option that is on to the URL of a store, unless the URL has it.
func withOption(storeURL, name string) string {
	_, raw, hasOptions := strings.Cut(storeURL, "?")
	options, err := url.ParseQuery(raw)
	switch {
	case err != nil, options.Has(name):
		return storeURL
	case !hasOptions:
		return storeURL + "?" + name + "=on"
	case raw == "":
		return storeURL + name + "=on"
	}
	return storeURL + "&" + name + "=on"
}

// location returns the path of a store for newLayer; empty for memory:.
func location(storeURL string) string {
	if engine.IsRemote(storeURL, engines...) {
		return ""
	}
	storeURL, err := resolve(storeURL)
	if err != nil {
		return ""
	}
	place, err := engine.Location(storeURL)
	if err != nil {
		return ""
	}
	return place
}

// sizeOnDisk adds up the files of a store: those of its directory or, for a store in one file, that file and the
// files beside it whose names begin with its name and a dash.
func sizeOnDisk(place string) (int64, error) {
	info, err := os.Stat(place)
	if err != nil {
		return 0, err
	}
	directory, only := place, ""
	if !info.IsDir() {
		directory, only = filepath.Dir(place), filepath.Base(place)
	}
	var size int64
	err = filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // the engine deleted it in the meantime
		case err != nil:
			return err
		case entry.IsDir() && only != "" && path != directory:
			return fs.SkipDir
		case !entry.Type().IsRegular(), only != "" && entry.Name() != only && !strings.HasPrefix(entry.Name(), only+"-"):
			return nil
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}

// isMissing reports whether a directory is absent or empty, so that opening it would create a store.
func isMissing(directory string) (bool, error) {
	info, err := os.Stat(directory)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil || !info.IsDir() {
		return false, err // if it is a file, the engine reports the problem
	}
	entries, err := os.ReadDir(directory)
	return len(entries) == 0, err
}

// checkPattern rejects an argument that is not a pattern, with a hint for the usual mistake.
func checkPattern(pattern string) error {
	if err := key.Check(pattern); err != nil {
		return usage(fmt.Errorf("pattern %q: %w", pattern, err))
	}
	if !key.HasGlob(pattern) {
		return usage(fmt.Errorf("pattern %q: it has no '*', expected a pattern such as %q; use get for one object", pattern, pattern+"/*"))
	}
	return nil
}
