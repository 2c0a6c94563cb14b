// Package server serves a store over HTTP. It is an http.Handler with the objects at their paths.
//
//	store, err := oolith.Open("pebble:./data", pebble.Engine)
//	...
//	handler := server.New(store, server.Options{})
//	defer handler.Close()
//	err = http.ListenAndServe("127.0.0.1:8800", handler)
//
// Server.Serve serves a listener with all limits and shuts down gracefully. With a plain http.Server, the application
// sets the limits. docs/server.md describes the resources, docs/problems.md the errors.
package server

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oolith-db/oolith/server/internal/live"
	"github.com/oolith-db/oolith/storage"
)

// Server serves a store. It is an http.Handler.
type Server struct {
	store   *storage.Layered
	opt     Options
	limits  Limits
	log     *slog.Logger
	origins origins
	streams *live.Live
	rate    *rates
	figures *figures
	started time.Time

	history *history

	closing atomic.Bool   // it ends: readyz says so
	closed  chan struct{} // closed by Close
	close   func()
	open    atomic.Int64 // number of streams
	// ownObjects is the number of the server's own objects when stats last counted them.
	ownObjects atomic.Int64
}

// New returns a server for a store. The caller starts the store before and closes it after the server. Options that
// Check rejects allow nothing, and the logger gets the error.
func New(store *storage.Layered, opt Options) *Server {
	s := &Server{store: store, opt: opt, limits: opt.Limits.complete(), log: opt.Logger, started: time.Now()}
	if s.log == nil {
		s.log = slog.Default()
	}
	if err := opt.Check(); err != nil {
		s.log.Error("options of the server", "error", err)
	}
	s.origins = newOrigins(opt.Origins)
	s.rate = newRates(s.limits.Rate, s.limits.Burst)
	s.figures = newFigures(s)
	s.streams = newStreams(s)
	s.closed = make(chan struct{})
	s.close = sync.OnceFunc(func() { close(s.closed) })
	s.history = s.newHistory()
	return s
}

// Close ends all streams and makes readyz report the shutdown. The server still answers requests until the owner of
// the listener stops it. Close may be called several times.
func (s *Server) Close() {
	s.closing.Store(true)
	s.close()
	s.history.wait()
	s.streams.Close()
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.serve(w, r, (*call).route) }

// Admin returns a handler with only livez, readyz, metrics, stats, history, connections and about, without
// authentication, for a listener that only operators can reach.
func (s *Server) Admin() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, (*call).admin) })
}

// call is one request.
type call struct {
	s        *Server
	w        *answer
	r        *http.Request
	id       string
	path     string // decoded, without the leading slash
	identity any
	started  time.Time
	older    bool // possibly from an older client, which gets plain text errors
	streams  bool // a stream, which may outlive its handler
	batch    bool // a batch, whose problems have the index of the entry
	waits    bool // a long poll: an unchanged object is no answer yet
}

// serve runs a request and answers its errors. It contains panics, for example of a hook.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, run func(*call) error) {
	c := &call{s: s, r: r, w: &answer{ResponseWriter: w}, started: time.Now(), id: requestID(r)}
	c.w.Header().Set("X-Request-Id", c.id)
	s.figures.inFlight.Add(1)
	defer s.figures.inFlight.Add(-1)
	defer func() {
		if cause := recover(); cause != nil {
			if cause == http.ErrAbortHandler {
				panic(cause)
			}
			s.log.Error("a request panicked", c.about("panic", fmt.Sprint(cause), "stack", string(debug.Stack()))...)
			if c.w.status != 0 {
				// Part of the answer is sent already. The client must notice that it is incomplete.
				panic(http.ErrAbortHandler)
			}
			c.fail(problem(Internal, "the server failed; its log has the reason under the id of this request"))
		}
		c.done()
	}()
	if err := run(c); err != nil {
		c.fail(err)
	}
}

// done records a request in metrics and logs.
func (c *call) done() {
	took := time.Since(c.started)
	if c.w.status == 0 && c.streams { // the connection was taken over
		c.w.status = http.StatusOK
		if isUpgrade(c.r) {
			c.w.status = http.StatusSwitchingProtocols
		}
	}
	c.s.figures.count(c.r.Method, c.w.status, took, c.streams)
	if c.s.log.Enabled(c.r.Context(), slog.LevelDebug) {
		c.s.log.Debug("request", c.about("status", c.w.status, "bytes", c.w.bytes, "took", took)...)
	}
}

// about returns the log attributes of a request, without its query and headers, which may contain secrets.
func (c *call) about(more ...any) []any {
	attrs := []any{"request", c.id, "method", c.r.Method, "path", clip(c.r.URL.EscapedPath()), "remote", c.r.RemoteAddr}
	if trace, span, ok := traceParent(c.r.Header.Get("Traceparent")); ok {
		attrs = append(attrs, "trace_id", trace, "parent_id", span)
	}
	if name := nameOf(c.identity); name != "" {
		attrs = append(attrs, "identity", name)
	}
	return append(attrs, more...)
}

// audit records a request and its outcome.
func (c *call) audit(verb Verb, pattern string, err error) {
	if c.s.opt.Audit == nil {
		return
	}
	outcome := "done"
	if err != nil {
		outcome = string(problemOf(err).Kind)
	}
	c.s.opt.Audit.Info("audit", c.about("verb", verb, "pattern", clip(pattern), "outcome", outcome)...)
}

