package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/storage"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveDirectory); dir != "" {
		if err := serveChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// fixture is a server of a store in memory, reached over real connections.
type fixture struct {
	t       *testing.T
	store   *storage.Layered
	handler *server.Server
	url     string
	client  *http.Client
	log     *logged
}

// serve starts a server with options; of the store too, where there are any.
func serve(t *testing.T, opt server.Options, storeOptions ...storage.Options) *fixture {
	t.Helper()
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
	options := storage.Options{}
	if len(storeOptions) > 0 {
		options = storeOptions[0]
	}
	if err := store.Start(options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return serveStore(t, store, opt)
}

// serveOver serves a store over a layer, with all in memory.
func serveOver(t *testing.T, layer storage.EmbeddedLayer) *fixture {
	t.Helper()
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: layer})
	if err := store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return serveStore(t, store, server.Options{})
}

// serveStore starts a server of a store.
func serveStore(t *testing.T, store *storage.Layered, opt server.Options) *fixture {
	t.Helper()
	f := &fixture{t: t, store: store, log: &logged{}}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	f.handler = server.New(store, opt)
	listening := httptest.NewServer(f.handler)
	f.url, f.client = listening.URL, listening.Client()
	f.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(func() {
		f.handler.Close()
		listening.Close()
	})
	return f
}

// logged is what a log got. It may be written to from any goroutine.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// answer is what a request got.
type answer struct {
	t      *testing.T
	asked  string
	status int
	header http.Header
	body   string
}

// do sends a request with headers, each "Name: value".
func (f *fixture) do(method, target, body string, headers ...string) answer {
	f.t.Helper()
	return f.send(f.t.Context(), method, target, strings.NewReader(body), headers...)
}

func (f *fixture) send(ctx context.Context, method, target string, body io.Reader, headers ...string) answer {
	f.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, f.url+target, body)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Add(name, value)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		f.t.Fatalf("%s %s: %v", method, target, err)
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatalf("%s %s: the body: %v", method, target, err)
	}
	return answer{f.t, fmt.Sprint(method, " ", target, " ", headers), resp.StatusCode, resp.Header, string(got)}
}

// is demands a status and a body; "*" is any body.
func (a answer) is(status int, body string) answer {
	a.t.Helper()
	if a.status != status || body != "*" && a.body != body {
		a.t.Errorf("%s: %d %s, want %d %s", a.asked, a.status, a.body, status, body)
	}
	return a
}

// has demands headers, each "Name: value"; "Name:" is the header's absence.
func (a answer) has(headers ...string) answer {
	a.t.Helper()
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ":")
		if got := strings.Join(a.header.Values(name), ", "); got != strings.TrimSpace(value) {
			a.t.Errorf("%s: the header %s is %q, want %q", a.asked, name, got, strings.TrimSpace(value))
		}
	}
	return a
}

// problem is a problem as a client reads it.
type problem struct {
	Type, Title, Detail string
	Status              int
	all                 map[string]any
}

// isProblem demands a problem of a kind whose detail has a text, and returns it.
func (a answer) isProblem(kind server.Kind, detail string) problem {
	a.t.Helper()
	var p problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.header.Get("Content-Type") != "application/problem+json" {
		a.t.Errorf("%s: %d %s %q is no problem: %v", a.asked, a.status, a.header.Get("Content-Type"), a.body, err)
		return p
	}
	if err := json.Unmarshal([]byte(a.body), &p.all); err != nil {
		a.t.Error(err)
	}
	want := (&server.Problem{Kind: kind}).Status()
	if p.Type != server.ProblemBase+string(kind) || a.status != want || p.Status != want || p.Title == "" || !strings.Contains(p.Detail, detail) {
		a.t.Errorf("%s: %d %s, want %d %s with %q", a.asked, a.status, a.body, want, kind, detail)
	}
	return p
}

// member demands a member of the problem.
func (p problem) member(t *testing.T, name string, want any) problem {
	t.Helper()
	if got := p.all[name]; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: the member %q is %v, want %v", p.Type, name, got, want)
	}
	return p
}

// object is an object as a client reads it.
type object struct {
	Created, Updated int64
	Index, Path      string
	Data             json.RawMessage
	Revision         uint64
	Expires          int64
}

// object reads the body as an object.
func (a answer) object() (obj object) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.body), &obj); err != nil {
		a.t.Fatalf("%s: %d %s: %v", a.asked, a.status, a.body, err)
	}
	return obj
}

// objects reads the body as a list, and returns the data of its objects in one line.
func (a answer) data() string {
	a.t.Helper()
	var list []object
	if err := json.Unmarshal([]byte(a.body), &list); err != nil {
		a.t.Fatalf("%s: %d %s: %v", a.asked, a.status, a.body, err)
	}
	all := make([]string, len(list))
	for i, obj := range list {
		all[i] = string(obj.Data)
	}
	return strings.Join(all, " ")
}

const asProblem = "Accept: application/problem+json"

// fixtureOf serves another handler.
func fixtureOf(t *testing.T, handler http.Handler) *fixture {
	t.Helper()
	listening := httptest.NewServer(handler)
	t.Cleanup(listening.Close)
	return &fixture{t: t, url: listening.URL, client: listening.Client(), log: &logged{}}
}
