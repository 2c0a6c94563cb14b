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

// Verb is what a request wants to do with a path or pattern.
type Verb = string

// The verbs.
const (
	// Read is to get, list or follow objects.
	Read Verb = "read"
	// Write is to store or delete objects.
	Write Verb = "write"
	// Admin is to look at the server itself, its figures, its connections, and to restore objects with the times that they had.
	Admin Verb = "admin"
)

// Options of a server. The zero value serves everything to everybody who reaches the handler: the listener decides who
// that is.
//
// Hooks run on the goroutine of a request, holding no lock, and several at a time. One that panics makes the answer
// a 500, with nothing written, and the server goes on.
type Options struct {
	// Tokens authenticates and authorizes by tokens. It excludes Authenticate and Authorize.
	Tokens *Tokens
	// Authenticate says who sends a request; nil lets everybody in, as a nil identity. An error is the answer 401, or
	// the *Problem that it is. An identity that has a method Done() <-chan struct{} ends its streams once
	// that is closed. A string or a fmt.Stringer names it in the audit log and keeps its idempotency keys apart.
	Authenticate func(r *http.Request) (identity any, err error)
	// Authorize says whether an identity may do what a verb says with a path or pattern, all of what that
	// matches; nil allows all. An error is the answer 403, or the *Problem that it is. It is asked before the store is:
	// the answer is the same whether there is an object or not.
	Authorize func(identity any, verb Verb, pattern string) error
	// BeforeWrite sees each write before it is made, and may change its data; nil for none. An error refuses it: the
	// answer is 400 with the error's text, or the *Problem that it is. It may run several times for a write that
	// others were faster than.
	BeforeWrite func(identity any, change *Change) error
	// View returns what an identity gets to see of an object, or false for nothing: then the object is absent to
	// it. Nil shows all as it is. It must not change the object that it gets, but return another one. What it returns of an
	// object must stay the same for an identity until the object changes: entity tags, and clients that come back, rely on it.
	View func(identity any, obj *meta.Object) (*meta.Object, bool)

	// RequireCondition are paths and patterns whose objects are overwritten, patched and deleted only with
	// If-Match; without it the answer is 428.
	RequireCondition []string
	// Hosts are the host names that the server answers for, without a port. Without any, a connection that came to a
	// loopback address must name one in Host, such as localhost: a page elsewhere whose name leads to it gets 421. So
	// must, by an IP address, a connection from elsewhere where nobody is authenticated.
	Hosts []string
	// Origins are the origins whose pages may use the server across origins, such as https://app.example.com, or "*" for
	// all of them. Others get 403. Requests without an Origin come from no page.
	Origins []string
	// AllowDuplicateMembers accepts JSON objects with two members of one name, which readers take differently.
	AllowDuplicateMembers bool
	// SeparateAdmin leaves health, metrics and stats to the handler of Admin: they are not below /~/ then.
	SeparateAdmin bool

	// StoreURL is the URL of the store, which operators are shown; empty for an unnamed one.
	StoreURL string

	// Limits bound what a request and all of them can cost.
	Limits Limits
	// Logger gets what fails, and at its debug level each request. slog.Default() when nil.
	Logger *slog.Logger
	// Audit gets one record for each write and each request that was not allowed: who, what, and with which outcome,
	// without data and secrets; nil for none.
	Audit *slog.Logger
}

// Change is a write that is about to be made.
type Change struct {
	// Operation is "set", "push", "patch", "touch" or "delete".
	Operation string
	// Path is the path, or the pattern of a push or of the delete of many.
	Path string
	// Data is what is to be stored: of a patch, the result of it. It is nil for a delete and a touch. A hook may put
	// another JSON value in its place.
	Data json.RawMessage
}

// Limits of a server. Zero is the default, and a negative number no limit.
type Limits struct {
	// Body is how many bytes the body of a request may have: 10 MiB.
	Body int64
	// Decompressed is how many bytes a compressed body may become: 10 MiB.
	Decompressed int64
	// Depth is how many levels of arrays and objects JSON may have: 1,000. Never more than the store's 10,000.
	Depth int
	// BodyStall is how long a body may pause: 10 seconds.
	BodyStall time.Duration
	// BodyTime is how long a body may take in all: 60 seconds.
	BodyTime time.Duration
	// AnswerTime is how long an answer that is no stream may take to be written: 60 seconds.
	AnswerTime time.Duration
	// HeaderBytes is how many bytes the header of a request may have: 64 KiB.
	HeaderBytes int
	// HeaderTime is how long a header may take: 10 seconds.
	HeaderTime time.Duration
	// IdleTime is how long a connection may wait for its next request: 2 minutes.
	IdleTime time.Duration
	// Connections is how many connections Serve keeps at a time: 20,000. Those beyond get 429.
	Connections int
	// Streams is how many subscriptions over SSE, WebSocket and long poll there are at a time: 16,384.
	Streams int
	// Subscriptions is how many patterns one connection may follow: 100.
	Subscriptions int
	// Message is how many bytes a message of a WebSocket client may have, also when it is decompressed: 1 MiB.
	Message int
	// Present is how many objects one connection may keep with enter: 16.
	Present int
	// Unsent is how many bytes of changes wait for a connection before it gets the fresh state instead: 64 KiB.
	Unsent int
	// Stall is how long a stream may take none of what is written to it before it is closed: 10 seconds.
	Stall time.Duration
	// Rate is how many requests a second a client may make in the long run, messages on a WebSocket included: 10,000. A client is an identity with a
	// name, or else an address, an IPv6 one by its /64. Loopback addresses have no rate.
	Rate float64
	// Burst is how many requests a client may make at once: 20,000.
	Burst int
	// ListObjects is how many objects an answer may have: 10,000.
	ListObjects int
	// ListBytes is how many bytes of data a list may have that was asked for without a limit: 16 MiB.
	ListBytes int64
	// BatchChanges is how many changes a batch may have: 1,000.
	BatchChanges int
}

const (
	// unlimited stands for no limit within.
	unlimited = 1 << 62
	// deepest is the nesting that a store takes.
	deepest = 10_000
)

// complete puts defaults in place of zeros, and numbers that are never reached in place of negative ones.
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

// Check returns what is wrong with the options, or nil. New takes wrong ones too, and keeps to the safe side: what cannot be
// understood allows nothing, and the logger is told.
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
