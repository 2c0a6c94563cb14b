// Package openapi holds the server to its description of itself: a validator reads openapi.json, and every answer. It is a
// module of its own, so that nobody who uses the server downloads the validator.
package openapi

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/storage"
)

// notSeen are answers that no request of this test gets, each with its reason.
var notSeen = []string{
	"408",                                                  // takes time: TestStalledBodies
	"500",                                                  // TestHooks
	"501",                                                  // TestStoreThatIsNotWell
	"get /~/changes 200", "delete /~/connections/{id} 204", // TestChanges, TestStreamsAreListed
	"get /~/changes 429",                                    // TestChanges
	"get /~/live 101", "get /~/live 200", "get /~/live 429", // streams have their own description
	"get /~/readyz 503", "503", // TestStoreThatIsNotWell
}

// request is one that the server gets.
type request struct {
	method, target, body string
	headers              []string
}

func TestAnswers(t *testing.T) {
	text, err := os.ReadFile("../openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := libopenapi.NewDocument(text)
	if err != nil {
		t.Fatal(err)
	}
	valid, errs := validator.NewValidator(document)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if ok, errs := valid.ValidateDocument(); !ok {
		for _, err := range errs {
			t.Errorf("the document: %s: %s", err.Message, err.Reason)
			for _, cause := range err.SchemaValidationErrors {
				t.Errorf("  %s: %s", cause.KeywordLocation, cause.Reason)
			}
		}
	}
	seen := map[string]bool{}
	targets := []request{
		{"GET", "/", "", nil}, {"GET", "/other", "", nil}, {"PUT", "/other", "1", nil}, {"POST", "/other", "1", nil}, {"PATCH", "/other", "{}", nil},
		{"DELETE", "/other", "", nil}, {"POST", "/~/batch", `{"changes":[{"op":"set","path":"other","data":1}]}`, nil},
		{"GET", "/~/live?watch=other", "", nil}, {"GET", "/~/metrics", "", nil}, {"GET", "/~/stats", "", nil},
		{"GET", "/~/whoami", "", nil}, {"GET", "/~/count?pattern=other/*", "", nil}, {"GET", "/~/directories", "", nil}, {"GET", "/~/rows?pattern=other/*", "", nil}, {"GET", "/~/changes?watch=other", "", nil},
		{"GET", "/~/history", "", nil}, {"GET", "/~/connections", "", nil}, {"DELETE", "/~/connections/1", "", nil}, {"GET", "/~/about", "", nil},
		{"GET", "/~/tokens", "", nil}, {"POST", "/~/tokens", `{"scopes":["read:other"]}`, nil}, {"DELETE", "/~/tokens/abc", "", nil},
	}
	open := newServer(t, server.Options{
		RequireCondition: []string{"required"}, Limits: server.Limits{Body: 2000, ListObjects: 30},
		BeforeWrite: func(_ any, change *server.Change) error {
			if change.Path == "refused" {
				return fmt.Errorf("no")
			}
			return nil
		},
	})
	limited := newServer(t, server.Options{
		Authenticate: func(r *http.Request) (any, error) {
			if r.Header.Get("Authorization") == "" {
				return nil, fmt.Errorf("no token")
			}
			return "one", nil
		},
		Authorize: func(_ any, _ server.Verb, pattern string) error {
			if pattern != "box" {
				return fmt.Errorf("not for this token")
			}
			return nil
		},
		Limits: server.Limits{Rate: 1e-6, Burst: 3*len(targets) + 1},
	})
	answer := func(url string, r request) {
		t.Helper()
		check(t, valid, seen, url, r)
	}
	for _, r := range requests() {
		answer(open, r)
	}
	apart := newServer(t, server.Options{SeparateAdmin: true})
	for _, name := range []string{"livez", "readyz", "metrics", "stats", "history", "connections", "about"} {
		answer(apart, request{"GET", "/~/" + name, "", nil})
		answer(open, request{"GET", "/~/" + name, "", []string{"Host: evil.example"}})
	}
	answer(open, request{"GET", "/~/openapi.json", "", []string{"Host: evil.example"}})
	const token = "Authorization: Bearer x"
	for _, r := range targets {
		answer(limited, r)
		r.headers = []string{token}
		if r.target == "/" {
			r.target = "/?api=keys"
		}
		answer(limited, r)
		r.headers = []string{"Host: evil.example"}
		answer(limited, r)
	}
	for range 20 {
		answer(limited, request{"GET", "/other", "", []string{token}})
	}
	for _, r := range targets {
		r.headers = []string{token}
		answer(limited, r)
	}
	tokened(t, valid, seen)
	for _, missed := range documented(t, document, seen) {
		t.Errorf("%s is documented, and no request of this test gets it", missed)
	}
}

// tokened sends what a server that asks for tokens answers.
func tokened(t *testing.T, valid validator.Validator, seen map[string]bool) {
	t.Helper()
	tokens, err := server.OpenTokens(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tokens.Close)
	_, text, err := tokens.Create("all", []server.Scope{{Pattern: "**", Verbs: []server.Verb{server.Read, server.Write, server.Admin}}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	url := newServer(t, server.Options{Tokens: tokens, Limits: server.Limits{Body: 2000}})
	authorized := []string{"Authorization: Bearer " + text}
	ask := func(method, target, body string) {
		check(t, valid, seen, url, request{method, target, body, authorized})
	}
	ask("GET", "/~/whoami", "")
	ask("GET", "/~/tokens", "")
	ask("POST", "/~/tokens", `{"name":"one","scopes":["read:a/**"],"ttl":"7d"}`)
	ask("POST", "/~/tokens", `{"scopes":[]}`)
	ask("POST", "/~/tokens", `"`+strings.Repeat("x", 3000)+`"`)
	ask("DELETE", "/~/tokens/abc", "")
	// A check sends three requests: each has a token of its own to revoke.
	made, _, err := tokens.Create("other", []server.Scope{{Pattern: "a", Verbs: []server.Verb{server.Read}}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	ask("DELETE", "/~/tokens/"+made.ID, "")
}

// newServer serves an empty store with options, and returns its address.
func newServer(t *testing.T, opt server.Options) string {
	t.Helper()
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
	if err := store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	opt.Logger = slog.New(slog.DiscardHandler)
	handler := server.New(store, opt)
	listening := httptest.NewServer(handler)
	t.Cleanup(func() {
		handler.Close()
		listening.Close()
	})
	return listening.URL
}

// check sends a request and validates the answer, both as JSON clients and as older ones send it.
func check(t *testing.T, valid validator.Validator, seen map[string]bool, url string, r request) {
	t.Helper()
	for _, accept := range []string{"", "application/problem+json", "application/vnd.oolith+json, application/problem+json"} {
		req, err := http.NewRequest(r.method, url+r.target, strings.NewReader(r.body))
		if err != nil {
			t.Fatal(err)
		}
		if accept != "" {
			req.Header.Set("Accept", accept)
		}
		for _, header := range r.headers {
			name, value, _ := strings.Cut(header, ": ")
			if name == "Host" {
				req.Host = value
			} else {
				req.Header.Set(name, value)
			}
		}
		req.Header.Set("Accept-Encoding", "identity")
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(body))
		path := "/{path}"
		if bare, _, _ := strings.Cut(r.target, "?"); bare == "/" || strings.HasPrefix(bare, "/~/") {
			path = bare
			for _, of := range []string{"/~/connections/", "/~/tokens/"} {
				if strings.HasPrefix(bare, of) {
					path = of + "{id}"
				}
			}
		}
		seen[fmt.Sprint(strings.ToLower(r.method), " ", path, " ", resp.StatusCode)] = true
		if _, errs := valid.ValidateHttpResponse(req, resp); len(errs) > 0 {
			for _, err := range errs {
				t.Errorf("%s %s %q: %d %s: %s: %s", r.method, r.target, r.headers, resp.StatusCode, body, err.Message, err.Reason)
				for _, cause := range err.SchemaValidationErrors {
					t.Errorf("  %s: %s", cause.KeywordLocation, cause.Reason)
				}
			}
		}
	}
}

// documented returns the answers that are documented and not seen, and tells of those that are seen and not documented.
func documented(t *testing.T, document libopenapi.Document, seen map[string]bool) (missed []string) {
	t.Helper()
	model, err := document.BuildV3Model()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for path, item := range model.Model.Paths.PathItems.FromOldest() {
		for method, operation := range item.GetOperations().FromOldest() {
			for code := range operation.Responses.Codes.FromOldest() {
				name := method + " " + path + " " + code
				known[name] = true
				if !seen[name] && !slices.Contains(notSeen, code) && !slices.Contains(notSeen, name) {
					missed = append(missed, name)
				}
			}
		}
	}
	for name := range seen {
		if !known[name] {
			t.Errorf("%s is an answer that is not documented", name)
		}
	}
	return missed
}
