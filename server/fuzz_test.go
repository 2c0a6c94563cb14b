package server_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/internal/jsonvalid"
	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/storage"
)

// Whatever a client sends, the answer is one of the documented ones, no failure of the server, and what is stored is JSON.
func FuzzRequest(f *testing.F) {
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
	if err := store.Start(storage.Options{}); err != nil {
		f.Fatal(err)
	}
	defer store.Close()
	handler := server.New(store, server.Options{Logger: slog.New(slog.DiscardHandler), Limits: server.Limits{Depth: 20, Body: 4096}})
	defer handler.Close()
	f.Add("PUT", "/a/b", `{"a":1}`, "Content-Type", "application/json")
	f.Add("POST", "/a/*", `[1,{"b":null}]`, "Idempotency-Key", "k")
	f.Add("PATCH", "/a/b", `[{"op":"add","path":"/x","value":1}]`, "Content-Type", "application/json-patch+json")
	f.Add("PATCH", "/a/b", `{"a":null}`, "If-Match", `W/"x", "y"`)
	f.Add("GET", "/a/*?limit=2&order=asc&from=1&to=2026-01-01T00:00:00Z", "", "Accept", "application/problem+json")
	f.Add("POST", "/~/batch", `{"changes":[{"op":"set","path":"a","data":1,"ttl":"1h"}]}`, "Prefer", "return=representation")
	f.Add("DELETE", "/a/%2a", "", "Oolith-TTL", "1d")
	f.Fuzz(func(t *testing.T, method, target, body, name, value string) {
		req, err := http.NewRequest(method, "http://localhost/", strings.NewReader(body))
		if err != nil {
			t.Skip()
		}
		if req.URL, err = req.URL.Parse(target); err != nil || req.URL.Host != "localhost" {
			t.Skip()
		}
		if strings.EqualFold(name, "Upgrade") || strings.EqualFold(name, "Accept") && strings.Contains(value, "event-stream") || strings.EqualFold(name, "Prefer") || req.URL.Path == "/~/live" {
			t.Skip() // a stream
		}
		req.Header[http.CanonicalHeaderKey(name)] = []string{value}
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, req)
		contentType := recorder.Header().Get("Content-Type")
		switch status := recorder.Code; {
		case status >= 500 && status != http.StatusNotImplemented, status < 200:
			t.Fatalf("%s %q %q %q: %q: %d %s", method, target, name, value, body, status, recorder.Body)
		case strings.HasSuffix(contentType, "json") && recorder.Header().Get("Content-Encoding") == "" && !json.Valid(recorder.Body.Bytes()):
			t.Fatalf("%s %q: %d %s is no JSON", method, target, status, recorder.Body)
		case status >= 400 && contentType != "application/problem+json" && !strings.HasPrefix(contentType, "text/plain"):
			t.Fatalf("%s %q: %d as %s", method, target, status, contentType)
		}
		objects, err := store.GetList("**")
		if err != nil {
			t.Fatal(err)
		}
		for _, obj := range objects {
			if !jsonvalid.Valid(obj.Data) {
				t.Fatalf("%s %q %q made %q: %q", method, target, body, obj.Path, obj.Data)
			}
		}
		if len(objects) > 100 {
			store.Clear()
		}
	})
}

// No text is a token but one that was made.
func FuzzToken(f *testing.F) {
	tokens, err := server.OpenTokens(filepath.Join(f.TempDir(), "tokens"), slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	defer tokens.Close()
	made, text, err := tokens.Create("", []server.Scope{{Pattern: "**", Verbs: []server.Verb{server.Read}}}, 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("Bearer oolith_"+made.ID+"_00", "")
	f.Add("bearer oolith__", "bearer, oolith_x")
	f.Add("", "bearer")
	f.Fuzz(func(t *testing.T, authorization, protocols string) {
		if strings.Contains(authorization, text) || strings.Contains(protocols, text) {
			t.Skip()
		}
		req := httptest.NewRequest("GET", "/", nil)
		req.Header["Authorization"] = []string{authorization}
		req.Header["Sec-Websocket-Protocol"] = []string{protocols}
		req.Header.Set("Upgrade", "websocket")
		if identity, err := tokens.Authenticate(req); err == nil {
			t.Fatalf("%q, %q is %v", authorization, protocols, identity)
		}
	})
}
