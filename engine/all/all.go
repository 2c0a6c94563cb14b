// Package all has all engines of this module, for a program that opens any store: the command line does. A
// program that knows its engine imports that one alone.
package all

import (
	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/engine/badger"
	"github.com/oolith-db/oolith/engine/ko"
	"github.com/oolith-db/oolith/engine/pebble"
	"github.com/oolith-db/oolith/engine/sqlite"
)

// Engines returns them, to be passed to oolith.Open, engine.Open or engine.Config.
func Engines() []engine.Engine {
	return []engine.Engine{pebble.Engine, sqlite.Engine, badger.Engine, ko.Engine}
}
