package server

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/oolith-db/oolith/server/internal/live"
)

// The content of "/": the explorer for browsers, the clock for WebSockets, and the resources of the older servers'
// explorer.

func (c *call) root() error {
	switch c.r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		c.w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		c.write(http.StatusNoContent, "", nil)
		return nil
	default:
		return problem(MethodNotAllowed, "the method %s is not allowed for /, expected GET, HEAD or OPTIONS", clip(c.r.Method)).
			header("Allow", "GET, HEAD, OPTIONS").saying("Method Not Allowed\n")
	}
	if isUpgrade(c.r) {
		return c.stream(func(who live.Caller) { c.s.streams.ServeWire(c.w, c.r, who, "") })
	}
	c.w.Header()["Vary"] = variesByAll
	switch api := c.query().Get("api"); {
	case api != "":
		return c.api(api)
	case c.accepts("application/json") && !c.accepts("text/html"):
		keys, err := c.keys("")
		if err != nil {
			return err
		}
		return c.writeJSON(http.StatusOK, map[string]any{"keys": keys})
	}
	return c.explorer("")
}

// keys returns the paths with a prefix that the request may see, in byte order.
func (c *call) keys(prefix string) ([]string, error) {
	if err := c.requireAllowed(Read, "**"); err != nil {
		return nil, err
	}
	all, err := c.s.store.Keys()
	if err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(all))
	for _, path := range all {
		if !strings.HasPrefix(path, prefix) || isReserved(path) {
			continue
		}
		if c.s.opt.View != nil {
			obj, err := c.s.store.Get(path)
			if err != nil {
				continue // deleted in the meantime
			}
			if _, seen := c.view(&obj); !seen {
				continue
			}
		}
		keys = append(keys, path)
	}
	return keys, nil
}

// api answers the requests of the older explorer. This server has no filters, endpoints, proxies and pivots.
func (c *call) api(name string) error {
	limits := &c.s.limits
	switch name {
	case "keys":
		return c.keysPage()
	case "info":
		return c.writeJSON(http.StatusOK, map[string]any{
			"name": "oolith", "address": c.r.Host, "deadline": limits.BodyTime, "readTimeout": limits.BodyTime,
			"writeTimeout": limits.AnswerTime, "readHeaderTimeout": limits.HeaderTime, "idleTimeout": limits.IdleTime,
			"forcePatch": false, "noPatch": false, "static": false, "silence": true, "workers": 6, "tick": 1_000_000_000,
			"watchPanics": 0, "droppedEvents": 0,
		})
	case "filters":
		return c.writeJSON(http.StatusOK, map[string]any{"paths": []string{}, "filters": []string{}})
	case "state":
		if err := c.requireAllowed(Admin, "**"); err != nil {
			return err
		}
		return c.writeJSON(http.StatusOK, c.s.state())
	case "pivot":
		return c.writeJSON(http.StatusOK, map[string]any{
			"role": "none", "pivotIP": "", "nodes": nil, "syncedKeys": nil, "pivotHealthy": false, "pivotLastCheck": "",
			"pivotProtocol": 0, "pivotCompatible": false,
		})
	case "endpoints", "proxies":
		return c.writeJSON(http.StatusOK, []string{})
	case "orphan-keys":
		keys, err := c.keys("")
		if err != nil {
			return err
		}
		return c.writeJSON(http.StatusOK, keys)
	}
	return badParameter("api", "%q, expected one of keys, info, filters, state, pivot, endpoints, proxies, orphan-keys", clip(name))
}

// keysPage answers ?api=keys. An invalid page or limit means the first and the default one.
func (c *call) keysPage() error {
	query := c.query()
	filter := query.Get("filter")
	prefix, _, _ := strings.Cut(filter, "*")
	keys, err := c.keys(prefix)
	if err != nil {
		return err
	}
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil || limit < 1 || limit > 500 {
		limit = 50
	}
	page, err := strconv.Atoi(query.Get("page"))
	if err != nil || page < 1 {
		page = 1
	}
	from := len(keys)
	if page-1 < len(keys)/limit+1 {
		from = min(len(keys), (page-1)*limit)
	}
	return c.writeJSON(http.StatusOK, map[string]any{
		"keys": keys[from:min(len(keys), from+limit)], "total": len(keys), "page": page, "limit": limit, "filter": filter,
	})
}

// state returns the number of streams of each pattern and of the clock.
func (s *Server) state() map[string]any {
	type pool struct {
		Key         string `json:"key"`
		Connections int    `json:"connections"`
	}
	pools := []pool{}
	for pattern, n := range s.streams.Followers() {
		pools = append(pools, pool{pattern, n})
	}
	if clocks := s.streams.Stats().Connections["clock"]; clocks > 0 {
		pools = append(pools, pool{"(clock)", clocks})
	}
	slices.SortFunc(pools, func(a, b pool) int { return strings.Compare(a.Key, b.Key) })
	return map[string]any{"pools": pools, "totalConnections": s.open.Load()}
}
