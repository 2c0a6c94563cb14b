package engine

import (
	"fmt"

	"github.com/oolith-db/oolith/engine/ko"
	"github.com/oolith-db/oolith/storage"
)

var koOptions = []option[ko.Options]{
	{"sync", onOrOff, func(o *ko.Options, value string) error {
		on, err := parseSwitch(value)
		if err == nil && !on {
			o.Durability = ko.DurabilityNoSync
		}
		return err
	}},
	{"cache", sizeInBytes, func(o *ko.Options, value string) error {
		size, err := parseSize(value)
		o.CacheSize = size
		return err
	}},
	// recover=on rebuilds a database that is corrupt from what is readable of it.
	{"recover", onOrOff, func(o *ko.Options, value string) (err error) {
		o.Recover, err = parseSwitch(value)
		return err
	}},
	// invalid=skip opens a database that has keys which are no valid paths, without them.
	{"invalid", "refuse or skip", func(o *ko.Options, value string) error {
		switch value {
		case "refuse":
		case "skip":
			o.SkipInvalid = true
		default:
			return fmt.Errorf("unknown value %q", value)
		}
		return nil
	}},
}

func newKo(dir string, options ko.Options) storage.EmbeddedLayer {
	return ko.New(dir, options)
}
