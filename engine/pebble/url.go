package pebble

import (
	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Engine opens stores by URLs of the form pebble:DIRECTORY. Pass it to oolith.Open or engine.Open.
var Engine = engine.New("pebble", "DIRECTORY", []engine.Option[Options]{
	engine.Switch("sync", func(o *Options, on bool) {
		if !on {
			o.Durability = DurabilityNoSync
		}
	}),
	engine.Switch("readonly", func(o *Options, on bool) { o.ReadOnly = on }),
	engine.Size("cache", func(o *Options, bytes int64) { o.CacheSize = bytes }),
}, func(location string, options Options) storage.EmbeddedLayer { return New(location, options) }).Recognized(func(location string) (bool, error) {
	return enginekit.HasFormat(location, formatName)
})
