package server

import (
	"maps"
	"net/http"
	"strings"
	"sync"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/server/internal/live"
)

// newStreams returns what follows the store for clients.
func newStreams(s *Server) *live.Live {
	return live.New(s.store, live.Options{Store: s.storeID(), Logger: s.log, View: s.opt.View, Hidden: isReserved})
}

// stream begins a stream, unless there are too many.
func (c *call) stream(run func(live.Caller)) error {
	if c.s.open.Add(1) > int64(c.s.limits.Streams) {
		c.s.open.Add(-1)
		return problem(TooManyStreams, "the server keeps %d streams; the limit is Streams", c.s.limits.Streams).
			with("limit", c.s.limits.Streams).header("Retry-After", "10")
	}
	s, identity := c.s, c.identity // a stream may outlive its request, and holds no more of it than that
	who := live.Caller{Identity: identity, Allowed: func(verb, pattern string) error {
		return s.allowed(identity, verb, pattern)
	}, Remote: c.r.RemoteAddr, Ended: sync.OnceFunc(func() { s.open.Add(-1) })}
	if ending, ok := c.identity.(ender); ok {
		who.Done = ending.Done()
	}
	c.w.deadline(0)
	c.streams = true
	run(who)
	return nil
}

// follow answers a request for a path or pattern that is to be followed. False when it is none.
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
	seconds, ok := parseTTL(wait)
	if !ok || strings.TrimLeft(wait, "0123456789") != "" {
		return true, problem(InvalidHeader, "Prefer: wait=%q, expected seconds such as 30", clip(wait)).with("header", "Prefer")
	}
	return true, c.stream(func(who live.Caller) { c.s.streams.ServePoll(c.w, c.r, who, c.path, seconds) })
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
			return badParameter(name, "it is unknown here, expected watch")
		}
	}
	patterns := query["watch"]
	if len(patterns) == 0 {
		return badParameter("watch", "it is missing, expected a path or pattern to follow, such as watch=a/*")
	}
	for _, pattern := range patterns {
		if err := key.Check(pattern); err != nil {
			return badParameter("watch", "%q: %v", clip(pattern), err).with("pattern", pattern)
		}
		if err := c.requireAllowed(Read, pattern); err != nil {
			refused := *problemOf(err) // a hook's own may be in use elsewhere
			refused.Members = maps.Clone(refused.Members)
			return (&refused).with("pattern", pattern)
		}
	}
	return c.stream(func(who live.Caller) { c.s.streams.ServeEvents(c.w, c.r, who, patterns) })
}
