package client

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/oolith-db/oolith/storage"
)

// Error is an error answer of the server.
type Error struct {
	// Kind is the kind of the problem, such as "not-found"; see docs/problems.md. It is empty for an answer that is
	// not a problem document.
	Kind string
	// Status is the HTTP status code.
	Status int
	// Detail describes the problem in one line.
	Detail string
	// RequestID identifies the request in the server's log.
	RequestID string
	// Revision is the revision of the existing object if a condition did not hold; 0 for none.
	Revision uint64
	// Parameter is the name of the wrong request parameter; empty for none.
	Parameter string
	// Entry is the index of the change in its batch that cannot be made, from 0.
	Entry int
}

func (e *Error) Error() string {
	if e.Kind == "not-found" && strings.HasPrefix(e.Detail, "there is no object at ") {
		return storage.ErrNotFound.Error() // the same text as in the process
	}
	kind := e.Kind
	if kind == "" {
		kind = http.StatusText(e.Status)
	}
	return fmt.Sprintf("%s (%d %s)", e.Detail, e.Status, kind)
}

// sentinels maps kinds of problems to errors of package storage.
var sentinels = map[string]error{
	"not-found": storage.ErrNotFound, "invalid-path": storage.ErrInvalidPath, "invalid-json": storage.ErrInvalidStorageData,
	"condition-failed": storage.ErrConflict, "not-supported": storage.ErrBatchUnsupported, "read-only": storage.ErrReadOnly,
	"unavailable": storage.ErrNotActive,
}

// parameters maps wrong parameters to errors of package storage.
var parameters = map[string]error{"cursor": storage.ErrInvalidCursor, "limit": storage.ErrInvalidLimit, "to": storage.ErrInvalidRange}

// Is reports whether target is the error of package storage with the same meaning.
func (e *Error) Is(target error) bool {
	known := sentinels[e.Kind]
	switch e.Kind {
	case "invalid-parameter":
		known = parameters[e.Parameter]
	case "unavailable": // one status for all: clients do the same
		for _, other := range []error{storage.ErrWritesStopped, storage.ErrUnavailable, storage.ErrStale} {
			if strings.Contains(e.Detail, other.Error()) {
				known = other
			}
		}
	}
	return known != nil && known == target
}

// conflict is a failed condition: the error of a store together with the server's.
type conflict struct {
	of       storage.ConflictError
	answered *Error
}

func (e *conflict) Error() string   { return e.of.Error() }
func (e *conflict) Unwrap() []error { return []error{&e.of, e.answered} }

const problemType = "application/problem+json"

// maxProblem limits how much of an error's body is read.
const maxProblem = 1 << 20

// readError builds an error from an answer.
func readError(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil {
		return fmt.Errorf("incomplete answer %s of the server, %w", resp.Status, err)
	}
	e := &Error{Status: resp.StatusCode, RequestID: resp.Header.Get("X-Request-Id"), Detail: strings.TrimSpace(string(body[:min(len(body), 200)]))}
	var problem struct {
		Type, Detail, Parameter string
		Revision                uint64
		Entry                   int
	}
	if resp.Header.Get("Content-Type") == problemType && json.Unmarshal(body, &problem) == nil {
		e.Kind = problem.Type[strings.LastIndexByte(problem.Type, '#')+1:]
		e.Detail, e.Revision, e.Parameter, e.Entry = problem.Detail, problem.Revision, problem.Parameter, problem.Entry
	}
	return e
}
