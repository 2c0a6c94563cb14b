// Command oolith imports, shows, changes, exports and serves the objects of a store.
//
// Run "oolith help" for its commands, "oolith help paths" for what paths and patterns look
// like, and "oolith help exit-codes" for the exit codes.
package main

import "github.com/oolith-db/oolith/internal/command"

func main() { command.Main() }
