package sqlite

import (
	"testing"

	"github.com/oolith-db/oolith/engine"
)

// A URL sets the options of the layer.
func TestURL(t *testing.T) {
	for query, want := range map[string]Options{
		"":                    {},
		"sync=on":             {},
		"sync=off&cache=8MiB": {Durability: DurabilityNoSync, CacheSize: 8 << 20},
		"readonly=on":         {ReadOnly: true},
	} {
		layer, err := engine.Open("sqlite:place?"+query, Engine)
		if err != nil {
			t.Fatal(err)
		}
		l := layer.(*Layer)
		want = want.withDefaults()
		if at := l.file; at != "place" || l.options != want {
			t.Errorf("%s sets %+v at %q, want %+v", query, l.options, at, want)
		}
	}
}
