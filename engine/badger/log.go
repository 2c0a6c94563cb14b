package badger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// logger takes Badger's messages. Nothing is printed. Some of them are the only sign of what Badger does or has met;
// they are known by their format, and tests make sure that Badger still sends them.
type logger struct{ *store }

// The formats that matter, as they begin.
const (
	syncFailed       = "Error while curlf sync"
	flushFailed      = "error flushing memtable to disk"
	writeFailed      = "writeRequests: "
	tableIgnored     = "Ignoring table"
	logNotRemoved    = "while deleting file" // it would be read back
	compactionFailed = "[Compactor: %d] LOG Compact FAILED"
	readFailed       = "Unable to read: Key"
	readFailedMore   = "Key: %v, Version"
	readInvalid      = "Invalid read: vp"
	tableNext        = "[%d] LOG Compact. Added"
	tableRotated     = "Flushing memtable, mt.size"

	// What the error of a flush or a compaction begins with that failed before it came to the list of tables.
	beforeListOfFlush      = "error while creating table"
	beforeListOfCompaction = "while running compactions for"
	// overtaken is a compaction that another one made pointless. It is no failure.
	overtaken = "there is a non-empty level"
)

// Errorf implements badger.Logger.
func (g logger) Errorf(format string, args ...any) {
	begins := func(with string) bool { return strings.HasPrefix(format, with) }
	switch {
	case begins(readFailed), begins(readFailedMore), begins(readInvalid):
		g.debug(format, args) // whoever reads gets an error of its own
		return
	case begins(syncFailed), begins(writeFailed), begins(tableIgnored), begins(logNotRemoved):
		g.health.fail(errors.New(message(format, args)))
	case begins(flushFailed):
		err := g.health.fail(errors.New(message(format, args)))
		if !errorBegins(args, beforeListOfFlush) {
			g.hold(err)
		}
		g.health.retried()
	}
	g.log.Error("badger: "+message(format, args), "dir", g.dir)
}

// Warningf implements badger.Logger.
func (g logger) Warningf(format string, args ...any) {
	if strings.HasPrefix(format, compactionFailed) && !errorBegins(args, overtaken) {
		err := g.health.fail(errors.New(message(format, args)))
		if !errorBegins(args, beforeListOfCompaction) {
			g.hold(err)
		}
	}
	g.debug(format, args)
}

// errorBegins tells how the text of the error among the arguments begins.
func errorBegins(args []any, with string) bool {
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			return strings.HasPrefix(err.Error(), with)
		}
	}
	return false
}

// Infof implements badger.Logger.
func (g logger) Infof(format string, args ...any) { g.debug(format, args) }

// Debugf implements badger.Logger.
func (g logger) Debugf(format string, args ...any) {
	switch {
	case strings.HasPrefix(format, tableNext):
		g.gate()
	case strings.HasPrefix(format, tableRotated):
		g.rotations.Add(1)
	}
	g.debug(format, args)
}

func (g logger) debug(format string, args []any) {
	if g.log.Enabled(context.Background(), slog.LevelDebug) {
		g.log.Debug("badger: "+message(format, args), "dir", g.dir)
	}
}

// maxMessage bounds what an error takes over of a message: some hold a dump of keys.
const maxMessage = 500

func message(format string, args []any) string {
	text := enginekit.OneLine(fmt.Sprintf(format, args...))
	if len(text) > maxMessage {
		text = text[:maxMessage] + "..."
	}
	return text
}
