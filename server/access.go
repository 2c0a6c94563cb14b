package server

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/oolith-db/oolith/internal/jsonvalid"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// Authentication and authorization of requests.

// reserved is the directory of the store that belongs to the server. Its content is six levels deep, so it hardly
// matches a pattern of an application.
const reserved = "_oolith"

// isReserved reports whether a path belongs to the server.
func isReserved(path string) bool {
	rest, ok := strings.CutPrefix(path, reserved)
	return ok && (rest == "" || rest[0] == '/')
}

// reaches reports whether a pattern can match paths that belong to the server.
func reaches(pattern string) bool {
	first, rest, _ := strings.Cut(pattern, "/")
	if first == "**" {
		return true
	}
	if !key.Match(first, reserved) {
		return false
	}
	return isReserved(pattern) || strings.HasSuffix(pattern, "/**") || strings.Count(rest, "/") == strings.Count(outcomesDir, "/")
}

// covers reports whether a scope matches everything that a pattern can match. A scope may end in ** for everything
// below.
func covers(scope, pattern string) bool {
	below := func(s string) (head string, ok bool) {
		if s == "**" {
			return "", true
		}
		return strings.CutSuffix(s, "/**")
	}
	head, deep := below(scope)
	wanted, wantsDeep := below(pattern)
	if !deep {
		// A star in the pattern is treated as a byte, so only a star of the scope matches it.
		return !wantsDeep && key.Match(scope, pattern)
	}
	if head == "" {
		return true
	}
	if !wantsDeep {
		wanted = pattern
	}
	// The first segments of wanted must match the head, and at least one more must follow.
	segments, have := strings.Count(head, "/")+1, strings.Count(wanted, "/")+1
	if have < segments || have == segments && !wantsDeep {
		return false
	}
	end := 0
	for range segments {
		at := strings.IndexByte(wanted[end:], '/')
		if at < 0 {
			end = len(wanted) + 1
			break
		}
		end += at + 1
	}
	return key.Match(head, wanted[:end-1])
}

// ender is an identity whose access can end while a stream is open.
type ender interface{ Done() <-chan struct{} }

// nameOf returns the name of an identity for the audit log; empty for one without a name.
func nameOf(identity any) string {
	switch named := identity.(type) {
	case string:
		return named
	case fmt.Stringer:
		return named.String()
	}
	return ""
}

// authenticates reports whether the server authenticates requests.
func (s *Server) authenticates() bool { return s.opt.Tokens != nil || s.opt.Authenticate != nil }

// challenge says how to authenticate.
const challenge = `Bearer realm="oolith"`

// identify authenticates a request.
func (c *call) identify() error {
	if !c.s.authenticates() {
		return nil
	}
	authenticate := c.s.opt.Authenticate
	if c.s.opt.Tokens != nil {
		authenticate = c.s.opt.Tokens.Authenticate
	}
	identity, err := authenticate(c.r)
	if err != nil {
		if p, ok := errors.AsType[*Problem](err); ok {
			return p
		}
		return problem(Unauthenticated, "%v", err).saying("not authorized").
			header("WWW-Authenticate", challenge)
	}
	c.identity = identity
	return nil
}

// allow authorizes the request for a verb on a path or pattern. It does not look at objects.
func (c *call) allow(verb Verb, pattern string) error {
	err := c.s.allowed(c.identity, verb, pattern)
	if p, ok := err.(*Problem); ok {
		return p
	}
	return err
}

func (s *Server) allowed(identity any, verb Verb, pattern string) error {
	if isReserved(pattern) {
		return problem(ReservedPath, "%q belongs to the server; paths below %s/ are reserved", clip(pattern), reserved)
	}
	authorize := s.opt.Authorize
	if s.opt.Tokens != nil {
		authorize = s.opt.Tokens.Authorize
	}
	if authorize == nil {
		return nil
	}
	err := authorize(identity, verb, pattern)
	if err == nil {
		return nil
	}
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	return problem(Forbidden, "%v", err).saying("not authorized")
}

// view returns what the request may see of an object, or false for nothing.
func (c *call) view(obj *meta.Object) (*meta.Object, bool) {
	if isReserved(obj.Path) {
		return nil, false
	}
	if c.s.opt.View == nil {
		return obj, true
	}
	seen, ok := c.s.opt.View(c.identity, obj)
	if !ok || seen == nil {
		return nil, false
	}
	if seen != obj {
		if !jsonvalid.Valid(seen.Data) {
			panic("server: View returned invalid JSON")
		}
		// The hook must not change the identity of the object.
		shown := *obj
		shown.Data, shown.Created, shown.Updated = seen.Data, seen.Created, seen.Updated
		return &shown, true
	}
	return obj, true
}

// clip shortens untrusted text for an error of one line.
func clip(text string) string {
	const most = 80
	if len(text) > most {
		return text[:most] + "..."
	}
	return text
}

// bearer returns the token of a request: from its Authorization header or, for a browser's WebSocket, which cannot
// set it, from the subprotocol after "bearer".
func bearer(r *http.Request) string {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	if !isUpgrade(r) {
		return ""
	}
	protocols := strings.Split(strings.Join(r.Header.Values("Sec-WebSocket-Protocol"), ","), ",")
	for i, protocol := range protocols[:len(protocols)-1] {
		if strings.TrimSpace(protocol) == "bearer" {
			return strings.TrimSpace(protocols[i+1])
		}
	}
	return ""
}

// isUpgrade reports whether a request is a WebSocket handshake.
func isUpgrade(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}
