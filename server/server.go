// Package server puts a store on the network: an http.Handler with the objects at their paths.
//
//	store, err := oolith.Open("pebble:./data", pebble.Engine)
//	...
//	handler := server.New(store, server.Options{})
//	defer handler.Close()
//	err = http.ListenAndServe("127.0.0.1:8800", handler)
//
// Server.Serve serves a listener with all limits, and ends well; a plain http.Server is the application's own to
// configure. docs/server.md describes what is served, docs/problems.md the errors.
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
	open    atomic.Int64 // streams
	// ownObjects is how many the server had in the store when stats last counted them.
	ownObjects atomic.Int64
}

// New returns a server of a store, which the caller starts before and closes after it. Options that Check finds wrong allow
// nothing by what is wrong with them, and the logger is told.
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

// Close ends all streams and makes readyz say that the server ends. Requests are still answered: whoever has the listener
// ends them. It may be called any number of times.
func (s *Server) Close() {
	s.closing.Store(true)
	s.close()
	s.history.wait()
	s.streams.Close()
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.serve(w, r, (*call).route) }

// Admin returns a handler of livez, readyz, metrics, stats, history, connections and about alone, without authentication: for a listener that only
// operators reach.
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
	older    bool // an older client may have sent it: its errors have the texts of old
	streams  bool // it is a stream, which may outlive its handler
	batch    bool // it is a batch: problems say of which entry they are
	waits    bool // it is a long poll: what the client has is no answer yet
}

// serve runs a request and answers what goes wrong with it. Nothing that panics in it, a hook, say, goes further.
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
				// A part of the answer is out: what was cut off must not look whole.
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

// done accounts for a request.
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

// about returns what a log says of a request, without its query and headers, which may hold secrets.
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

// audit records what was asked for, and how it ended.
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

// fail answers with a problem, or with the text that older clients know.
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

// write sends an answer. What goes wrong with that concerns a client that is gone.
func (c *call) write(status int, contentType string, body []byte) {
	header := c.w.Header()
	header["X-Content-Type-Options"] = noSniff
	if contentType != "" {
		header.Set("Content-Type", contentType)
	}
	c.compress(&body)
	c.send(status, body)
}

// send sends an answer as it is.
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

// Values of headers that are the same in all answers. Nothing changes them: what is added to one makes another.
var (
	varies      = []string{"Origin, Accept-Encoding"}
	variesByAll = []string{"Origin, Accept-Encoding, Accept"}
	noSniff     = []string{"nosniff"}
	noCache     = []string{"no-cache"}
)

// route answers a request on a connection of any client.
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

// enter lets a request in: it is from somebody, and not one too many.
func (c *call) enter() error {
	refused := c.identify()
	// Who is nobody counts by the address.
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

// requireAllowed is allow that tells the audit log of a refusal.
func (c *call) requireAllowed(verb Verb, pattern string) error {
	err := c.allow(verb, pattern)
	if err != nil {
		c.audit(verb, pattern, err)
	}
	return err
}

// answer is a ResponseWriter that knows what was sent.
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

// deadline bounds the writing of an answer; 0 takes the bound away. A writer that is no connection has none.
func (a *answer) deadline(after time.Duration) {
	var at time.Time
	if after > 0 && after < unlimited {
		at = time.Now().Add(after)
	}
	if err := http.NewResponseController(a.ResponseWriter).SetWriteDeadline(at); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return // the connection is gone: writing says so
	}
}

// requestID is the id of a request: the client's own, where it has one that can be logged, or a new one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if len(id) > 0 && len(id) <= 128 && strings.IndexFunc(id, func(c rune) bool { return c <= ' ' || c > '~' }) < 0 {
		return id
	}
	return strconv.FormatUint(rand.Uint64()|1<<63, 16) // 16 digits, and no secret
}

// traceParent reads a trace context (W3C): version, trace, parent, flags.
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