// fail answers with a problem, or with plain text for older clients.
func (c *call) fail(err error) {
	p := problemOf(err)
	if p.Status() == http.StatusInternalServerError {
		c.s.log.Error("a request failed", c.about("error", err)...)
	}
	if c.w.status != 0 {
		return
	}
	header := c.w.Header()
	for name, values := range p.Header {
		header[name] = values
	}
	header.Set("Cache-Control", "no-store")
	body, contentType := []byte(nil), "application/problem+json"
	if c.older && p.older != "" {
		body, contentType = []byte(p.older), "text/plain; charset=utf-8"
	} else if body, err = p.MarshalJSON(); err != nil {
		c.s.log.Error("a problem cannot be written", c.about("error", err)...)
	}
	c.write(p.Status(), contentType, body)
}

// write sends an answer. It ignores errors, since the client is gone then.
func (c *call) write(status int, contentType string, body []byte) {
	header := c.w.Header()
	header["X-Content-Type-Options"] = noSniff
	if contentType != "" {
		header.Set("Content-Type", contentType)
	}
	c.compress(&body)
	c.send(status, body)
}

// send sends an answer unchanged.
func (c *call) send(status int, body []byte) {
	header := c.w.Header()
	c.w.deadline(c.s.limits.AnswerTime)
	if status != http.StatusNoContent && status != http.StatusNotModified {
		header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	c.w.WriteHeader(status)
	if len(body) > 0 && c.r.Method != http.MethodHead {
		_, _ = c.w.Write(body)
	}
}

// Header values that are the same in all answers. They are never modified, only replaced.
var (
	varies      = []string{"Origin, Accept-Encoding"}
	variesByAll = []string{"Origin, Accept-Encoding, Accept"}
	noSniff     = []string{"nosniff"}
	noCache     = []string{"no-cache"}
)

// route answers a request on a client connection.
func (c *call) route() error {
	c.w.Header()["Vary"] = varies
	own, isOwn := strings.CutPrefix(c.r.URL.EscapedPath(), "/~/")
	c.older = !isOwn && c.isOlder()
	if err := c.checkConnection(); err != nil {
		return err
	}
	if err := c.checkHost(); err != nil {
		return err
	}
	if preflight, err := c.checkOrigin(); err != nil || preflight {
		return err
	}
	if isOwn {
		return c.own(own)
	}
	if err := c.findPath(); err != nil {
		return err
	}
	if c.path == "" && c.isNavigation() {
		return c.explorer("")
	}
	if err := c.enter(); err != nil {
		return err
	}
	if c.path == "" {
		return c.root()
	}
	return c.resource()
}

// enter authenticates a request and applies the rate limit.
func (c *call) enter() error {
	refused := c.identify()
	// A client without an identity counts by address.
	if wait := c.s.rate.take(c.client()); wait > 0 {
		seconds := int(wait/time.Second) + 1
		return problem(TooManyRequests, "more than %v requests a second, the limit Rate with bursts of %d; try again later", c.s.limits.Rate, c.s.limits.Burst).
			with("limit", c.s.limits.Rate).header("Retry-After", fmt.Sprint(seconds))
	}
	if refused != nil {
		c.audit("", c.path, refused)
	}
	return refused
}

// requireAllowed is allow with an audit record of a denial.
func (c *call) requireAllowed(verb Verb, pattern string) error {
	err := c.allow(verb, pattern)
	if err != nil {
		c.audit(verb, pattern, err)
	}
	return err
}

// answer is a ResponseWriter that records what was sent.
type answer struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 || a.status < 200 && a.status != http.StatusSwitchingProtocols {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	n, err := a.ResponseWriter.Write(p)
	a.bytes += int64(n)
	return n, err
}

// deadline limits the writing of an answer; 0 removes the limit. It ignores writers that are not connections.
func (a *answer) deadline(after time.Duration) {
	var at time.Time
	if after > 0 && after < unlimited {
		at = time.Now().Add(after)
	}
	if err := http.NewResponseController(a.ResponseWriter).SetWriteDeadline(at); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return // the connection is closed; writing reports it
	}
}

// requestID returns the client's request id if it can be logged, or a new one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if len(id) > 0 && len(id) <= 128 && strings.IndexFunc(id, func(c rune) bool { return c <= ' ' || c > '~' }) < 0 {
		return id
	}
	return strconv.FormatUint(rand.Uint64()|1<<63, 16) // 16 digits; not secret
}

// traceParent parses a trace context (W3C): version, trace, parent, flags.
func traceParent(header string) (trace, parent string, ok bool) {
	parts := strings.Split(header, "-")
	if len(parts) < 4 || len(parts[0]) != 2 || parts[0] == "ff" || len(parts[1]) != 32 || len(parts[2]) != 16 {
		return "", "", false
	}
	for _, part := range parts[:3] {
		if strings.Trim(part, "0123456789abcdef") != "" {
			return "", "", false
		}
	}
	if strings.Trim(parts[1], "0") == "" || strings.Trim(parts[2], "0") == "" {
		return "", "", false
	}
	return parts[1], parts[2], true
}
