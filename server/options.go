package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// Verb is an action on a path or pattern.
type Verb = string

// The verbs.
const (
	// Read gets, lists or follows objects.
	Read Verb = "read"
	// Write stores or deletes objects.
	Write Verb = "write"
	// Admin reads the server's metrics and connections, and restores objects with their times.
	Admin Verb = "admin"
)

// Options configure a server. The zero value serves everything to every client that reaches the handler; the listener
// decides who that is.
//
// Hooks run concurrently, on the goroutine of a request and without a lock. If one panics, the answer is 500, nothing
// is written, and the server continues.
type Options struct {
	// Tokens authenticates and authorizes with tokens. It excludes Authenticate and Authorize.
	Tokens *Tokens
	// Authenticate returns the identity of a request; if nil, every request is accepted with a nil identity. An error
	// is answered with 401, or as the *Problem that it is. If an identity has a method Done() <-chan struct{}, its
	// streams end when that channel is closed. A string or a fmt.Stringer names the identity in the audit log and
	// separates its idempotency keys.
	Authenticate func(r *http.Request) (identity any, err error)
	// Authorize decides whether an identity may use a verb on everything that a path or pattern matches; nil allows
	// everything. An error is answered with 403, or as the *Problem that it is. It is called before the store is
	// read, so the answer does not depend on the existence of an object.
	Authorize func(identity any, verb Verb, pattern string) error
	// BeforeWrite sees each write before it is made, and may change its data; nil for none. An error rejects the
	// write: the answer is 400 with the error's text, or the *Problem that it is. It may run several times for a
	// write that conflicts with others.
	BeforeWrite func(identity any, change *Change) error
	// View returns what an identity may see of an object, or false if the object is invisible to it. If nil, objects
	// are shown unchanged. It must not modify the object, but return another one. For an identity, its result must
	// not change until the object changes, because entity tags and reconnecting clients rely on it.
	View func(identity any, obj *meta.Object) (*meta.Object, bool)

	// RequireCondition are paths and patterns. Overwriting, patching and deleting their objects needs If-Match;
	// otherwise the answer is 428.
	RequireCondition []string
	// Hosts are the host names that the server accepts, without port. If empty, a connection to a loopback address
	// must have a loopback name in Host, such as localhost, because a foreign page can point its own name at this
	// machine; other names get 421. Without authentication, a connection from another machine must use an IP address.
	Hosts []string
	// Origins are the origins whose pages may use the server, such as https://app.example.com, or "*" for all. Other
	// origins get 403. Requests without an Origin do not come from a page.
	Origins []string
	// AllowDuplicateMembers accepts JSON objects with two members of the same name, which readers interpret
	// differently.
	AllowDuplicateMembers bool
	// SeparateAdmin serves health, metrics and stats only on the handler of Admin, not below /~/.
	SeparateAdmin bool

	// StoreURL is the URL of the store, shown to operators; optional.
	StoreURL string

	// Limits limit the cost of requests.
	Limits Limits
	// Logger gets errors, and each request at its debug level. slog.Default() if nil.
	Logger *slog.Logger
	// Audit gets a record for each write and each denied request: who, what, and the outcome, without data and
	// secrets; nil for none.
	Audit *slog.Logger
}

// Change is a write that is about to be made.
type Change struct {
	// Operation is "set", "push", "patch", "touch" or "delete".
	Operation string
	// Path is the path, or the pattern of a push or of a pattern delete.
	Path string
	// Data is the data to store; for a patch, its result. It is nil for a delete and a touch. A hook may replace it
	// with another JSON value.
	Data json.RawMessage
}

