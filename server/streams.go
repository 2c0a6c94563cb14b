package server

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/server/internal/live"
)

// newStreams returns the hub that follows the store for clients.
func newStreams(s *Server) *live.Live {
	l := &s.limits
	return live.New(s.store, live.Options{Logger: s.log, View: s.opt.View, Hidden: isReserved, Limits: live.Limits{
		Subscriptions: l.Subscriptions, Message: l.Message, Present: l.Present, Unsent: l.Unsent, Stall: l.Stall,
	}})
}

// stream starts a stream, unless there are too many.
func (c *call) stream(run func(live.Caller)) error {
	if c.s.open.Add(1) > int64(c.s.limits.Streams) {
		c.s.open.Add(-1)
		return problem(TooManyStreams, "the server has %d streams, the limit Streams; try again later", c.s.limits.Streams).
			with("limit", c.s.limits.Streams).header("Retry-After", "10")
	}
	// A stream may outlive its request, so it keeps only these.
	s, identity, client := c.s, c.identity, c.client()
	who := live.Caller{
		Identity: identity,
		Remote:   c.r.RemoteAddr,
		Allowed:  func(verb, pattern string) error { return s.allowed(identity, verb, pattern) },
		Wait:     func() time.Duration { return s.rate.take(client) },
		BeforeEnter: func(path string, data *json.RawMessage) error {
			err := s.checkJSON(*data)
			if err == nil {
				*data = compact(*data)
				err = s.before(identity, "set", path, data)
			}
			if err != nil {
				return errors.New(problemOf(err).Detail)
			}
			return nil
		},
		Ended: sync.OnceFunc(func() { s.open.Add(-1) }),
	}
	if s.opt.Audit != nil {
		about := c.about()
		who.Audit = func(path, outcome string) {
			s.opt.Audit.Info("audit", append(about[:len(about):len(about)], "verb", Write, "pattern", clip(path), "outcome", outcome)...)
		}
	}
	if ending, ok := c.identity.(ender); ok {
		who.Done = ending.Done()
	}
	c.w.deadline(0)
	c.streams = true
	run(who)
	return nil
}

// follow answers a request that follows a path or pattern. It returns false for other requests.
func (c *call) follow() (bool, error) {
	if c.r.Method != http.MethodGet {
		return false, nil
	}
	upgrade, events := isUpgrade(c.r), c.accepts("text/event-stream")
	wait, waits := c.prefers("wait")
	waits = waits && c.r.Header.Get("If-None-Match") != ""
	if !upgrade && !events && !waits {
		return false, nil
	}
	if err := c.requireAllowed(Read, c.path); err != nil {
		return true, err
	}
	switch {
	case upgrade:
		return true, c.stream(func(who live.Caller) { c.s.streams.ServeWire(c.w, c.r, who, c.path) })
	case events:
		return true, c.stream(func(who live.Caller) { c.s.streams.ServeEvents(c.w, c.r, who, []string{c.path}) })
	}
	longest, ok := parseTTL(wait)
	if !ok || strings.TrimLeft(wait, "0123456789") != "" {
		return true, problem(InvalidHeader, "Prefer: wait=%q, expected seconds such as 30", clip(wait)).with("header", "Prefer")
	}
	var err error
	if refused := c.stream(func(who live.Caller) { err = c.poll(who, min(longest, longestWait)) }); refused != nil {
		return true, refused
	}
	return true, err
}

// longestWait is the maximum duration of a poll.
const longestWait = 5 * time.Minute

// errNotModified is returned by the read of a poll that finds the object which the client has.
var errNotModified = errors.New("server: not modified")

// poll answers a GET once its result differs from the If-None-Match, or with 304 after the wait.
func (c *call) poll(who live.Caller, wait time.Duration) error {
	defer who.Ended()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	gone := c.r.Context().Done()
	for {
		changed, err := c.s.streams.Changed(c.r.Context(), c.identity, c.path)
		if err != nil {
			return notNow(err)
		}
		c.waits = true
		if err := c.read(); err != errNotModified {
			return err
		}
		select {
		case <-changed:
		case <-timer.C:
			c.waits = false
			return c.notModified()
		case <-who.Done:
			return problem(Unauthenticated, "the client's access has ended").header("WWW-Authenticate", challenge)
		case <-c.s.streams.Closed():
			return notNow(live.ErrClosed)
		case <-gone:
			return nil // there is no client to answer
		}
	}
}

// notNow is the problem for a stream that cannot start or continue.
func notNow(err error) error {
	return problem(Unavailable, "%v", err).header("Retry-After", strconv.Itoa(retryAfter))
}

// notModified answers that the client has the present object.
func (c *call) notModified() error {
	if c.waits {
		return errNotModified
	}
	c.write(http.StatusNotModified, "", nil)
	return nil
}

// live answers /~/live: one stream for many patterns.
func (c *call) follows() error {
	if c.r.Method != http.MethodGet {
		return allowed("GET", c.r.Method)
	}
	if isUpgrade(c.r) {
		return c.stream(func(who live.Caller) { c.s.streams.ServeSocket(c.w, c.r, who) })
	}
	query := c.query()
	for name := range query {
		if name != "watch" {
			return badParameter(name, "it is unknown, expected watch")
		}
	}
	patterns := query["watch"]
	if len(patterns) == 0 {
		return badParameter("watch", "it is missing, expected a path or a pattern such as watch=a/*")
	}
	if most := c.s.limits.Subscriptions; len(patterns) > most {
		return badParameter("watch", "%d patterns, the limit Subscriptions is %d", len(patterns), most)
	}
	for _, pattern := range patterns {
		if err := key.Check(pattern); err != nil {
			return badParameter("watch", "%q: %v", clip(pattern), err).with("pattern", pattern)
		}
		if err := c.requireAllowed(Read, pattern); err != nil {
			refused := *problemOf(err) // the problem of a hook may be shared
			refused.Members = maps.Clone(refused.Members)
			return (&refused).with("pattern", pattern)
		}
	}
	return c.stream(func(who live.Caller) { c.s.streams.ServeEvents(c.w, c.r, who, patterns) })
}
