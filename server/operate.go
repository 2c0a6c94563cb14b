package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/oolith-db/oolith/internal/jsontext"
	"github.com/oolith-db/oolith/storage"
)

// Resources for operators: connections, tokens, the description of the server.

// mostConnections is the maximum number of connections in an answer.
const mostConnections = 1000

// connections answers /~/connections: the open streams, oldest first, and the subscriptions of the store itself.
func (c *call) connections() error {
	type connection struct {
		ID        uint64    `json:"id"`
		Protocol  string    `json:"protocol"`
		Identity  string    `json:"identity,omitempty"`
		Remote    string    `json:"remote"`
		Since     time.Time `json:"since"`
		Patterns  []string  `json:"patterns"`
		Unsent    int       `json:"unsentBytes"`
		Sent      uint64    `json:"messages"`
		Catch     uint64    `json:"catchUps"`
		CatchesUp bool      `json:"catchesUp"`
	}
	all := c.s.streams.Connections()
	list := make([]connection, 0, min(len(all), mostConnections))
	for _, one := range all[:min(len(all), mostConnections)] {
		name := nameOf(one.Identity)
		if token, ok := one.Identity.(*held); ok && token.Name != "" {
			name = token.Name
		}
		list = append(list, connection{
			one.ID, one.Protocol, name, one.Remote, one.Since.UTC(), one.Patterns, one.Unsent, one.Sent, one.CatchUps, one.Behind,
		})
	}
	stats := c.s.store.Stats()
	c.w.Header().Set("Cache-Control", "no-store")
	return c.writeJSON(http.StatusOK, map[string]any{
		"total": len(all), "connections": list,
		"store": map[string]any{
			"watchers": stats.Watchers, "lag": stats.Lag, "coalesced": stats.Coalesced,
			"subscriptions": stats.Subscriptions, "subscriptionLag": stats.SubscriptionLag, "subscriptionResets": stats.SubscriptionResets,
		},
	})
}

// end closes a connection or revokes a token.
func (c *call) end(kind, id string) error {
	if c.r.Method != http.MethodDelete {
		return allowed("DELETE", c.r.Method)
	}
	if kind == "tokens" {
		return c.revoke(id)
	}
	number, err := strconv.ParseUint(id, 10, 64)
	if err == nil && c.s.streams.Disconnect(number) {
		c.audit(Admin, "connections/"+id, nil)
		c.write(http.StatusNoContent, "", nil)
		return nil
	}
	return problem(NotFound, "there is no open connection %q; it may have ended already", clip(id))
}

// describe answers /~/about: the store, the program, the limits.
func (c *call) describe() error {
	stats := c.s.store.Stats()
	version := "unknown"
	if build, ok := debug.ReadBuildInfo(); ok {
		version = build.Main.Version
		for _, setting := range build.Settings {
			if setting.Key == "vcs.revision" {
				version += " " + setting.Value[:min(12, len(setting.Value))]
			}
		}
	}
	engine, _, _ := strings.Cut(c.s.opt.StoreURL, ":")
	limits := map[string]any{}
	v := reflect.ValueOf(c.s.limits)
	for i := range v.NumField() {
		name, value := v.Type().Field(i).Name, v.Field(i).Interface()
		if d, ok := value.(time.Duration); ok {
			value = d.String()
		}
		limits[name] = value
	}
	c.w.Header().Set("Cache-Control", "no-store")
	return c.writeJSON(http.StatusOK, map[string]any{
		"version": version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH, "started": c.s.started.UTC(),
		"store": map[string]any{
			"id": c.s.storeID(), "url": c.s.opt.StoreURL, "engine": engine, "inMemory": stats.InMemory, "cached": stats.Cached,
			"persistent": stats.Persistent, "readOnly": errors.Is(stats.WritesStopped, storage.ErrReadOnly),
		},
		"checks": c.s.checked(), "limits": limits,
	})
}

// checked returns the checks of readyz as JSON.
func (s *Server) checked() []map[string]any {
	var all []map[string]any
	for _, check := range s.checks() {
		all = append(all, map[string]any{"name": check.name, "ok": check.wrong == "", "detail": check.wrong})
	}
	return all
}

// tokens answers /~/tokens: the existing tokens, or a new one. A server without tokens has no such resource.
func (c *call) tokens() error {
	if err := c.requireAllowed(Admin, "**"); err != nil {
		return err
	}
	known := c.s.opt.Tokens
	if known == nil {
		return problem(NoSuchResource, "this server uses no tokens; serve with --auth, or set Options.Tokens")
	}
	switch c.r.Method {
	case http.MethodGet, http.MethodHead:
		list, err := ListTokens(known.dir)
		if err != nil {
			return err
		}
		if list == nil {
			list = []Token{}
		}
		c.w.Header().Set("Cache-Control", "no-store")
		return c.writeJSON(http.StatusOK, map[string]any{"tokens": list})
	case http.MethodPost:
		return c.makeToken()
	}
	return allowed("GET, HEAD, POST", c.r.Method)
}

// makeToken creates a token with at most the rights of its creator.
func (c *call) makeToken() error {
	body, err := c.json()
	if err != nil {
		return err
	}
	var wanted struct {
		Name   string   `json:"name"`
		Scopes []string `json:"scopes"`
		TTL    string   `json:"ttl"`
	}
	const expected = `expected an object such as {"name":"dashboard","scopes":["read:places/**"],"ttl":"90d"}`
	if err := json.Unmarshal(body, &wanted); err != nil {
		return problem(InvalidJSON, "%v; "+expected, jsontext.Explain(err))
	}
	if len(wanted.Scopes) == 0 {
		return problem(InvalidJSON, "the scopes are missing; "+expected)
	}
	var scopes []Scope
	for _, text := range wanted.Scopes {
		scope, err := ParseScope(text)
		if err != nil {
			return problem(InvalidJSON, "%v", err)
		}
		for _, verb := range scope.Verbs {
			if err := c.requireAllowed(verb, scope.Pattern); err != nil {
				return err
			}
		}
		scopes = append(scopes, scope)
	}
	ttl := time.Duration(0)
	if wanted.TTL != "" {
		var ok bool
		if ttl, ok = parseTTL(wanted.TTL); !ok {
			return problem(InvalidJSON, "ttl: %q, expected seconds such as 90, or a time such as 90m or 7d", clip(wanted.TTL))
		}
	}
	token, text, err := c.s.opt.Tokens.Create(wanted.Name, scopes, ttl)
	if err != nil {
		return err
	}
	c.audit(Admin, "tokens/"+token.ID, nil)
	c.w.Header().Set("Cache-Control", "no-store")
	return c.writeJSON(http.StatusCreated, map[string]any{"token": token, "text": text})
}

// revoke revokes a token.
func (c *call) revoke(id string) error {
	if c.s.opt.Tokens == nil {
		return problem(NoSuchResource, "this server uses no tokens; serve with --auth, or set Options.Tokens")
	}
	err := c.s.opt.Tokens.Revoke(id)
	if errors.Is(err, ErrNoToken) {
		return problem(NotFound, "%v", err)
	}
	if err != nil {
		return err
	}
	c.audit(Admin, "tokens/"+id, nil)
	c.write(http.StatusNoContent, "", nil)
	return nil
}
