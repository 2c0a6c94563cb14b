package ko

import (
	"fmt"

	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/storage"
)

// Engine opens stores by URLs of the form ko:DIRECTORY. Pass it to oolith.Open or engine.Open.
var Engine = engine.New("ko", "DIRECTORY", []engine.Option[Options]{
	engine.Switch("sync", func(o *Options, on bool) {
		if !on {
			o.Durability = DurabilityNoSync
		}
	}),
	engine.Switch("readonly", func(o *Options, on bool) { o.ReadOnly = on }),
	engine.Size("cache", func(o *Options, bytes int64) { o.CacheSize = bytes }),
	// recover=on rebuilds a corrupt database from what is readable of it.
	engine.Switch("recover", func(o *Options, on bool) { o.Recover = on }),
	// invalid=skip opens a database without its keys that are not valid paths and its entries that are not valid
	// objects.
	engine.Value("invalid", "refuse or skip", func(o *Options, value string) error {
		if value != "refuse" && value != "skip" {
			return fmt.Errorf("unknown value %q", value)
		}
		o.SkipInvalid = value == "skip"
		return nil
	}),
}, func(location string, options Options) storage.EmbeddedLayer { return New(location, options) }).Recognized(isDatabase)
