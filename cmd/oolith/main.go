// Command oolith imports, shows, changes and exports the objects of a store.
//
// Run "oolith help" for its commands, "oolith help paths" for what paths and patterns look
// like, and "oolith help exit-codes" for the exit codes.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
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
