package engine

import (
	"github.com/oolith-db/oolith/engine/pebble"
	"github.com/oolith-db/oolith/storage"
)

var pebbleOptions = []option[pebble.Options]{
	{"sync", onOrOff, func(o *pebble.Options, value string) error {
		on, err := parseSwitch(value)
		if err == nil && !on {
			o.Durability = pebble.DurabilityNoSync
		}
		return err
	}},
	{"cache", sizeInBytes, func(o *pebble.Options, value string) error {
		size, err := parseSize(value)
		o.CacheSize = size
		return err
	}},
}

func newPebble(dir string, options pebble.Options) storage.EmbeddedLayer {
	return pebble.New(dir, options)
}
