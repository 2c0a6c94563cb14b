package server_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/server"
)

// tokens opens a directory of tokens.
func tokens(t *testing.T) *server.Tokens {
	t.Helper()
	opened, err := server.OpenTokens(filepath.Join(t.TempDir(), "tokens"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.Close)
	return opened
}

// token makes a token and returns its header.
func token(t *testing.T, in *server.Tokens, lifetime time.Duration, scopes ...string) (server.Token, string) {
	t.Helper()
	parsed := make([]server.Scope, len(scopes))
	for i, scope := range scopes {
		var err error
		if parsed[i], err = server.ParseScope(scope); err != nil {
			t.Fatal(err)
		}
	}
	made, text, err := in.Create("test", parsed, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	return made, "Authorization: Bearer " + text
}

func TestTokens(t *testing.T) {
	known := tokens(t)
	var audit logged
	f := serve(t, server.Options{Tokens: known, Audit: slog.New(slog.NewTextHandler(&audit, nil))})
	_, reader := token(t, known, 0, "read:things/*", "read,write:box")
	made, all := token(t, known, 0, "read,write,admin:**")
	_, short := token(t, known, time.Nanosecond, "read:**")
	if _, err := f.store.Set("secret", []byte("1")); err != nil {
		t.Fatal(err)
	}
	for _, header := range []string{"X: y", "Authorization: Basic x", "Authorization: Bearer", "Authorization: Bearer x", "Authorization: Bearer oolith_x_y", all + "0", all[:len(all)-1], short, strings.Replace(all, made.ID, "000000000000", 1)} {
		for _, target := range []string{"/secret", "/absent", "/", "/~/stats", "/~/batch", "/~/live?watch=a"} {
			f.do("GET", target, "", header, asProblem).has(`WWW-Authenticate: Bearer realm="oolith"`).isProblem(server.Unauthenticated, "token")
		}
		f.do("GET", "/secret", "", header).is(401, "not authorized")
	}
	// Of several patterns, the answer names the one that is refused.
	for pattern, kind := range map[string]server.Kind{"secret": server.Forbidden, "a//b": server.InvalidParameter} {
		refused := f.do("GET", "/~/live?watch=box&watch="+pattern, "", reader).isProblem(kind, pattern)
		if refused.all["pattern"] != pattern {
			t.Errorf("of box and %s, the answer names %v", pattern, refused.all["pattern"])
		}
	}
	// The same for what is present and what is absent.
	present := f.do("GET", "/secret", "", reader, asProblem)
	present.isProblem(server.Forbidden, "read")
	f.do("GET", "/absent", "", reader, asProblem).is(403, strings.ReplaceAll(present.body, "secret", "absent"))
	for _, c := range []struct {
		method, target string
		status         int
	}{
		{"GET", "/box", 404}, {"PUT", "/box", 201}, {"GET", "/box", 200}, {"DELETE", "/box", 204},
		{"GET", "/things/*", 200}, {"GET", "/things/a*", 200}, {"GET", "/things/1", 404}, {"PUT", "/things/1", 403}, {"POST", "/things/*", 403},
		{"GET", "/things/1/2", 403}, {"GET", "/*/*", 403}, {"GET", "/thing*/*", 403}, {"GET", "/*", 403}, {"DELETE", "/*", 403},
		{"GET", "/?api=keys", 403}, {"GET", "/~/stats", 403}, {"GET", "/~/metrics", 403}, {"GET", "/?api=state", 403}, {"GET", "/?api=info", 200},
		{"GET", "/~/livez", 200}, {"GET", "/~/readyz", 200}, {"GET", "/~/openapi.json", 200},
	} {
		f.do(c.method, c.target, "1", reader).is(c.status, "*")
	}
	f.do("POST", "/~/batch", `{"changes":[{"op":"set","path":"box","data":1},{"op":"set","path":"other","data":1}]}`, reader).
		isProblem(server.Forbidden, "other").member(t, "entry", 1)
	f.do("GET", "/box", "", reader).is(404, "*")
	for _, target := range []string{"/?api=keys", "/~/stats", "/~/metrics", "/?api=state", "/secret"} {
		f.do("GET", target, "", all).is(200, "*")
	}
	// A browser's WebSocket has the token beside "bearer".
	f.do("GET", "/secret", "", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Protocol: bearer, x").is(401, "not authorized")

	if err := known.Revoke(made.ID); err != nil {
		t.Fatal(err)
	}
	f.do("GET", "/secret", "", all, asProblem).isProblem(server.Unauthenticated, "revoked")
	if err := known.Revoke(made.ID); !errors.Is(err, server.ErrNoToken) {
		t.Errorf("a token revoked twice: %v", err)
	}
	text := audit.String()
	for _, want := range []string{"verb=write pattern=box outcome=done", "outcome=forbidden", "outcome=unauthenticated", "identity=" + strings.Fields(reader)[2][7:19]} {
		if !strings.Contains(text, want) {
			t.Errorf("the audit log has no %q:\n%s", want, text)
		}
	}
	for _, log := range []string{text, f.log.String()} {
		if strings.Contains(log, strings.Fields(reader)[2]) || strings.Contains(log, strings.Fields(all)[2][20:]) {
			t.Error("a log holds the secret of a token")
		}
	}
}

// What is at rest is no secret, for its owner only, and nothing else is taken for a token.
func TestTokensAtRest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tokens")
	if listed, err := server.ListTokens(dir); err != nil || len(listed) != 0 {
		t.Errorf("without a directory: %v, %v", listed, err)
	}
	scopes := []server.Scope{{Pattern: "a/**", Verbs: []server.Verb{server.Read}}}
	made, text, err := server.CreateToken(dir, "one", scopes, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), text[20:]) {
			t.Errorf("%s holds the secret", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	listed, err := server.ListTokens(dir)
	if err != nil || len(listed) != 1 || listed[0].ID != made.ID || listed[0].Name != "one" || listed[0].Scopes[0].String() != "read:a/**" || listed[0].Expires.IsZero() {
		t.Errorf("listed: %+v, %v", listed, err)
	}
	for _, id := range []string{"", "..", "../x", "x", made.ID + "/"} {
		if err := server.RevokeToken(dir, id); !errors.Is(err, server.ErrNoToken) {
			t.Errorf("revoke %q: %v", id, err)
		}
	}
	for _, bad := range []string{"", "read", "read:", "nope:a", "read:a//b", ":a", "read,:a", "read:**/a"} {
		if _, err := server.ParseScope(bad); err == nil {
			t.Errorf("the scope %q is taken", bad)
		}
	}
	if _, _, err := server.CreateToken(dir, "", nil, 0); err == nil {
		t.Error("a token without scopes is made")
	}
	if _, _, err := server.CreateToken(dir, "", scopes, -1); err == nil {
		t.Error("a token with a negative lifetime is made")
	}
	damaged := filepath.Join(dir, "000000000000.json")
	for _, data := range []string{"{", `{"id":"000000000000","hash":""}`, `{"id":"1","hash":"` + strings.Repeat("0", 64) + `"}`} {
		if err := os.WriteFile(damaged, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if opened, err := server.OpenTokens(dir, nil); err == nil {
			opened.Close()
			t.Errorf("a damaged token %s is taken", data)
		} else if !strings.Contains(err.Error(), "000000000000.json") {
			t.Errorf("a damaged token: %v", err)
		}
	}
}

// Another process makes and revokes tokens while the server runs.
func TestTokensFollowed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tokens")
	known, err := server.OpenTokens(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(known.Close)
	f := serve(t, server.Options{Tokens: known})
	made, text, err := server.CreateToken(dir, "", []server.Scope{{Pattern: "**", Verbs: []server.Verb{server.Read}}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	header := "Authorization: Bearer " + text
	until := func(status int) {
		t.Helper()
		for f.do("GET", "/box", "", header).status != status {
			time.Sleep(time.Millisecond) // it polls: a test without an answer ends by its own time limit
		}
	}
	until(404)
	req, err := http.NewRequest("GET", "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+text)
	identity, err := known.Authenticate(req)
	if err != nil {
		t.Fatal(err)
	}
	done := identity.(interface{ Done() <-chan struct{} }).Done()
	if err := server.RevokeToken(dir, made.ID); err != nil {
		t.Fatal(err)
	}
	<-done
	until(401)
}

func TestHosts(t *testing.T) {
	open := serve(t, server.Options{})
	for _, host := range []string{"127.0.0.1", "127.0.0.1:80", "localhost:8800", "LOCALHOST", "db.localhost", "[::1]:8800", "[::1]"} {
		open.do("GET", "/*", "", "Host: "+host).is(200, "[]")
	}
	for _, host := range []string{"evil.example", "127.0.0.1.evil.example", "192.0.2.1", "localhost.evil.example:8800", "notlocalhost"} {
		open.do("GET", "/*", "", "Host: "+host).isProblem(server.ForeignHost, host)
		open.do("PUT", "/a", "1", "Host: "+host).isProblem(server.ForeignHost, host)
		open.do("GET", "/~/stats", "", "Host: "+host).isProblem(server.ForeignHost, host)
	}
	named := serve(t, server.Options{Hosts: []string{"db.example.com"}})
	for _, host := range []string{"db.example.com", "DB.example.com:443", "localhost"} {
		named.do("GET", "/*", "", "Host: "+host).is(200, "[]")
	}
	named.do("GET", "/*", "", "Host: other.example.com").isProblem(server.ForeignHost, "")
}

func TestOrigins(t *testing.T) {
	const app, evil = "https://app.example.com", "https://evil.example"
	closed := serve(t, server.Options{})
	own := "Origin: " + closed.url
	for _, method := range []string{"GET", "PUT"} {
		closed.do(method, "/a", "1", own).has("Access-Control-Allow-Origin:")
		for _, headers := range [][]string{{"Origin: " + evil}, {"Origin: null"}, {"Origin: " + strings.Replace(closed.url, "127.0.0.1", "localhost", 1)}} {
			closed.do(method, "/a", "1", append(headers, asProblem)...).has("Access-Control-Allow-Origin:").isProblem(server.ForeignOrigin, "")
		}
	}
	closed.do("POST", "/a", "1", "Sec-Fetch-Site: cross-site", "Content-Type: text/plain").is(403, "Forbidden\n")
	closed.do("POST", "/a", "1", "Sec-Fetch-Site: same-origin").is(200, "*")
	closed.do("GET", "/a", "", "Origin: "+evil, "Upgrade: websocket", "Connection: Upgrade").is(403, "Forbidden\n")
	closed.do("OPTIONS", "/a", "", "Origin: "+evil, "Access-Control-Request-Method: PUT").has("Access-Control-Allow-Methods:").isProblem(server.ForeignOrigin, "")

	listed := serve(t, server.Options{Origins: []string{app}, Tokens: tokens(t)})
	listed.do("OPTIONS", "/a", "", "Origin: "+app, "Access-Control-Request-Method: PUT").is(204, "").
		has("Access-Control-Allow-Origin: "+app, "Access-Control-Allow-Methods: GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS", "Access-Control-Max-Age: 600")
	listed.do("GET", "/a", "", "Origin: "+app).is(401, "*").has("Access-Control-Allow-Origin: " + app)
	listed.do("PUT", "/a", "1", "Origin: "+evil).isProblem(server.ForeignOrigin, "")
	all := serve(t, server.Options{Origins: []string{"*"}})
	all.do("PUT", "/a", "1", "Origin: "+evil, "Sec-Fetch-Site: cross-site").is(201, "*").has("Access-Control-Allow-Origin: *", "Vary: Origin, Accept-Encoding")
}

func TestOptions(t *testing.T) {
	good := server.Options{Origins: []string{"*", "https://a.example:8443"}, Hosts: []string{"a.example", "::1"}, RequireCondition: []string{"a/**", "**", "b"}}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for _, bad := range []server.Options{
		{Origins: []string{"a.example"}}, {Origins: []string{"https://a.example/"}}, {Origins: []string{"https://a.example/x"}},
		{Hosts: []string{"https://a.example"}}, {Hosts: []string{"a.example:80"}}, {Hosts: []string{""}},
		{RequireCondition: []string{"a//b"}},
		{Tokens: &server.Tokens{}, Authenticate: func(*http.Request) (any, error) { return nil, nil }},
	} {
		if err := bad.Check(); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	// New takes them, says so, and allows nothing by them.
	f := serve(t, server.Options{Origins: []string{"https://a.example/"}})
	f.do("PUT", "/a", "1", "Origin: https://a.example").isProblem(server.ForeignOrigin, "")
	if !strings.Contains(f.log.String(), "https://a.example/") {
		t.Error("the log does not tell of wrong options")
	}
}

func TestOperations(t *testing.T) {
	f := serve(t, server.Options{})
	f.do("PUT", "/a", "1", "X-Request-Id: mine-1", "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").is(201, "*").has("X-Request-Id: mine-1")
	if id := f.do("GET", "/a", "", "X-Request-Id: not mine").header.Get("X-Request-Id"); len(id) != 16 {
		t.Errorf("an id that cannot be logged became %q", id)
	}
	for _, want := range []string{"request=mine-1", "trace_id=0af7651916cd43dd8448eb211c80319c", "parent_id=b7ad6b7169203331", "status=201"} {
		if !strings.Contains(f.log.String(), want) {
			t.Errorf("the log has no %q:\n%s", want, f.log)
		}
	}
	for _, bad := range []string{"00-0-0-00", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "x"} {
		f.do("GET", "/bad", "", "Traceparent: "+bad)
		if strings.Contains(f.log.String(), "path=/bad trace") {
			t.Errorf("the trace context %q is taken", bad)
		}
	}
	f.do("TRACK", "/a", "")
	metrics := f.do("GET", "/~/metrics", "").is(200, "*").body
	for _, want := range []string{
		`oolith_http_requests_total{code="201",method="PUT"} 1`, `oolith_http_requests_total{code="405",method="other"} 1`,
		`oolith_http_request_duration_seconds_count{method="PUT"} 1`, "oolith_active 1", "oolith_http_requests_in_flight 1", "oolith_http_streams 0",
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("the metrics have no %q", want)
		}
	}
	stats := f.do("GET", "/~/stats", "").is(200, "*").body
	if !strings.Contains(stats, `"objects":1,`) {
		t.Errorf("stats: %s", stats)
	}
	f.handler.Close()
	f.do("GET", "/~/readyz", "").isProblem(server.Unavailable, "the server is shutting down")
	f.do("GET", "/a", "").is(200, "*")

	apart := serve(t, server.Options{SeparateAdmin: true})
	for _, name := range []string{"livez", "readyz", "metrics", "stats"} {
		apart.do("GET", "/~/"+name, "").isProblem(server.NoSuchResource, name)
	}
	apart.do("GET", "/~/openapi.json", "").is(200, "*")
	admin := fixtureOf(t, apart.handler.Admin())
	for _, name := range []string{"livez", "readyz", "metrics", "stats"} {
		admin.do("GET", "/~/"+name, "").is(200, "*")
	}
	for _, target := range []string{"/a", "/~/batch", "/", "/~/openapi.json"} {
		admin.do("GET", target, "").isProblem(server.NoSuchResource, "")
	}
}

// A client that makes too many requests waits; others do not.
func TestRate(t *testing.T) {
	f := serve(t, server.Options{
		Authenticate: func(r *http.Request) (any, error) { return r.Header.Get("X-User"), nil },
		Limits:       server.Limits{Rate: 0.001, Burst: 3},
	})
	for range 3 {
		f.do("GET", "/*", "", "X-User: kay").is(200, "[]")
	}
	p := f.do("GET", "/*", "", "X-User: kay")
	p.isProblem(server.TooManyRequests, "Rate").member(t, "limit", 0.001)
	if p.header.Get("Retry-After") == "" || p.header.Get("Retry-After") == "0" {
		t.Errorf("Retry-After: %q", p.header.Get("Retry-After"))
	}
	f.do("GET", "/*", "", "X-User: lou").is(200, "[]")
	for range 10 {
		f.do("GET", "/*", "").is(200, "[]") // nobody, on this machine
	}
	f.do("GET", "/~/readyz", "").is(200, "ok\n")
}
