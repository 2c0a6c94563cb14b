package all_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/engine/all"
	"github.com/oolith-db/oolith/storage"
)

// Each URL makes a store that starts, in a place whose name has what a URL escapes.
func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b 100%")
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, bytes.Repeat([]byte("k"), 32), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OOLITH_TEST_KEY", strings.Repeat("k", 32))
	for _, c := range []struct{ scheme, name, options string }{
		{"pebble", "pebble", ""}, {"pebble", "pebble", "?"}, {"pebble", "pebble", "?sync=off&cache=8MiB"}, {"pebble", "pebble", "?readonly=on"},
		{"sqlite", "sqlite.db", ""}, {"sqlite", "sqlite.db", "?sync=off&cache=8MiB"}, {"sqlite", "sqlite.db", "?sync=on&readonly=on"},
		{"ko", "ko", "?cache=8MiB&recover=on&invalid=skip"}, {"ko", "ko", "?sync=off"}, {"ko", "ko", "?readonly=on"},
		{"badger", "plain", ""}, {"badger", "plain", "?sync=off&cache=8MiB&verify=off"}, {"badger", "plain", "?min-free=64MiB&readonly=on"},
		{"badger", "sealed", "?key-file=" + key}, {"badger", "sealed", "?key-env=OOLITH_TEST_KEY"},
	} {
		url := engine.URL(c.scheme, filepath.Join(dir, c.name)) + c.options
		config, err := engine.Config(url, all.Engines()...)
		if err != nil || config.Memory == nil {
			t.Fatalf("%s: the config is %+v, %v", url, config, err)
		}
		if err := config.Embedded.Start(storage.LayerOptions{}); err != nil {
			t.Errorf("%s: %v", url, err)
		}
		readOnly, ok := config.Embedded.(storage.ReadOnlyLayer)
		if want := strings.Contains(c.options, "readonly=on"); !ok || readOnly.ReadOnly() != want {
			t.Errorf("%s: opened to read only: %v, want %v", url, !want, want)
		}
		config.Embedded.Close()
		if _, err := os.Stat(filepath.Join(dir, c.name)); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	sealed, err := engine.Open(engine.URL("badger", filepath.Join(dir, "sealed")), all.Engines()...)
	if err != nil {
		t.Fatal(err)
	}
	if err := sealed.Start(storage.LayerOptions{}); err == nil || !strings.Contains(err.Error(), "a key is needed") {
		t.Errorf("the sealed store without its key: %v", err)
	}
}

// Opened to read only where there is nothing, each engine fails, names the place, and makes nothing.
func TestReadOnlyMakesNothing(t *testing.T) {
	for _, form := range engine.Forms(all.Engines()...)[1:] {
		scheme, _, _ := strings.Cut(form, ":")
		dir := t.TempDir()
		url := engine.URL(scheme, filepath.Join(dir, "none")) + "?readonly=on"
		layer, err := engine.Open(url, all.Engines()...)
		if err != nil {
			t.Fatal(err)
		}
		if err := layer.Start(storage.LayerOptions{}); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "none")) {
			t.Errorf("%s: %v, want an error that names the place", url, err)
		}
		layer.Close()
		if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
			t.Errorf("%s leaves %v, %v", url, files, err)
		}
	}
}

// The options that only some engines have, refused with what is expected.
func TestOpenRefuses(t *testing.T) {
	for url, text := range map[string]string{
		"pebble:./data?sink=off":        "cache=(",
		"sqlite:data.db?page=1":         `unknown option "page"`,
		"sqlite:data.db?sync=soon":      "on or off",
		"badger:./data?key=secret":      `unknown option "key"`,
		"badger:./data?key-file=":       "the value is empty",
		"badger:./data?key-env=":        "the value is empty",
		"badger:./data?gc=5m":           `unknown option "gc"`,
		"badger:./data?verify=maybe":    "on or off",
		"ko:./data?invalid=on":          "expected refuse or skip",
		"ko:./data?recover=1":           "expected on or off",
		"ko:./data?repair=on":           "recover=(on or off)",
		"pebble:./data?readonly=please": "on or off",
	} {
		layer, err := engine.Open(url, all.Engines()...)
		if layer != nil || !errors.Is(err, engine.ErrInvalidURL) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s opens %v, %v, want %q", url, layer, err, text)
		}
	}
}
