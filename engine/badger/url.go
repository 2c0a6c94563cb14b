package badger

import (
	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Engine opens stores by URLs of the form badger:DIRECTORY. Pass it to oolith.Open or engine.Open.
var Engine = engine.New("badger", "DIRECTORY", []engine.Option[Options]{
	engine.Switch("sync", func(o *Options, on bool) {
		if !on {
			o.Durability = DurabilityNoSync
		}
	}),
	engine.Switch("readonly", func(o *Options, on bool) { o.ReadOnly = on }),
	engine.Size("cache", func(o *Options, bytes int64) { o.CacheSize = bytes }),
	engine.Size("min-free", func(o *Options, bytes int64) { o.MinFree = bytes }),
	engine.Text("key-file", "the path of a file that holds the key", func(o *Options, path string) { o.KeyFile = path }),
	engine.Text("key-env", "the name of an environment variable that holds the key", func(o *Options, name string) { o.KeyEnv = name }),
	// verify=off leaves the reading of all tables to Check.
	engine.Switch("verify", func(o *Options, on bool) { o.SkipVerify = !on }),
}, func(location string, options Options) storage.EmbeddedLayer { return New(location, options) }).Recognized(func(location string) (bool, error) {
	return enginekit.HasFormat(location, formatName)
})
