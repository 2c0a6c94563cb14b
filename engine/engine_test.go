package engine_test

import (
	"errors"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/storage"
)

// rockOptions are the options of an engine that the tests of this package make.
type rockOptions struct {
	sync  bool
	cache int64
	key   string
	level int
}

// rockLayer remembers how it was opened.
type rockLayer struct {
	storage.EmbeddedLayer
	location string
	options  rockOptions
}

var rock = engine.New("rock", "DIRECTORY", []engine.Option[rockOptions]{
	engine.Switch("sync", func(o *rockOptions, on bool) { o.sync = on }),
	engine.Size("cache", func(o *rockOptions, bytes int64) { o.cache = bytes }),
	engine.Text("key", "the name of a key", func(o *rockOptions, key string) { o.key = key }),
	engine.Value("level", "a level", func(o *rockOptions, value string) (err error) {
		o.level, err = strconv.Atoi(value)
		return err
	}),
}, func(location string, options rockOptions) storage.EmbeddedLayer {
	return &rockLayer{location: location, options: options}
})

func TestOpen(t *testing.T) {
	for _, c := range []struct {
		url, location string
		options       rockOptions
	}{
		{"rock:data", "data", rockOptions{}},
		{"rock:./data?", "./data", rockOptions{}},
		{"rock:/a/b?sync=on&cache=8MiB&key=k&level=3", "/a/b", rockOptions{true, 8 << 20, "k", 3}},
		{"rock:///a/b", "/a/b", rockOptions{}},
		{"rock:a%3Fb?sync=on", "a?b", rockOptions{sync: true}},
		{"rock:100%25", "100%", rockOptions{}},
		{`rock:C:\data`, `C:\data`, rockOptions{}},
		{"rock:./~/data", "./~/data", rockOptions{}},
		{"rock:a b/~c", "a b/~c", rockOptions{}},
		{"rock:a+b", "a+b", rockOptions{}},
		{"rock:./ x", "./ x", rockOptions{}},
	} {
		layer, err := engine.Open(c.url, rock)
		opened, ok := layer.(*rockLayer)
		if err != nil || !ok || opened.location != c.location || opened.options != c.options {
			t.Errorf("%s opens %+v, %v, want %q with %+v", c.url, layer, err, c.location, c.options)
		}
		if location, err := engine.Location(c.url); err != nil || location != c.location {
			t.Errorf("the location of %s is %q, %v, want %q", c.url, location, err, c.location)
		}
		config, err := engine.Config(c.url, rock)
		if err != nil || config.Memory == nil || config.Embedded == nil {
			t.Errorf("%s: the config is %+v, %v", c.url, config, err)
		}
	}
	layer, err := engine.Open("memory:", rock)
	if layer != nil || err != nil {
		t.Errorf("memory: opens %v, %v, want no layer", layer, err)
	}
	config, err := engine.Config("memory:")
	if err != nil || config.Memory == nil || config.Embedded != nil || config.Persistent != nil {
		t.Errorf("memory: the config is %+v, %v", config, err)
	}
}

// What is no URL of a store is an error that names the URL and says what is expected.
func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct {
		url   string
		texts []string
	}{
		{"", []string{"the scheme is missing", "memory:", "rock:DIRECTORY"}},
		{"./data", []string{"the scheme is missing", "memory:", "rock:DIRECTORY"}},
		{"pebble:./data", []string{`unknown scheme "pebble"`, "memory:", "rock:DIRECTORY"}},
		{"Rock:./data", []string{`unknown scheme "Rock"`}},
		{"rock:", []string{"the location is missing", "rock:DIRECTORY"}},
		{"rock:?sync=off", []string{"the location is missing"}},
		{"rock:./data?sink=off", []string{`unknown option "sink"`, "sync=(on or off)", "cache=(", "key=(the name of a key)"}},
		{"rock:./data?sync=maybe", []string{"sync=maybe", "on or off"}},
		{"rock:./data?sync", []string{"sync=", "on or off"}},
		{"rock:./data?sync=on&sync=off", []string{"occurs 2 times"}},
		{"rock:./data?key=", []string{"the value is empty"}},
		{"rock:./data?level=x", []string{"level=x", "expected a level"}},
		{"rock:./data?cache=-1", []string{"cache=-1", "out of range", "64MiB"}},
		{"rock:./data?cache=1TB", []string{"cache=1TB", "invalid size"}},
		{"rock:./data?%zz", []string{"options", "%zz"}},
		{"memory:here", []string{`unexpected "here"`}},
		{"memory:?sync=off", []string{`unknown option "sync"`, "expected none"}},

		{"rock://data", []string{"names a host", "rock:data", "rock:/data"}},
		{"rock://data/x", []string{"names a host", "rock:data/x"}},
		{"rock://", []string{"names a host"}},
		{"rock:///", []string{"names a host"}},
		{"rock:~/data", []string{"rock:$HOME/data", "rock:./~/data"}},
		{"rock:~", []string{"rock:$HOME"}},
		{"rock::memory:", []string{"expected memory:"}},
		{"rock:file:x.db", []string{"expected rock:x.db"}},
		{"rock: x", []string{"a space", "rock:x", "rock:./NAME"}},
		{"rock:x ", []string{"a space", "rock:x"}},
		{"rock:x%20", []string{"a space"}},
		{"rock:a%00b", []string{"control character"}},
		{"rock:100%", []string{"%25"}},
		{"rock:a%zz", []string{"%25"}},
	} {
		t.Run(c.url, func(t *testing.T) {
			layer, err := engine.Open(c.url, rock)
			if layer != nil || !errors.Is(err, engine.ErrInvalidURL) {
				t.Fatalf("opened %v, %v, want ErrInvalidURL", layer, err)
			}
			for _, text := range append(c.texts, strconv.Quote(c.url)) {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("the error is %q, want %q in it", err, text)
				}
			}
			if _, err := engine.Config(c.url, rock); !errors.Is(err, engine.ErrInvalidURL) {
				t.Errorf("Config returns %v", err)
			}
		})
	}
}

