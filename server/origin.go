package server

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// The accepted hosts, and the origins whose pages may use the server.

// checkHost rejects a request for a host that the server does not serve. To a browser, a page whose name was pointed
// at this machine (DNS rebinding) has the same origin as the server; only the name reveals it.
func (c *call) checkHost() error {
	host := hostOf(c.r.Host)
	if slices.ContainsFunc(c.s.opt.Hosts, func(own string) bool { return strings.EqualFold(strings.Trim(own, "[]"), host) }) {
		return nil
	}
	local, known := c.r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	switch {
	case len(c.s.opt.Hosts) > 0:
		if isLoopback(host) && known && isLoopback(hostOf(local.String())) {
			return nil
		}
	case !known: // it came over no connection
		return nil
	case isLoopback(hostOf(local.String())):
		if isLoopback(host) {
			return nil
		}
	case c.s.authenticates():
		return nil
	default:
		if _, err := netip.ParseAddr(host); err == nil || isLoopback(host) {
			return nil
		}
	}
	return problem(ForeignHost, "the server does not serve the host %q; add it to Options.Hosts, or with --host", clip(c.r.Host))
}

// hostOf returns a host without its port.
func hostOf(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		hostport = host
	}
	return strings.Trim(hostport, "[]")
}

// isLoopback reports whether a host can only be this machine.
func isLoopback(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsLoopback()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// origins are the origins whose pages may use the server.
type origins struct {
	all    bool
	listed []string
	cross  *http.CrossOriginProtection
}

func newOrigins(listed []string) origins {
	return origins{all: slices.Contains(listed, "*"), listed: listed, cross: http.NewCrossOriginProtection()}
}

const (
	corsMethods = "GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS"
	corsHeaders = "Authorization, Content-Type, Content-Encoding, If-Match, If-None-Match, Prefer, Idempotency-Key, Oolith-TTL, " +
		"Last-Event-ID, X-Request-Id, Traceparent"
	corsExposed = "ETag, Location, Link, Oolith-TTL, Oolith-Revision, Idempotent-Replayed, Retry-After, X-Request-Id, Accept-Patch, Preference-Applied"
)

// checkOrigin rejects requests from pages of other origins that are not listed, and answers preflight requests.
func (c *call) checkOrigin() (preflight bool, err error) {
	origin := c.r.Header.Get("Origin")
	allowed := origin != "" && (c.s.origins.all || slices.Contains(c.s.origins.listed, origin))
	if allowed {
		header := c.w.Header()
		if c.s.origins.all {
			origin = "*"
		}
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Access-Control-Expose-Headers", corsExposed)
		if c.isPreflight() {
			header.Set("Access-Control-Allow-Methods", corsMethods)
			header.Set("Access-Control-Allow-Headers", corsHeaders)
			header.Set("Access-Control-Max-Age", "600")
			c.write(http.StatusNoContent, "", nil)
			return true, nil
		}
		return false, nil
	}
	// Browsers send the origin with each request that can change something and with each WebSocket.
	foreign := c.s.origins.cross.Check(c.r)
	if foreign == nil && origin != "" {
		if u, err := url.Parse(origin); err != nil || u.Host == "" || !strings.EqualFold(u.Host, c.r.Host) {
			return false, foreignOrigin(origin)
		}
	}
	if foreign != nil {
		return false, foreignOrigin(origin)
	}
	return false, nil
}

func foreignOrigin(origin string) error {
	return problem(ForeignOrigin, "pages of the origin %q may not use this server; add it to Options.Origins, or with --origin", clip(origin)).
		saying("Forbidden\n")
}

func (c *call) isPreflight() bool {
	return c.r.Method == http.MethodOptions && c.r.Header.Get("Access-Control-Request-Method") != ""
}
