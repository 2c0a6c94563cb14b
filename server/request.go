package server

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oolith-db/oolith/key"
)

// The path, preferences and parameters of a request.

// isOlder reports whether a request could come from an older client and asks for nothing that such a client does not
// know: parameters, conditions and media types.
func (c *call) isOlder() bool {
	switch c.r.Method {
	case http.MethodGet, http.MethodPost, http.MethodDelete:
	case http.MethodPatch:
		if kind := c.mediaType(); kind != "" && kind != "application/json" {
			return false
		}
	default:
		return false
	}
	for _, name := range []string{"If-Match", "If-None-Match", "Prefer", "Idempotency-Key", "Oolith-Ttl"} {
		if c.r.Header.Get(name) != "" {
			return false
		}
	}
	for name := range c.query() {
		if name != "v" {
			return false
		}
	}
	return !c.accepts("application/problem+json") && !c.accepts("application/json") && !c.accepts(fullType)
}

// accepts reports whether the request accepts a media type.
func (c *call) accepts(mediaType string) bool {
	for _, header := range c.r.Header.Values("Accept") {
		for part := range strings.SplitSeq(header, ",") {
			name, parameters, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(name), mediaType) && !strings.HasPrefix(strings.ReplaceAll(parameters, " ", ""), "q=0;") &&
				strings.ReplaceAll(parameters, " ", "") != "q=0" {
				return true
			}
		}
	}
	return false
}

// query returns the query of the request without its invalid parts. findPath rejects those.
func (c *call) query() url.Values {
	if c.r.URL.RawQuery == "" {
		return nil // the common case
	}
	return c.r.URL.Query()
}

// findPath parses the path or pattern of a request, "" for the root, and rejects an invalid one.
func (c *call) findPath() error {
	escaped := strings.TrimPrefix(c.r.URL.EscapedPath(), "/")
	if at := strings.Index(strings.ToLower(escaped), "%2f"); at >= 0 {
		return invalidPath("an encoded slash at byte %d; slashes of a path are not encoded", at)
	}
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return invalidPath("%v", err)
	}
	if path != "" {
		if err := key.Check(path); err != nil {
			return invalidPath("%v", err)
		}
	}
	if c.r.URL.RawQuery != "" {
		if _, err := url.ParseQuery(c.r.URL.RawQuery); err != nil {
			return problem(InvalidParameter, "the query has an invalid escape; write %%25 for a percent sign")
		}
	}
	c.path = path
	return nil
}

// invalidPath is the problem for an invalid path. Its text for older clients is theirs, followed by the reason.
func invalidPath(format string, args ...any) *Problem {
	p := problem(InvalidPath, format, args...)
	return p.saying("ooo: key is not valid: " + p.Detail)
}

// prefers returns the value of a preference (RFC 7240) and whether the request has it.
func (c *call) prefers(name string) (string, bool) {
	for _, header := range c.r.Header.Values("Prefer") {
		for part := range strings.FieldsFuncSeq(header, func(r rune) bool { return r == ',' }) {
			preference, _, _ := strings.Cut(part, ";")
			token, value, _ := strings.Cut(strings.TrimSpace(preference), "=")
			if strings.EqualFold(strings.TrimSpace(token), name) {
				return strings.Trim(strings.TrimSpace(value), `"`), true
			}
		}
	}
	return "", false
}

// wantsObject reports whether the answer to a write is to be the object.
func (c *call) wantsObject() bool {
	value, _ := c.prefers("return")
	return strings.EqualFold(value, "representation")
}

// ttl parses the time to live of a write: seconds, or a number with a unit such as 90m or 7d. It returns false if
// there is none.
func (c *call) ttl() (time.Duration, bool, error) {
	header := c.r.Header.Get("Oolith-Ttl")
	if header == "" {
		return 0, false, nil
	}
	ttl, ok := parseTTL(header)
	if !ok {
		return 0, false, problem(InvalidHeader, "Oolith-TTL: %q, expected seconds such as 90, or a time such as 90m or 7d", clip(header)).
			with("header", "Oolith-TTL")
	}
	return ttl, true, nil
}

func parseTTL(text string) (time.Duration, bool) {
	const most = int64(1<<63-1) / int64(time.Second)
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Duration(seconds) * time.Second, seconds > 0 && seconds <= most
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 64)
		return time.Duration(n) * 24 * time.Hour, err == nil && n > 0 && n <= most/(24*3600)
	}
	ttl, err := time.ParseDuration(text)
	return ttl, err == nil && ttl > 0
}

// parameters returns the query of a request. Each parameter must be known and occur only once.
func (c *call) parameters(known ...string) (url.Values, error) {
	query := c.query()
	for name, values := range query {
		if !slices.Contains(known, name) {
			return nil, badParameter(name, "it is unknown, expected some of %s", strings.Join(known, ", "))
		}
		if len(values) > 1 {
			return nil, badParameter(name, "it occurs %d times, expected once", len(values))
		}
	}
	return query, nil
}

func badParameter(name, format string, args ...any) *Problem {
	p := problem(InvalidParameter, "the parameter %q: "+format, append([]any{clip(name)}, args...)...)
	return p.with("parameter", clip(name))
}

// allowed is the problem for a method that a resource does not have.
func allowed(methods, method string) error {
	return problem(MethodNotAllowed, "the method %s is not allowed, expected one of %s", clip(method), methods).header("Allow", methods)
}
