package server_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/oolith-db/oolith"
	"github.com/oolith-db/oolith/server"
)

func TestFirst(t *testing.T) {
	store, err := oolith.Open("memory:")
	if err != nil {
		t.Fatal(err)
	}
	h := server.New(store, server.Options{})
	ts := httptest.NewServer(h)
	do := func(method, path, body string, header ...string) {
		req, _ := http.NewRequest(method, ts.URL+path, strings.NewReader(body))
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		data, _ := io.ReadAll(resp.Body)
		t.Log(method, path, header, resp.StatusCode, resp.Header, string(data))
	}
	if os.Getenv("LOOK") == "" {
		t.Skip()
	}
	do("POST", "/box", `{"a": 1, "b":[1, 2]}`)
	do("PUT", "/box", `{"a":1}`, "Oolith-TTL", "1h")
	do("GET", "/box", ``)
	do("PATCH", "/box", `{"b":null}`)
	do("PATCH", "/box", `{"b":null}`, "Content-Type", "application/merge-patch+json", "Prefer", "return=representation")
	do("POST", "/things/*", `1`, "Idempotency-Key", "k1")
	do("POST", "/things/*", `1`, "Idempotency-Key", "k1")
	do("POST", "/things/*", `2`, "Idempotency-Key", "k1")
	do("GET", "/things/*", ``)
	do("GET", "/*/*/*/*/*/*", ``)
	do("PUT", "/box", `{"a":1}`, "If-None-Match", "*", "Prefer", "return=representation")
	do("GET", "/a@b", ``)
	do("GET", "/nope", ``)
	do("GET", "/", ``, "Accept", "application/json")
	do("GET", "/?api=info", ``)
	do("DELETE", "/box", ``)
	do("DELETE", "/box", ``)
	do("POST", "/~/batch", `{"changes":[{"op":"set","path":"a","data":1},{"op":"push","path":"p/*","data":{}},{"op":"delete","path":"nope"}]}`)
	do("POST", "/~/batch", `{"changes":[{"op":"set","path":"a","data":1},{"op":"push","path":"p/*","data":{}}]}`)
	do("GET", "/~/stats", ``)
}
