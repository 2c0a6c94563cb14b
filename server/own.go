package server

import (
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// The resources of the server itself, below /~/. Paths of objects cannot contain that character.

//go:embed openapi.json
var openAPI []byte

// own answers a request for one of them.
func (c *call) own(name string) error {
	switch name {
	case "livez", "readyz":
		if !c.s.opt.SeparateAdmin {
			return c.health(name)
		}
	case "openapi.json":
		if err := c.onlyRead(); err != nil {
			return err
		}
		c.write(http.StatusOK, "application/json", openAPI)
		return nil
	case "metrics", "stats", "history", "connections", "about":
		if c.s.opt.SeparateAdmin {
			break
		}
		if err := c.enterAdmin(); err != nil {
			return err
		}
		return c.operate(name)
	}
	if run := resources[name]; run != nil {
		if err := c.enter(); err != nil {
			return err
		}
		return run(c)
	}
	if name == "ui" || strings.HasPrefix(name, "ui/") {
		return c.explorer(strings.TrimPrefix(strings.TrimPrefix(name, "ui"), "/"))
	}
	if kind, id, ok := strings.Cut(name, "/"); ok && (kind == "connections" || kind == "tokens") {
		if kind == "connections" && c.s.opt.SeparateAdmin {
			return noSuchResource(name)
		}
		if err := c.enterAdmin(); err != nil {
			return err
		}
		return c.end(kind, id)
	}
	return noSuchResource(name)
}

// resources authenticate the client and authorize it themselves.
var resources = map[string]func(*call) error{
	"batch":       (*call).commitBatch,
	"live":        (*call).follows,
	"whoami":      (*call).whoami,
	"count":       (*call).count,
	"directories": (*call).directories,
	"rows":        (*call).rows,
	"changes":     (*call).tellChanges,
	"tokens":      (*call).tokens,
}

// operated are the resources for operators; on the listener of Admin, if there is one.
var operated = map[string]func(*call) error{
	"metrics": func(c *call) error {
		c.s.figures.handler.ServeHTTP(c.w, c.r)
		return nil
	},
	"stats":       (*call).stats,
	"history":     (*call).history,
	"connections": (*call).connections,
	"about":       (*call).describe,
}

// enterAdmin admits an operator.
func (c *call) enterAdmin() error {
	if err := c.enter(); err != nil {
		return err
	}
	return c.requireAllowed(Admin, "**")
}

func noSuchResource(name string) error {
	return problem(NoSuchResource, "there is nothing at /~/%s", clip(name))
}

// admin answers a request to the handler of Admin.
func (c *call) admin() error {
	name, ok := strings.CutPrefix(c.r.URL.EscapedPath(), "/~/")
	switch {
	case ok && (name == "livez" || name == "readyz"):
		return c.health(name)
	case ok && operated[name] != nil:
		return c.operate(name)
	}
	if id, is := strings.CutPrefix(name, "connections/"); ok && is {
		return c.end("connections", id)
	}
	return problem(NoSuchResource, "there is nothing at %s, expected one of /~/livez, /~/readyz, /~/metrics, /~/stats, /~/history, /~/connections, /~/about", clip(c.r.URL.EscapedPath()))
}

func (c *call) onlyRead() error {
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		return allowed("GET, HEAD", c.r.Method)
	}
	return nil
}

// operate answers with metrics.
func (c *call) operate(name string) error {
	if err := c.onlyRead(); err != nil {
		return err
	}
	return operated[name](c)
}

// check is a condition for the server to be ready.
type check struct {
	name  string
	wrong string // empty if it holds
	note  string // addition of verbose if it holds
}

// checks returns the checks of readyz.
func (s *Server) checks() []check {
	stats := s.store.Stats()
	serving, store, writes := check{name: "serving"}, check{name: "store"}, check{name: "writes"}
	if s.closing.Load() {
		serving.wrong = "the server is shutting down"
	}
	if !stats.Active {
		store.wrong = storage.ErrNotActive.Error()
	}
	if stats.WritesStopped != nil {
		writes.wrong = stats.WritesStopped.Error()
	}
	checks := []check{serving, store, writes}
	if stats.Shared {
		age := stats.Staleness.Round(time.Millisecond)
		shared := check{name: "shared engine", note: fmt.Sprintf(", the data of this node is at most %v old", age)}
		if stats.Unavailable != nil {
			shared.wrong = fmt.Sprintf("lost, the data of this node is %v old: %v", age, stats.Unavailable)
		}
		checks = append(checks, shared)
	}
	return checks
}

// health answers livez, which always succeeds, and readyz.
func (c *call) health(name string) error {
	if err := c.onlyRead(); err != nil {
		return err
	}
	c.w.Header().Set("Cache-Control", "no-store")
	if name == "livez" {
		c.write(http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
		return nil
	}
	query, err := c.parameters("verbose")
	if err != nil {
		return err
	}
	var wrong []string
	var verbose strings.Builder
	for _, check := range c.s.checks() {
		if check.wrong == "" {
			fmt.Fprintf(&verbose, "[+] %s: ok%s\n", check.name, check.note)
			continue
		}
		fmt.Fprintf(&verbose, "[-] %s: %s\n", check.name, check.wrong)
		wrong = append(wrong, check.name+": "+check.wrong)
	}
	status, text := http.StatusOK, "ok\n"
	if len(wrong) > 0 {
		if !query.Has("verbose") {
			return problem(Unavailable, "not ready: %s", strings.Join(wrong, "; ")).header("Retry-After", strconv.Itoa(retryAfter))
		}
		status = http.StatusServiceUnavailable
	}
	if query.Has("verbose") {
		text = verbose.String()
	}
	c.write(status, "text/plain; charset=utf-8", []byte(text))
	return nil
}

// directoriesOf returns the number of directories of the server's own objects.
func directoriesOf(own int) int {
	if own == 0 {
		return 0
	}
	return strings.Count(outcomesDir, "/") + 1
}

// stats answers with the present metrics as JSON.
func (c *call) stats() error {
	stats := c.s.store.Stats()
	own, err := c.s.store.Count(Reserved)
	switch {
	case err == nil:
		c.s.ownObjects.Store(int64(own))
	case errors.Is(err, storage.ErrStale):
		own = int(c.s.ownObjects.Load()) // operators need the metrics now
	case stats.Active:
		return err
	}
	figures := map[string]any{
		"store":          c.s.storeID(),
		"revision":       stats.Revision,
		"active":         stats.Active,
		"objects":        max(0, stats.Objects-own),
		"ownObjects":     own, // the server keeps them in the store: see Reserved
		"directories":    max(0, stats.Directories-directoriesOf(own)),
		"dataBytes":      stats.DataBytes,
		"expiring":       max(0, stats.Expiring-own),
		"commits":        stats.Commits,
		"watchers":       stats.Watchers,
		"subscriptions":  stats.Subscriptions,
		"locks":          stats.Locks,
		"streams":        c.s.open.Load(),
		"connections":    c.s.figures.connections.open.Load(),
		"inFlight":       c.s.figures.inFlight.Load(),
		"requests":       c.s.figures.requests.Load(),
		"uptimeSeconds":  int64(time.Since(c.s.started).Seconds()),
		"writesStopped":  stats.WritesStopped != nil,
		"commitP99Nanos": stats.Commit.Quantile(0.99),
	}
	if stats.Shared {
		figures["stalenessNanos"] = stats.Staleness.Nanoseconds()
		figures["unavailable"] = stats.Unavailable != nil
	}
	return c.writeJSON(http.StatusOK, figures)
}
