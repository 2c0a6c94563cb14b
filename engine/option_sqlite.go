package engine

import (
	"github.com/oolith-db/oolith/engine/sqlite"
	"github.com/oolith-db/oolith/storage"
)

var sqliteOptions = []option[sqlite.Options]{
	{"sync", onOrOff, func(o *sqlite.Options, value string) error {
		on, err := parseSwitch(value)
		if err == nil && !on {
			o.Durability = sqlite.DurabilityNoSync
		}
		return err
	}},
	{"cache", sizeInBytes, func(o *sqlite.Options, value string) error {
		size, err := parseSize(value)
		o.CacheSize = size
		return err
	}},
}

func newSQLite(file string, options sqlite.Options) storage.EmbeddedLayer {
	return sqlite.New(file, options)
}