// Limits of a server. Zero means the default, a negative number no limit.
type Limits struct {
	// Body is the maximum size of a request body in bytes: 10 MiB.
	Body int64
	// Decompressed is the maximum size of a decompressed body in bytes: 10 MiB.
	Decompressed int64
	// Depth is the maximum nesting of JSON: 1,000 levels, and never more than the store's 10,000.
	Depth int
	// BodyStall is how long a body may pause: 10 seconds.
	BodyStall time.Duration
	// BodyTime is how long a body may take in total: 60 seconds.
	BodyTime time.Duration
	// AnswerTime is how long writing an answer, other than a stream, may take: 60 seconds.
	AnswerTime time.Duration
	// HeaderBytes is the maximum size of request headers in bytes: 64 KiB.
	HeaderBytes int
	// HeaderTime is how long the headers may take: 10 seconds.
	HeaderTime time.Duration
	// IdleTime is how long a connection may be idle between requests: 2 minutes.
	IdleTime time.Duration
	// Connections is the maximum number of connections of Serve: 20,000. Further ones get 429.
	Connections int
	// Streams is the maximum number of subscriptions over SSE, WebSocket and long poll: 16,384.
	Streams int
	// Subscriptions is the maximum number of patterns of a connection: 100.
	Subscriptions int
	// Message is the maximum size of a WebSocket client's message in bytes, also after decompression: 1 MiB.
	Message int
	// Present is the maximum number of objects that a connection keeps with enter: 16.
	Present int
	// Unsent is how many bytes of changes may wait for a connection before it gets a fresh state instead: 64 KiB.
	Unsent int
	// Stall is how long a stream may make no progress before it is closed: 10 seconds.
	Stall time.Duration
	// Rate is the maximum number of requests per second and client, including messages on a WebSocket: 10,000. A
	// client is a named identity, or else an IP address (for IPv6 its /64). Loopback addresses have no limit.
	Rate float64
	// Burst is the maximum number of requests of a client at once: 20,000.
	Burst int
	// ListObjects is the maximum number of objects in an answer: 10,000.
	ListObjects int
	// ListBytes is the maximum size of the data of a list without a limit, in bytes: 16 MiB.
	ListBytes int64
	// BatchChanges is the maximum number of changes in a batch: 1,000.
	BatchChanges int
}

const (
	// unlimited is the internal value for no limit.
	unlimited = 1 << 62
	// deepest is the maximum nesting of the store.
	deepest = 10_000
)

// complete replaces zeros with defaults, and negative numbers with numbers that are never reached.
func (l Limits) complete() Limits {
	integer(&l.Body, 10<<20)
	integer(&l.Decompressed, 10<<20)
	integer(&l.Depth, 1000)
	l.Depth = min(l.Depth, deepest)
	integer(&l.BodyStall, 10*time.Second)
	integer(&l.BodyTime, time.Minute)
	integer(&l.AnswerTime, time.Minute)
	integer(&l.HeaderBytes, 64<<10)
	integer(&l.HeaderTime, 10*time.Second)
	integer(&l.IdleTime, 2*time.Minute)
	integer(&l.Connections, 20_000)
	integer(&l.Streams, 16_384)
	integer(&l.Subscriptions, 100)
	integer(&l.Message, 1<<20)
	integer(&l.Present, 16)
	integer(&l.Unsent, 64<<10)
	integer(&l.Stall, 10*time.Second)
	integer(&l.Burst, 20_000)
	integer(&l.ListObjects, 10_000)
	integer(&l.ListBytes, 16<<20)
	integer(&l.BatchChanges, 1000)
	if l.Rate == 0 {
		l.Rate = 10_000
	}
	return l
}

func integer[T ~int | ~int64](limit *T, preset T) {
	switch {
	case *limit == 0:
		*limit = preset
	case *limit < 0:
		most := int64(unlimited)
		if _, plain := any(limit).(*int); plain {
			most = min(most, math.MaxInt)
		}
		*limit = T(most)
	}
}

// Check returns what is wrong with the options, or nil. New also accepts wrong options. It then errs on the safe
// side: an option that it cannot interpret allows nothing, and the logger gets the error.
func (o *Options) Check() error {
	var wrong []error
	if o.Tokens != nil && (o.Authenticate != nil || o.Authorize != nil) {
		wrong = append(wrong, errors.New("both Tokens and Authenticate or Authorize are set, expected only one of them"))
	}
	for _, origin := range o.Origins {
		if origin == "*" {
			continue
		}
		u, err := url.Parse(origin)
		if err != nil || u.Scheme == "" || u.Host == "" || u.String() != u.Scheme+"://"+u.Host {
			wrong = append(wrong, fmt.Errorf("origin %q: expected a scheme and a host such as https://app.example.com, or *", origin))
		}
	}
	for _, host := range o.Hosts {
		if host == "" || strings.ContainsAny(host, "/@ ") || strings.Contains(host, ":") && !strings.Contains(strings.Trim(host, "[]"), "::") {
			wrong = append(wrong, fmt.Errorf("host %q: expected a name without scheme and port such as db.example.com", host))
		}
	}
	for _, pattern := range o.RequireCondition {
		if err := key.Check(pattern); err != nil {
			wrong = append(wrong, fmt.Errorf("pattern %q of RequireCondition: %w", pattern, err))
		}
	}
	return errors.Join(wrong...)
}
