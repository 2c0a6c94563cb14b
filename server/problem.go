package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"

	"github.com/oolith-db/oolith/patch"
	"github.com/oolith-db/oolith/storage"
)

// ProblemBase is the beginning of the type of every problem: the page that explains it.
const ProblemBase = "https://github.com/oolith-db/oolith/blob/main/docs/problems.md#"

// Kind is the kind of a problem: the end of its type, and a heading of docs/problems.md.
type Kind string

// The kinds of problems.
const (
	InvalidPath        Kind = "invalid-path"
	InvalidJSON        Kind = "invalid-json"
	InvalidParameter   Kind = "invalid-parameter"
	InvalidHeader      Kind = "invalid-header"
	InvalidPatch       Kind = "invalid-patch"
	InvalidBatch       Kind = "invalid-batch"
	ListTooLarge       Kind = "list-too-large"
	Refused            Kind = "refused"
	Unauthenticated    Kind = "unauthenticated"
	Forbidden          Kind = "forbidden"
	ReservedPath       Kind = "reserved-path"
	ForeignOrigin      Kind = "foreign-origin"
	NotFound           Kind = "not-found"
	NoSuchResource     Kind = "no-such-resource"
	MethodNotAllowed   Kind = "method-not-allowed"
	BodyTimeout        Kind = "body-timeout"
	PatchDoesNotApply  Kind = "patch-does-not-apply"
	PatchTestFailed    Kind = "patch-test-failed"
	ConditionFailed    Kind = "condition-failed"
	TooLarge           Kind = "too-large"
	UnsupportedType    Kind = "unsupported-media-type"
	ForeignHost        Kind = "foreign-host"
	KeyReused          Kind = "idempotency-key-reused"
	ConditionRequired  Kind = "condition-required"
	TooManyRequests    Kind = "too-many-requests"
	TooManyConnections Kind = "too-many-connections"
	TooManyStreams     Kind = "too-many-streams"
	Internal           Kind = "internal"
	NotSupported       Kind = "not-supported"
	Unavailable        Kind = "unavailable"
	ReadOnly           Kind = "read-only"
)

// kinds has the status and the title of each kind.
var kinds = map[Kind]struct {
	status int
	title  string
}{
	InvalidPath:        {400, "The path or pattern is invalid"},
	InvalidJSON:        {400, "The body is not one JSON value"},
	InvalidParameter:   {400, "A query parameter is invalid"},
	InvalidHeader:      {400, "A request header is invalid"},
	InvalidPatch:       {400, "The patch is invalid"},
	InvalidBatch:       {400, "The batch is invalid"},
	ListTooLarge:       {400, "The list is too large for one answer"},
	Refused:            {400, "The server rejects this write"},
	Unauthenticated:    {401, "The request needs a valid token"},
	Forbidden:          {403, "The token does not allow this"},
	ReservedPath:       {403, "The path belongs to the server"},
	ForeignOrigin:      {403, "The request comes from a page of another origin"},
	NotFound:           {404, "There is no object at the path"},
	NoSuchResource:     {404, "The server has no such resource"},
	MethodNotAllowed:   {405, "The resource does not have this method"},
	BodyTimeout:        {408, "The body did not arrive in time"},
	PatchDoesNotApply:  {409, "The patch does not apply to the object"},
	PatchTestFailed:    {409, "A test of the patch failed"},
	ConditionFailed:    {412, "The object is not what the request expects"},
	TooLarge:           {413, "The request is too large"},
	UnsupportedType:    {415, "The server does not support this media type"},
	ForeignHost:        {421, "The server does not serve this host"},
	KeyReused:          {422, "The idempotency key was used for another request"},
	ConditionRequired:  {428, "This write needs a condition"},
	TooManyRequests:    {429, "Too many requests"},
	TooManyConnections: {429, "Too many connections"},
	TooManyStreams:     {429, "Too many streams"},
	Internal:           {500, "The server failed"},
	NotSupported:       {501, "The store cannot do this"},
	Unavailable:        {503, "The store does not accept this request now"},
	ReadOnly:           {503, "The store is open read-only"},
}

