package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storagetest"
)

// sharedFigures are what stats and metrics say of a shared engine.
type sharedFigures struct {
	OwnObjects     *int
	StalenessNanos *int64
	Unavailable    *bool
}

func (f *fixture) sharedFigures() (s sharedFigures) {
	f.t.Helper()
	if err := json.Unmarshal([]byte(f.do("GET", "/~/stats", "").is(200, "*").body), &s); err != nil {
		f.t.Fatal(err)
	}
	return s
}

// becomes returns once what a request gets has a status.
func (f *fixture) becomes(method, target string, status int) {
	for f.do(method, target, "").status != status {
		time.Sleep(time.Millisecond)
	}
}

// A node that is behind waits for what another one told a client, and goes on from there.
func TestTokenOfAnotherNode(t *testing.T) {
	var held atomic.Pointer[chan struct{}]
	twin := storagetest.Twin{Delay: func(node int, step string) {
		if gate := held.Load(); gate != nil && node == 1 && step == "deliver" {
			<-*gate
		}
	}}
	var served []*fixture
	for range 2 {
		store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: twin.Node()})
		if err := store.Start(storage.Options{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(store.Close)
		served = append(served, serveStore(t, store, server.Options{}))
	}
	gate := make(chan struct{})
	held.Store(&gate)
	served[0].do("PUT", "/k/1", "1").is(201, "*")
	follow := func(f *fixture, token string) *bufio.Scanner {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+"/k/*", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", "text/event-stream")
		if token != "" {
			request.Header.Set("Last-Event-ID", token)
		}
		response, err := f.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = response.Body.Close() }) // it is read no more
		return bufio.NewScanner(response.Body)
	}
	token := ""
	for lines := follow(served[0], ""); token == "" && lines.Scan(); {
		token, _ = strings.CutPrefix(lines.Text(), "id: ")
		if !strings.HasPrefix(lines.Text(), "id: ") {
			token = ""
		}
	}
	time.AfterFunc(100*time.Millisecond, func() { close(gate) }) // the node asks meanwhile, or has it already: both are well
	var told []string
	for lines := follow(served[1], token); lines.Scan(); {
		if event, is := strings.CutPrefix(lines.Text(), "event: "); is {
			told = append(told, event)
			if event == "live" {
				break
			}
		}
	}
	if len(told) == 0 || slices.Contains(told, "reset") || slices.Contains(told, "snapshot") {
		t.Errorf("the other node tells %q from %q, want no fresh state", told, token)
	}
}

// A server on a node that is cut off from the shared engine says so: writes are 503, reads go on until they are too old, and all is
// well again once it is back.
func TestSharedEngine(t *testing.T) {
	var twin storagetest.Twin
	var layers []*storagetest.TwinNode
	var served []*fixture
	for range 2 {
		layer := twin.Node()
		store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: layer})
		if err := store.Start(storage.Options{MaxStaleness: 2 * time.Second}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(store.Close)
		layers, served = append(layers, layer), append(served, serveStore(t, store, server.Options{}))
	}
	a, b := served[0], served[1]
	b.do("PUT", "/k/1", "1").is(201, "*")
	b.do("POST", "/k/*", "1", "Idempotency-Key: once").is(200, "*")
	b.becomes("GET", "/~/readyz", 200)
	if got := b.do("GET", "/~/readyz?verbose", "").is(200, "*").body; !strings.Contains(got, "[+] shared engine: ok, the data of this node is at most ") {
		t.Errorf("readyz: %s", got)
	}
	before := b.sharedFigures()
	if before.StalenessNanos == nil || *before.StalenessNanos < 0 || before.Unavailable == nil || *before.Unavailable || *before.OwnObjects == 0 {
		t.Errorf("stats: %+v", before)
	}

	layers[1].Cut()
	b.becomes("GET", "/~/readyz", 503)
	b.do("GET", "/~/readyz", "").has("Retry-After: 1").isProblem(server.Unavailable, "shared engine: lost")
	got := b.do("GET", "/~/readyz?verbose", "").is(503, "*").body
	if !strings.Contains(got, "[-] shared engine: lost, the data of this node is ") || !strings.Contains(got, "[+] writes: ok\n") {
		t.Errorf("readyz: %s", got)
	}
	b.do("GET", "/k/1", "").is(200, "*")
	for _, write := range []struct{ method, target, body string }{
		{"PUT", "/k/1", "2"}, {"POST", "/k/*", "2"}, {"DELETE", "/k/1", ""}, {"DELETE", "/k/*", ""}, {"PATCH", "/k/1", `{"a":1}`},
		{"POST", "/~/batch", `{"changes":[{"op":"set","path":"x","data":1}]}`},
	} {
		headers := []string{asProblem}
		if write.method == "PATCH" {
			headers = append(headers, "Content-Type: application/merge-patch+json")
		}
		b.do(write.method, write.target, write.body, headers...).has("Retry-After: 1").isProblem(server.Unavailable, "the shared engine cannot be reached")
	}
	b.becomes("GET", "/k/1", 503)
	for _, target := range []string{"/k/1", "/k/*", "/~/count?pattern=k/*", "/~/directories"} {
		b.do("GET", target, "").has("Retry-After: 1").isProblem(server.Unavailable, "older than MaxStaleness allows")
	}
	b.do("GET", "/~/livez", "").is(200, "ok\n")
	during := b.sharedFigures()
	if *during.StalenessNanos < (2*time.Second).Nanoseconds() || !*during.Unavailable || *during.OwnObjects != *before.OwnObjects {
		t.Errorf("stats of a node that is cut off: %+v, want what they were before: %+v", during, before)
	}
	metrics := strings.Split(b.do("GET", "/~/metrics", "").is(200, "*").body, "\n")
	if !slices.Contains(metrics, "oolith_unavailable 1") || !slices.ContainsFunc(metrics, func(line string) bool {
		var seconds float64
		n, _ := fmt.Sscanf(line, "oolith_staleness_seconds %g", &seconds) // 0 of another line
		return n == 1 && seconds >= 2
	}) {
		t.Errorf("metrics do not say that the engine is lost")
	}
	a.do("GET", "/k/1", "").is(200, "*")
	a.do("PUT", "/k/1", "3").is(200, "*")
	a.do("GET", "/~/readyz", "").is(200, "ok\n")

	layers[1].Heal()
	b.becomes("GET", "/~/readyz", 200)
	b.becomes("GET", "/k/1", 200)
	if got := b.do("GET", "/k/1", "").object(); string(got.Data) != "3" {
		t.Errorf("a node that is back has %s, want what the other wrote meanwhile", got.Data)
	}
	b.do("PUT", "/k/1", "4").is(200, "*")
	if after := b.sharedFigures(); *after.Unavailable {
		t.Errorf("stats of a node that is back: %+v", after)
	}
}
