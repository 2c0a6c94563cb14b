package server_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/storage"
)

// What is wrong with a request is said in one line: which part of it, and what is expected. Nothing is changed.
func TestBadInput(t *testing.T) {
	f := serve(t, server.Options{Limits: server.Limits{Body: 2000, Decompressed: 3000, Depth: 5}})
	f.do("PUT", "/o", `{"a":1}`).is(201, "*")
	before := f.store.Stats().Revision
	bomb := zipped(t, strings.Repeat(" ", 1<<20)+"1")
	for _, c := range []struct {
		name, method, target, body string
		headers                    []string
		kind                       server.Kind
		detail                     string
		member                     string
		want                       any
	}{
		{"a byte outside of the grammar", "GET", "/a/b@c", "", nil, server.InvalidPath, "byte 3, '@'", "", nil},
		{"a space", "GET", "/a%20b", "", nil, server.InvalidPath, "byte 1, ' '", "", nil},
		{"no UTF-8", "GET", "/a%ff", "", nil, server.InvalidPath, `byte 1, '\xff'`, "", nil},
		{"a segment of two dots", "GET", "/a/../b", "", nil, server.InvalidPath, `".." at byte 2`, "", nil},
		{"an encoded dot", "GET", "/a/%2e%2e/b", "", nil, server.InvalidPath, `".." at byte 2`, "", nil},
		{"an empty segment", "PUT", "/a//b", "1", nil, server.InvalidPath, "byte 2", "", nil},
		{"a slash at the end", "PUT", "/a/", "1", nil, server.InvalidPath, "byte 2", "", nil},
		{"an encoded slash", "GET", "/a%2Fb", "", nil, server.InvalidPath, "encoded slash at byte 1", "", nil},
		{"an encoded slash in small letters", "GET", "/aa%2fb", "", nil, server.InvalidPath, "encoded slash at byte 2", "", nil},
		{"too long", "GET", "/" + strings.Repeat("a", 1025), "", nil, server.InvalidPath, "1025 bytes, at most 1024", "", nil},
		{"two stars in the middle", "GET", "/a/**b", "", nil, server.InvalidPath, "byte", "", nil},
		{"a put of a pattern", "PUT", "/a/*", "1", nil, server.InvalidPath, "the path of one object", "", nil},
		{"a patch of a pattern", "PATCH", "/a/*", "{}", nil, server.InvalidPath, "the path of one object", "", nil},
		{"a push in the middle", "POST", "/a/*/b", "1", nil, server.InvalidPath, "end", "", nil},
		{"a push of two stars", "POST", "/a/*/*", "1", nil, server.InvalidPath, "at most one", "", nil},

		{"no JSON", "PUT", "/o", `{"a":x}`, nil, server.InvalidJSON, "at byte 5", "offset", 5},
		{"JSON that ends too soon", "PUT", "/o", `{"a":1`, nil, server.InvalidJSON, "at byte 6", "offset", 6},
		{"two values", "PUT", "/o", `{"a":1}{"b":2}`, nil, server.InvalidJSON, "at byte 7", "offset", 7},
		{"bytes behind the value", "POST", "/o", `{"a":1} x`, nil, server.InvalidJSON, "at byte 8", "offset", 8},
		{"a byte that is no UTF-8", "PUT", "/o", "{\"a\":\"\xff\"}", nil, server.InvalidJSON, "0xff is not UTF-8", "offset", 6},
		{"too deep", "PUT", "/o", `[[[[[[1]]]]]]`, nil, server.InvalidJSON, "the limit Depth", "offset", 5},
		{"too deep, of objects", "PUT", "/o", `{"a":{"a":{"a":{"a":{"a":{}}}}}}`, nil, server.InvalidJSON, "the limit Depth", "offset", 25},
		{"two members of one name", "PUT", "/o", `{"a":1,"b":{"x":1,"\u0078":2}}`, nil, server.InvalidJSON, `two members with the same name, "x"`, "offset", 18},
		{"an empty body", "PUT", "/o", "", nil, server.InvalidJSON, "empty", "offset", 0},
		{"white space alone", "PUT", "/o", " \n", nil, server.InvalidJSON, "empty", "offset", 0},
		{"a byte order mark", "PUT", "/o", "\ufeff1", nil, server.InvalidJSON, "at byte 0", "offset", 0},

		{"a large body", "PUT", "/o", `"` + strings.Repeat("x", 2000) + `"`, nil, server.TooLarge, "2000 bytes, the limit Body", "limit", 2000},
		{"a compression bomb", "PUT", "/o", bomb, []string{"Content-Encoding: gzip"}, server.TooLarge, "3000 bytes, the limit Decompressed", "limit", 3000},
		{"a body that is not compressed", "PUT", "/o", `{"a":"not compressed"}`, []string{"Content-Encoding: gzip"}, server.InvalidHeader, "not", "header", "Content-Encoding"},
		{"a compressed body cut off", "PUT", "/o", zipped(t, `{"a":2}`)[:18], []string{"Content-Encoding: gzip"}, server.InvalidJSON, "ends", "", nil},
		{"an unknown coding", "PUT", "/o", "{}", []string{"Content-Encoding: br"}, server.UnsupportedType, "gzip or none", "", nil},

		{"a limit of nothing", "GET", "/a/*?limit=0", "", nil, server.InvalidParameter, `"limit": "0", expected 1 to 10000`, "parameter", "limit"},
		{"a time that is none", "GET", "/a/*?from=now", "", nil, server.InvalidParameter, `"now"`, "parameter", "from"},
		{"a range turned around", "GET", "/a/*?from=2&to=1", "", nil, server.InvalidParameter, "before", "parameter", "to"},
		{"a cursor that is none", "GET", "/a/*?cursor=x", "", nil, server.InvalidParameter, "cursor", "parameter", "cursor"},
		{"an unknown parameter", "GET", "/o?limit=1", "", nil, server.InvalidParameter, `"limit"`, "parameter", "limit"},
		{"an unknown parameter of a write", "PUT", "/o?x=1", "2", nil, server.InvalidParameter, `"x"`, "parameter", "x"},
		{"a query that is none", "GET", "/a/*?limit=%zz", "", nil, server.InvalidParameter, "query", "", nil},
		{"an api that there is not", "GET", "/?api=nope", "", nil, server.InvalidParameter, "nope", "parameter", "api"},
		{"no pattern to watch", "GET", "/~/live", "", nil, server.InvalidParameter, "watch", "parameter", "watch"},
		{"a bad pattern to watch", "GET", "/~/live?watch=a/*&watch=b//c", "", nil, server.InvalidParameter, "byte 2", "parameter", "watch"},
		{"a wait that is none", "GET", "/o", "", []string{"Prefer: wait=soon", `If-None-Match: "x"`}, server.InvalidHeader, "soon", "header", "Prefer"},

		{"a patch that is none", "PATCH", "/o", `{"op":"add"}`, []string{"Content-Type: application/json-patch+json"}, server.InvalidPatch, "patch", "", nil},
		{"a patch that does not apply", "PATCH", "/o", `[{"op":"remove","path":"/x"}]`, []string{"Content-Type: application/json-patch+json"}, server.PatchDoesNotApply, "operation 0", "operation", 0},
		{"a test of a patch", "PATCH", "/o", `[{"op":"test","path":"/a","value":2}]`, []string{"Content-Type: application/json-patch+json"}, server.PatchTestFailed, "operation 0", "operation", 0},
		{"a condition that is false", "PUT", "/o", "2", []string{`If-Match: "x"`}, server.ConditionFailed, "revision", "revision", before},

		{"a method that there is not", "TRACK", "/o", "", nil, server.MethodNotAllowed, "TRACK", "", nil},
		{"a method of the root", "PUT", "/", "1", nil, server.MethodNotAllowed, "PUT", "", nil},
		{"a method of health", "POST", "/~/livez", "1", nil, server.MethodNotAllowed, "POST", "", nil},
		{"a resource that there is not", "GET", "/~/nope", "", nil, server.NoSuchResource, "nope", "", nil},
		{"a media type of a put", "PUT", "/o", "2", []string{"Content-Type: text/plain"}, server.UnsupportedType, "text/plain", "", nil},
		{"a media type of a patch", "PATCH", "/o", "2", []string{"Content-Type: application/xml"}, server.UnsupportedType, "application/xml", "", nil},
		{"curl's media type of a put", "PUT", "/o", "2", []string{"Content-Type: application/x-www-form-urlencoded"}, server.UnsupportedType, "add -H 'Content-Type: application/json'", "", nil},
		{"curl's media type of a patch", "PATCH", "/o", "{}", []string{"Content-Type: application/x-www-form-urlencoded"}, server.UnsupportedType, "add -H 'Content-Type: application/json'", "", nil},
		{"curl's media type of a batch", "POST", "/~/batch", "{}", []string{"Content-Type: application/x-www-form-urlencoded"}, server.UnsupportedType, "add -H 'Content-Type: application/json'", "", nil},
		{"a media type that cannot be read", "PUT", "/o", "2", []string{"Content-Type: ;;"}, server.UnsupportedType, ";;", "", nil},

		{"a foreign host", "GET", "/o", "", []string{"Host: evil.example"}, server.ForeignHost, "evil.example", "", nil},
		{"a foreign origin", "PUT", "/o", "2", []string{"Origin: https://evil.example"}, server.ForeignOrigin, "evil.example", "", nil},
	} {
		got := f.do(c.method, c.target, c.body, append(c.headers, asProblem)...)
		p := got.isProblem(c.kind, c.detail)
		if c.member != "" {
			p.member(t, c.member, c.want)
		}
		if strings.ContainsAny(p.Detail, "\n\r") || len(p.Detail) > 400 {
			t.Errorf("%s: the detail is no line: %q", c.name, p.Detail)
		}
		if t.Failed() {
			t.Fatalf("in the row %q", c.name)
		}
	}
	if after := f.store.Stats().Revision; after != before {
		t.Errorf("bad input moved the store from revision %d to %d", before, after)
	}
	f.do("PUT", "/~/openapi.json", "1").has("Allow: GET, HEAD").isProblem(server.MethodNotAllowed, "PUT")
	f.do("TRACK", "/o", "").has("Allow: GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS")
	lax := serve(t, server.Options{AllowDuplicateMembers: true})
	lax.do("PUT", "/o", `{"a":1,"a":2}`).is(201, "*")
}

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A body that pauses, or drips, ends; a body with a length that it does not reach does not hang.
func TestStalledBodies(t *testing.T) {
	f := serve(t, server.Options{Limits: server.Limits{BodyStall: 50 * time.Millisecond, BodyTime: 300 * time.Millisecond}})
	send := func(feed func(io.Writer)) string {
		conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := io.WriteString(conn, "PUT /s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		go feed(conn)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(resp.StatusCode, " ", string(body))
	}
	if got := send(func(w io.Writer) { _, _ = io.WriteString(w, `"half`) }); !strings.HasPrefix(got, "408") || !strings.Contains(got, "BodyStall") {
		t.Errorf("a body that pauses: %s", got)
	}
	if got := send(func(w io.Writer) {
		for _, err := io.WriteString(w, `"`); err == nil; _, err = io.WriteString(w, "x") {
			time.Sleep(5 * time.Millisecond)
		}
	}); !strings.HasPrefix(got, "408") {
		t.Errorf("a body that drips: %s", got)
	}
	f.do("GET", "/s", "").is(404, "*")
}

// A store that is closed, or takes no more writes, says so; reads go on where they can.
func TestStoreThatIsNotWell(t *testing.T) {
	layer := &failing{EmbeddedLayer: plain{storage.NewMemoryLayer()}}
	f := serveOver(t, layer)
	f.do("PUT", "/a", "1").is(201, "*")
	f.do("GET", "/~/readyz", "").is(200, "ok\n")
	f.do("GET", "/~/readyz?verbose", "").is(200, "[+] serving: ok\n[+] store: ok\n[+] writes: ok\n")
	f.do("POST", "/~/batch", `{"changes":[{"op":"set","path":"x","data":1},{"op":"set","path":"y","data":1}]}`).isProblem(server.NotSupported, "batches")
	f.do("POST", "/a", "1", "Idempotency-Key: k").isProblem(server.NotSupported, "batches")
	layer.broken = true
	f.do("PUT", "/a", "2").isProblem(server.Internal, "log")
	f.do("GET", "/a", "").is(200, "*")
	if got := f.do("GET", "/a", "").object(); string(got.Data) != "1" {
		t.Errorf("a write that failed left %s", got.Data)
	}
	if !strings.Contains(f.log.String(), "the disk is on fire") {
		t.Error("the log does not say why a write failed")
	}

	f.store.Close()
	for _, target := range []string{"/a", "/a/*"} {
		f.do("GET", target, "").has("Retry-After: 1").isProblem(server.Unavailable, "not active")
	}
	f.do("PUT", "/a", "2").isProblem(server.Unavailable, "not active")
	f.do("DELETE", "/a/*", "").isProblem(server.Unavailable, "not active")
	f.do("GET", "/~/readyz", "").isProblem(server.Unavailable, "store: storage: storage is not active")
	f.do("GET", "/~/readyz?verbose", "").is(503, "[+] serving: ok\n[-] store: storage: storage is not active\n[+] writes: ok\n")
	f.do("GET", "/~/livez", "").is(200, "ok\n")
}

// After a commit of which nobody knows whether the disk has it, writes end and reads go on.
func TestWritesStopped(t *testing.T) {
	layer := &stopping{plain: plain{storage.NewMemoryLayer()}}
	f := serveOver(t, layer)
	f.do("PUT", "/a", "1").is(201, "*")
	layer.broken = true
	f.do("PUT", "/a", "2")
	for range 2 {
		f.do("PUT", "/a", "3").has("Retry-After: 1").isProblem(server.Unavailable, "writes are stopped")
		f.do("DELETE", "/*", "", asProblem).isProblem(server.Unavailable, "writes are stopped")
	}
	if got := f.do("GET", "/a", "").is(200, "*").object(); string(got.Data) != "1" {
		t.Errorf("after writes were stopped: %s", got.Data)
	}
	f.do("GET", "/~/readyz", "").isProblem(server.Unavailable, "the disk is on fire")
	if got := f.do("GET", "/~/readyz?verbose", ""); got.status != 503 || !strings.Contains(got.body, "[-] writes: ") || !strings.Contains(got.body, "[+] store: ok") {
		t.Errorf("readyz: %d %s", got.status, got.body)
	}
	f.do("GET", "/~/livez", "").is(200, "ok\n")
}

// stopping is a layer with batches whose disk breaks.
type stopping struct {
	plain
	broken bool
	last   uint64
}

func (l *stopping) Commit(changes []storage.Change) error {
	if l.broken {
		return errors.New("the disk is on fire")
	}
	for _, ch := range changes {
		l.last = max(l.last, ch.Revision)
		var err error
		switch {
		case ch.IsClear():
			l.Clear()
		case ch.Object != nil:
			err = l.Set(ch.Key, ch.Object)
		default:
			err = l.Del(ch.Key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *stopping) LastRevision() (uint64, error) { return l.last, nil }

// failing is a layer whose disk breaks.
type failing struct {
	storage.EmbeddedLayer
	broken bool
}

func (l *failing) Set(key string, obj *meta.Object) error {
	if l.broken {
		return errors.New("the disk is on fire")
	}
	return l.EmbeddedLayer.Set(key, obj)
}

// plain is a persistent layer that keeps nothing, and has no batches.
type plain struct{ *storage.MemoryLayer }

func (plain) Load() (map[string]*meta.Object, error) { return map[string]*meta.Object{}, nil }
