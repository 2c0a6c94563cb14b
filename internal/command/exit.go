package command

import (
	"context"
	"errors"
	"strings"

	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/storage"
)

// The exit codes, documented in exitCodesHelp.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitRefused     = 3
	exitNotFound    = 4
	exitDamaged     = 5
	exitConflict    = 6
	exitInterrupted = 130
)

const exitCodesHelp = `  0    success
  1    failure of the store, a server, a file or the input; standard error has the reason
  2    wrong command line: a flag, an argument, a path, a pattern, invalid JSON
  3    import finished, but rejected some of the records
  4    there is no object at the path
  5    check found a problem in the store, or verify or restore in the backup
  6    a condition of a write did not hold, or a patch did not apply; nothing was changed
  130  interrupted (Ctrl-C, SIGTERM); everything stored until then is complete`

// codeError is an error with an exit code.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string { return e.err.Error() }
func (e *codeError) Unwrap() error { return e.err }

// usage marks an error of the command line; nil stays nil.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return &codeError{exitUsage, err}
}

// usageErrors are errors of the store about a wrong request.
var usageErrors = []error{
	storage.ErrInvalidPath, storage.ErrInvalidPattern, storage.ErrInvalidRange, storage.ErrInvalidLimit,
	storage.ErrInvalidStorageData, storage.ErrGlobNotAllowed, storage.ErrGlobRequired, storage.ErrInvalidTTL, storage.ErrInvalidOptions,
}

// exitCode returns the exit code of an error.
func exitCode(err error) int {
	var coded *codeError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &coded):
		return coded.code
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, storage.ErrNotFound), errors.Is(err, server.ErrNoToken):
		return exitNotFound
	case errors.Is(err, storage.ErrConflict):
		return exitConflict
	case isAny(err, usageErrors):
		return exitUsage
	default:
		return exitFailure
	}
}

func isAny(err error, targets []error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// errorMessage is an error with --json.
type errorMessage struct {
	Error string `json:"error"`
	// Code is the exit code of the kind.
	Code int `json:"code"`
}

// errorLine formats an error as a line of text, or with --json as an object.
func (a *app) errorLine(err error, code int) string {
	if !a.json {
		return "oolith: " + oneLine(err)
	}
	var line strings.Builder
	_ = writeJSON(&line, errorMessage{oneLine(err), code}) // of a text and a number it cannot fail
	return strings.TrimSuffix(line.String(), "\n")
}
