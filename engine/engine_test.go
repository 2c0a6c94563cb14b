package engine

import (
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/engine/pebble"
	"github.com/oolith-db/oolith/storage"
)

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct {
		url   string
		texts []string
	}{
		{"", []string{"no scheme", "memory:", "pebble:DIRECTORY"}},
		{"./data", []string{"no scheme", "memory:", "pebble:DIRECTORY"}},
		{"papple:./data", []string{`unknown scheme "papple"`, "memory:", "pebble:DIRECTORY"}},
		{"Pebble:./data", []string{`unknown scheme "Pebble"`}},
		{"pebble:", []string{"nothing after the scheme", "pebble:DIRECTORY"}},
		{"pebble:?sync=off", []string{"nothing after the scheme"}},
		{"pebble:./data?sink=off", []string{`unknown option "sink"`, "sync=(on or off)", "cache=("}},
		{"pebble:./data?sync=maybe", []string{"sync=maybe", "on or off"}},
		{"pebble:./data?sync", []string{"sync=", "on or off"}},
		{"pebble:./data?sync=on&sync=off", []string{"given 2 times"}},
		{"pebble:./data?cache=-1", []string{"cache=-1", "out of range", "64MiB"}},
		{"pebble:./data?cache=0", []string{"cache=0", "out of range"}},
		{"pebble:./data?cache=1TB", []string{"cache=1TB", "invalid size"}},
		{"pebble:./data?cache=9999999999GiB", []string{"out of range"}},
		{"pebble:./data?%zz", []string{"options", "%zz"}},
		{"memory:here", []string{`unexpected "here"`}},
		{"memory:?sync=off", []string{`unknown option "sync"`, "expected none"}},
	} {
		t.Run(c.url, func(t *testing.T) {
			layer, err := Open(c.url)
			if layer != nil || !errors.Is(err, ErrInvalidURL) {
				t.Fatalf("opened %v, %v, expected ErrInvalidURL", layer, err)
			}
			for _, text := range append(c.texts, c.url) {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("the error is %q, expected %q in it", err, text)
				}
			}
			if _, err := Config(c.url); !errors.Is(err, ErrInvalidURL) {
				t.Errorf("Config returns %v", err)
			}
		})
	}
}

func TestForms(t *testing.T) {
	forms := Forms()
	if len(forms) < 2 || forms[0] != "memory:" || forms[1] != "pebble:DIRECTORY" {
		t.Errorf("the forms are %q", forms)
	}
}

func TestOpenMemory(t *testing.T) {
	layer, err := Open("memory:")
	if layer != nil || err != nil {
		t.Errorf("opened %v, %v, expected no layer", layer, err)
	}
	config, err := Config("memory:")
	if err != nil || config.Memory == nil || config.Embedded != nil || config.Persistent != nil {
		t.Errorf("the config is %+v, %v", config, err)
	}
}

func TestOpenPebble(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	for _, url := range []string{"pebble:" + dir, "pebble:" + dir + "?", "pebble:" + dir + "?sync=off&cache=8MiB"} {
		config, err := Config(url)
		if err != nil || config.Memory == nil {
			t.Fatalf("%s: the config is %+v, %v", url, config, err)
		}
		if _, ok := config.Embedded.(*pebble.Layer); !ok {
			t.Errorf("%s opens a %T", url, config.Embedded)
		}
		if err := config.Embedded.Start(storage.LayerOptions{}); err != nil {
			t.Errorf("%s: %v", url, err)
		}
		config.Embedded.Close()
	}
}

func TestPebbleOptions(t *testing.T) {
	var options pebble.Options
	err := setOptions(pebbleOptions, &options, map[string][]string{"sync": {"off"}, "cache": {"8MiB"}})
	if err != nil || options.Durability != pebble.DurabilityNoSync || options.CacheSize != 8<<20 {
		t.Errorf("the options are %+v, %v", options, err)
	}
	options = pebble.Options{}
	err = setOptions(pebbleOptions, &options, map[string][]string{"sync": {"on"}})
	if err != nil || options.Durability != pebble.DurabilitySync {
		t.Errorf("the options are %+v, %v", options, err)
	}
}

func TestParseSize(t *testing.T) {
	for value, want := range map[string]int64{
		"1": 1, "1048576": 1 << 20, "3KiB": 3 << 10, "64MiB": 64 << 20, "2GiB": 2 << 30,
		"9223372036854775807": math.MaxInt64,
	} {
		if got, err := parseSize(value); err != nil || got != want {
			t.Errorf("%s is %d, %v, expected %d", value, got, err, want)
		}
	}
	for _, value := range []string{"", "KiB", "1.5MiB", "1 MiB", "0x10", "9223372036854775807KiB", "1mib"} {
		if got, err := parseSize(value); err == nil {
			t.Errorf("%q is %d, expected an error", value, got)
		}
	}
}
