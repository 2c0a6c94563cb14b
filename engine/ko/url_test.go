package ko

import (
	"testing"

	"github.com/oolith-db/oolith/engine"
)

// A URL sets the options of the layer.
func TestURL(t *testing.T) {
	for query, want := range map[string]Options{
		"sync=on&recover=off&invalid=refuse": {},
		"sync=off":                           {Durability: DurabilityNoSync},
		"cache=8MiB":                         {CacheSize: 8 << 20},
		"recover=on&invalid=skip":            {Recover: true, SkipInvalid: true},
		"sync=off&cache=1GiB&recover=on&invalid=refuse": {Durability: DurabilityNoSync, CacheSize: 1 << 30, Recover: true},
		"readonly=on": {ReadOnly: true},
	} {
		layer, err := engine.Open("ko:place?"+query, Engine)
		if err != nil {
			t.Fatal(err)
		}
		l := layer.(*Layer)
		want = want.withDefaults()
		if at := l.dir; at != "place" || l.options != want {
			t.Errorf("%s sets %+v at %q, want %+v", query, l.options, at, want)
		}
	}
}
