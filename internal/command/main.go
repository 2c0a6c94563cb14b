// Package command is the command line. cmd/oolith, and modules that add engines, start it.
//
// Run "oolith help" for its commands, "oolith help paths" for paths and patterns, and "oolith help exit-codes" for
// the exit codes.
package command

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/engine/all"
)

// engines are the engines of the program. They do not change after the start.
var engines = all.Engines()

// Main runs the command line with the engines of this module and additional ones. It ends the process.
func Main(more ...engine.Engine) {
	engines = slices.Concat(engines, more)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal stops the command after a complete record, a second one kills it.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, environment{
		getenv:  os.Getenv,
		program: programName(),
		in:      terminalOf(os.Stdin),
		out:     terminalOf(os.Stdout),
		err:     terminalOf(os.Stderr),
	}))
}
