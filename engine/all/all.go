// Package all has all engines of this module, for programs that open any store, such as the command line. A program
// with a fixed engine imports only that one.
package all

import (
	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/engine/badger"
	"github.com/oolith-db/oolith/engine/ko"
	"github.com/oolith-db/oolith/engine/pebble"
	"github.com/oolith-db/oolith/engine/sqlite"
)

// Engines returns the engines, for oolith.Open, engine.Open or engine.Config.
func Engines() []engine.Engine {
	return []engine.Engine{pebble.Engine, sqlite.Engine, badger.Engine, ko.Engine}
}
