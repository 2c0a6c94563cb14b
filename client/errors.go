package client

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/oolith-db/oolith/storage"
)

// Error is what the server answered in place of what was asked for.
type Error struct {
	// Kind is the kind of the problem, such as "not-found"; docs/problems.md has them. Empty for an answer that is no problem.
	Kind string
	// Status is the status code.
	Status int
	// Detail says in one line what is wrong.
	Detail string
	// RequestID finds the request in the server's log.
	RequestID string
	// Revision is that of the object that is there, where a condition did not hold; 0 for none.
	Revision uint64
	// Parameter is the parameter of the request that is wrong; empty for none.
	Parameter string
	// Entry is the place of the change that cannot be made in its batch, from 0.
	Entry int
}

func (e *Error) Error() string {
	kind := e.Kind
	if kind == "" {
		kind = http.StatusText(e.Status)
	}
	return fmt.Sprintf("%s (%d %s)", e.Detail, e.Status, kind)
}

// sentinels are the errors of a store that kinds of problems stand for.
var sentinels = map[string]error{
	"not-found": storage.ErrNotFound, "invalid-path": storage.ErrInvalidPath, "invalid-json": storage.ErrInvalidStorageData,
	"condition-failed": storage.ErrConflict, "not-supported": storage.ErrBatchUnsupported, "read-only": storage.ErrReadOnly,
	"unavailable": storage.ErrNotActive,
}

// parameters are those that a parameter stands for that is wrong.
var parameters = map[string]error{"cursor": storage.ErrInvalidCursor, "limit": storage.ErrInvalidLimit, "to": storage.ErrInvalidRange}

// Is makes errors.Is hold for the error of package storage that says the same.
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

// conflict is a condition that does not hold: the error of a store, and the server's, which says the same.
type conflict struct {
	of       storage.ConflictError
	answered *Error
}

func (e *conflict) Error() string   { return e.of.Error() }
func (e *conflict) Unwrap() []error { return []error{&e.of, e.answered} }

const problemType = "application/problem+json"

// maxProblem is how much of an error's body is read.
const maxProblem = 1 << 20

// readError makes an error of an answer.
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
