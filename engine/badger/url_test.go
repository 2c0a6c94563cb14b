package badger

import (
	"reflect"
	"testing"

	"github.com/oolith-db/oolith/engine"
)

// A URL sets the options of the layer.
func TestURL(t *testing.T) {
	for query, want := range map[string]Options{
		"":                    {},
		"sync=off&cache=8MiB": {Durability: DurabilityNoSync, CacheSize: 8 << 20},
		"sync=on&verify=off":  {SkipVerify: true},
		"key-file=/a/key":     {KeyFile: "/a/key"},
		"key-env=KEY":         {KeyEnv: "KEY"},
		"readonly=on":         {ReadOnly: true},
		"min-free=64MiB":      {MinFree: 64 << 20},
	} {
		layer, err := engine.Open("badger:place?"+query, Engine)
		if err != nil {
			t.Fatal(err)
		}
		l := layer.(*Layer)
		want = want.withDefaults()
		if at := l.dir; at != "place" || !reflect.DeepEqual(l.options, want) {
			t.Errorf("%s sets %+v at %q, want %+v", query, l.options, at, want)
		}
	}
}