// A program that passes no engine is told what to pass.
func TestOpenWithoutEngines(t *testing.T) {
	layer, err := engine.Open("rock:./data")
	if layer != nil || !errors.Is(err, engine.ErrInvalidURL) || !strings.Contains(err.Error(), "Open(url, pebble.Engine)") {
		t.Errorf("opened %v, %v, want ErrInvalidURL and how to pass an engine", layer, err)
	}
}

func TestForms(t *testing.T) {
	if forms := engine.Forms(rock); !slices.Equal(forms, []string{"memory:", "rock:DIRECTORY"}) {
		t.Errorf("the forms are %q", forms)
	}
}

func TestSize(t *testing.T) {
	for value, want := range map[string]int64{
		"1": 1, "1048576": 1 << 20, "3KiB": 3 << 10, "64MiB": 64 << 20, "2GiB": 2 << 30,
		"9223372036854775807": math.MaxInt64,
	} {
		layer, err := engine.Open("rock:x?cache="+value, rock)
		if err != nil || layer.(*rockLayer).options.cache != want {
			t.Errorf("%s is %+v, %v, want %d", value, layer, err, want)
		}
	}
	for _, value := range []string{"", "0", "KiB", "1.5MiB", "1%20MiB", "0x10", "9223372036854775807KiB", "1mib"} {
		if layer, err := engine.Open("rock:x?cache="+value, rock); err == nil {
			t.Errorf("%q is %+v, want an error", value, layer)
		}
	}
}

// FuzzOpen makes layers of anything: what is no URL of a store is ErrInvalidURL, what is one has a known
// scheme and a layer whose location another URL names too, and nothing is touched either way.
func FuzzOpen(f *testing.F) {
	for _, seed := range []string{
		"", ":", "memory:", "memory:x", "memory:?", "rock:./data", "rock:./data?sync=off&cache=64MiB", "rock:?sync=on",
		"rock:d?key=k&level=5", "rock:d?sync=on&sync=off", "rock:d?cache=-1", "rock:d?cache=99999999999999999999GiB",
		"rock:d?%zz", "redis:host", "rock:a?b=c;d", "rock://a", "rock:///a", "rock:~/a", "rock:%3F", "rock:%zz", "rock: a", "rock::memory:",
	} {
		f.Add(seed)
	}
	f.Chdir(f.TempDir())
	f.Fuzz(func(t *testing.T, storeURL string) {
		layer, err := engine.Open(storeURL, rock)
		if files, readErr := os.ReadDir("."); readErr != nil || len(files) > 0 {
			t.Fatalf("Open(%q) left %v, %v", storeURL, files, readErr)
		}
		if err != nil {
			if !errors.Is(err, engine.ErrInvalidURL) || layer != nil {
				t.Fatalf("Open(%q) = %v, %v, want ErrInvalidURL alone", storeURL, layer, err)
			}
			return
		}
		location, err := engine.Location(storeURL)
		if err != nil {
			t.Fatalf("Location(%q): %v, though it opens", storeURL, err)
		}
		scheme, _, _ := strings.Cut(storeURL, ":")
		opened, ok := layer.(*rockLayer)
		switch {
		case scheme == "memory" && layer == nil && location == "":
		case scheme != "rock" || !ok || location == "" || opened.location != location:
			t.Fatalf("Open(%q) = %+v at %q", storeURL, layer, location)
		default:
			if again, err := engine.Location(engine.URL(scheme, location)); err != nil || again != location {
				t.Fatalf("Open(%q): the URL of %q is of %q, %v", storeURL, location, again, err)
			}
		}
	})
}
