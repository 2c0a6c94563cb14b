// Package command is the command line: package main of cmd/oolith and of those modules that add engines to it.
//
// Run "oolith help" for its commands, "oolith help paths" for what paths and patterns look
// like, and "oolith help exit-codes" for the exit codes.
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

// engines are those that the program has. They do not change once it runs.
var engines = all.Engines()

// Main runs the command line with the engines of this module and some more. It ends the process.
func Main(more ...engine.Engine) {
	engines = slices.Concat(engines, more)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal stops the command at a whole record, a second one kills it.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, environment{
		getenv:  os.Getenv,
		program: programName(),
		in:      terminalOf(os.Stdin),
		out:     terminalOf(os.Stdout),
		err:     terminalOf(os.Stderr),
	}))
}
