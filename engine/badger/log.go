package badger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// logger receives Badger's messages. It prints nothing. Some messages are the only sign of what Badger does or has
// met. They are recognized by their format, and tests ensure that Badger still sends them.
type logger struct{ *store }

// The prefixes of the relevant formats.
const (
	syncFailed       = "Error while curlf sync"
	flushFailed      = "error flushing memtable to disk"
	writeFailed      = "writeRequests: "
	tableIgnored     = "Ignoring table"
	logNotRemoved    = "while deleting file" // the next start would replay the log
	compactionFailed = "[Compactor: %d] LOG Compact FAILED"
	readFailed       = "Unable to read: Key"
	readFailedMore   = "Key: %v, Version"
	readInvalid      = "Invalid read: vp"
	tableNext        = "[%d] LOG Compact. Added"
	tableRotated     = "Flushing memtable, mt.size"

	// The prefix of the error of a flush or a compaction that failed before it reached the list of tables.
	beforeListOfFlush      = "error while creating table"
	beforeListOfCompaction = "while running compactions for"
	// overtaken is the error of a compaction that another one made pointless. It is not a failure.
	overtaken = "there is a non-empty level"
)

// Errorf implements badger.Logger.
func (g logger) Errorf(format string, args ...any) {
	begins := func(with string) bool { return strings.HasPrefix(format, with) }
	switch {
	case begins(readFailed), begins(readFailedMore), begins(readInvalid):
		g.debug(format, args) // the reader gets its own error
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

// errorBegins reports whether the text of the error among the arguments begins with a prefix.
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

// maxMessage limits how much of a message an error includes: some messages contain a dump of keys.
const maxMessage = 500

func message(format string, args []any) string {
	text := enginekit.OneLine(fmt.Sprintf(format, args...))
	if len(text) > maxMessage {
		text = text[:maxMessage] + "..."
	}
	return text
}
