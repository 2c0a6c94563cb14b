package pebble

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// logger receives Pebble's messages. It prints nothing, and Fatalf does not exit.
type logger struct {
	to   *slog.Logger
	disk *failstopFS
}

// Infof implements pebble.Logger.
func (g logger) Infof(format string, args ...any) {
	if g.to.Enabled(context.Background(), slog.LevelDebug) {
		g.to.Debug(enginekit.OneLine(fmt.Sprintf(format, args...)))
	}
}

// Errorf implements pebble.Logger.
func (g logger) Errorf(format string, args ...any) {
	g.to.Error(enginekit.OneLine(fmt.Sprintf(format, args...)))
}

// Fatalf implements pebble.Logger. Pebble's own exits the process. Since failstopFS hides the errors of the disk, a
// call here reports a contradiction that Pebble found in itself or in its files. Writing stops as after a failure of
// the disk, so none of it reaches the directory, and Pebble continues.
func (g logger) Fatalf(format string, args ...any) {
	message := enginekit.OneLine(fmt.Sprintf(format, args...))
	g.to.Error(message)
	g.disk.fail(errors.New(message))
}

// events reports errors in the background. By default, the error of a corrupt table would be fatal: here the reader
// that finds the damage gets the error.
func (g logger) events() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) { g.Errorf("background error: %v", err) },
		DataCorruption:  func(info pebble.DataCorruptionInfo) { g.Errorf("%v", info) },
	}
}