// Problem is an error for clients (RFC 9457). A hook can return one to choose the answer.
type Problem struct {
	// Kind decides the type, the title and the status.
	Kind Kind
	// Detail says in one line what is wrong with this request, what was expected, and what to do.
	Detail string
	// Members are further members of the problem, such as "offset" or "limit".
	Members map[string]any
	// Header has additional headers of the answer, such as Allow; nil for none.
	Header http.Header

	// older is the text for older clients; empty if they cannot cause the error.
	older string
}

func (p *Problem) Error() string { return fmt.Sprintf("%s: %s", p.Kind, p.Detail) }

// Status is the status code of the problem.
func (p *Problem) Status() int {
	if kind, ok := kinds[p.Kind]; ok {
		return kind.status
	}
	return http.StatusInternalServerError
}

// problem returns a problem of a kind.
func problem(kind Kind, format string, args ...any) *Problem {
	return &Problem{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// with adds a member.
func (p *Problem) with(name string, value any) *Problem {
	if p.Members == nil {
		p.Members = map[string]any{}
	}
	p.Members[name] = value
	return p
}

// header adds a header of the answer.
func (p *Problem) header(name, value string) *Problem {
	if p.Header == nil {
		p.Header = http.Header{}
	}
	p.Header.Set(name, value)
	return p
}

// saying sets the text for older clients.
func (p *Problem) saying(older string) *Problem {
	p.older = older
	return p
}

// MarshalJSON writes the body of an answer of the type application/problem+json.
func (p *Problem) MarshalJSON() ([]byte, error) {
	members := map[string]any{}
	maps.Copy(members, p.Members)
	members["type"] = ProblemBase + string(p.Kind)
	members["title"] = kinds[p.Kind].title
	members["status"] = p.Status()
	members["detail"] = p.Detail
	return json.Marshal(members)
}

// problemOf returns the problem for an error of the store. An error that the client cannot influence is Internal, and
// the caller logs it, because its text may reveal something.
func problemOf(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		if _, known := kinds[p.Kind]; !known {
			return problem(Internal, "the server has no problem of the kind %q", p.Kind)
		}
		return p
	}
	if conflict, ok := errors.AsType[*storage.ConflictError](err); ok {
		return problem(ConditionFailed, "%v", conflict).with("revision", conflict.Current)
	}
	if operation, ok := errors.AsType[*patch.OperationError](err); ok {
		kind := PatchDoesNotApply
		if errors.Is(err, patch.ErrTestFailed) {
			kind = PatchTestFailed
		}
		return problem(kind, "%v", operation).with("operation", operation.Index)
	}
	if entry, ok := errors.AsType[*storage.EntryError](err); ok {
		return problem(TooLarge, "the engine of the store rejects it, %v", entry.Err)
	}
	for _, known := range known {
		if errors.Is(err, known.err) {
			p := problem(known.kind, "%v", err)
			if known.parameter != "" {
				p.with("parameter", known.parameter)
			}
			if known.kind == Unavailable {
				p.header("Retry-After", strconv.Itoa(retryAfter))
			}
			return p
		}
	}
	return problem(Internal, "the server failed; its log has the reason under the id of this request")
}

// retryAfter is how many seconds a client should wait before it retries.
const retryAfter = 1

var known = []struct {
	err       error
	kind      Kind
	parameter string
}{
	{storage.ErrNotFound, NotFound, ""},
	{storage.ErrGlobNotAllowed, InvalidPath, ""},
	{storage.ErrGlobRequired, InvalidPath, ""},
	{storage.ErrInvalidPattern, InvalidPath, ""},
	{storage.ErrInvalidPath, InvalidPath, ""},
	{storage.ErrInvalidStorageData, InvalidJSON, ""},
	{storage.ErrInvalidCursor, InvalidParameter, "cursor"},
	{storage.ErrInvalidRange, InvalidParameter, "to"},
	{storage.ErrInvalidLimit, InvalidParameter, "limit"},
	{storage.ErrInvalidTTL, InvalidHeader, ""},
	{storage.ErrDuplicateKey, InvalidBatch, ""},
	{storage.ErrBatchUnsupported, NotSupported, ""},
	{patch.ErrInvalidPatch, InvalidPatch, ""},
	{patch.ErrLimit, InvalidPatch, ""},
	{storage.ErrReadOnly, ReadOnly, ""},
	{storage.ErrWritesStopped, Unavailable, ""},
	{storage.ErrNotActive, Unavailable, ""},
	{storage.ErrUnavailable, Unavailable, ""},
	{storage.ErrStale, Unavailable, ""},
}
