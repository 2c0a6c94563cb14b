package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/oolith-db/oolith/engine/badger"
	"github.com/oolith-db/oolith/storage"
)

var badgerOptions = []option[badger.Options]{
	{"sync", onOrOff, func(o *badger.Options, value string) error {
		on, err := parseSwitch(value)
		if err == nil && !on {
			o.Durability = badger.DurabilityNoSync
		}
		return err
	}},
	{"cache", sizeInBytes, func(o *badger.Options, value string) error {
		size, err := parseSize(value)
		o.CacheSize = size
		return err
	}},
	{"key-file", "the path of a file that holds the key", func(o *badger.Options, value string) error {
		o.KeyFile = value
		return notEmpty(value)
	}},
	{"key-env", "the name of an environment variable that holds the key", func(o *badger.Options, value string) error {
		o.KeyEnv = value
		return notEmpty(value)
	}},
	{"gc", "off or a time such as 5m or 1h", func(o *badger.Options, value string) error {
		if value == "off" {
			o.GCInterval = -1
			return nil
		}
		interval, err := time.ParseDuration(value)
		if err == nil && interval <= 0 {
			err = fmt.Errorf("the interval %v is not positive", interval)
		}
		o.GCInterval = interval
		return err
	}},
	// verify=off leaves out the reading of all tables at the start.
	{"verify", onOrOff, func(o *badger.Options, value string) error {
		on, err := parseSwitch(value)
		o.SkipVerify = err == nil && !on
		return err
	}},
}

func notEmpty(value string) error {
	if value == "" {
		return errors.New("nothing is given")
	}
	return nil
}

func newBadger(dir string, options badger.Options) storage.EmbeddedLayer {
	return badger.New(dir, options)
}
