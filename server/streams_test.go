package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/storage"
)

// socket opens a WebSocket with headers, or returns the status of the refusal.
func (f *fixture) socket(target string, protocols []string, headers ...string) (read func() string, close func(), status int) {
	f.t.Helper()
	header := http.Header{}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		header.Add(name, value)
	}
	dialer := ws.Dialer{Protocols: protocols, Header: ws.HandshakeHeaderHTTP(header)}
	conn, buffered, hs, err := dialer.Dial(f.t.Context(), "ws"+strings.TrimPrefix(f.url, "http")+target)
	if refused, ok := err.(ws.StatusError); ok {
		return nil, func() {}, int(refused)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	if len(protocols) > 0 && hs.Protocol != protocols[0] {
		f.t.Errorf("the subprotocol is %q, want %q", hs.Protocol, protocols[0])
	}
	f.t.Cleanup(func() { _ = conn.Close() })
	var source io.Reader = conn
	if buffered != nil {
		source = buffered
	}
	return func() string {
		for {
			header, err := ws.ReadHeader(source)
			payload := make([]byte, min(header.Length, 1<<20))
			if err == nil {
				_, err = io.ReadFull(source, payload)
			}
			switch {
			case err != nil:
				return err.Error()
			case header.OpCode == ws.OpClose:
				code, reason := ws.ParseCloseFrameData(payload)
				return fmt.Sprint("close ", int(code), " ", reason)
			case header.OpCode.IsData():
				return string(payload)
			}
		}
	}, func() { _ = conn.Close() }, 101
}

// events follows server-sent events: each call returns the next one that is no comment, in one line.
func (f *fixture) events(target string, headers ...string) (next func() string, stop func(), a answer) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	f.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", f.url+target, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = resp.Body.Close() })
	a = answer{t: f.t, asked: "events " + target, status: resp.StatusCode, header: resp.Header}
	if resp.StatusCode != 200 {
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			f.t.Fatal(err)
		}
		a.body = string(body)
		return nil, cancel, a
	}
	lines := bufio.NewReader(resp.Body)
	return func() string {
		var event []string
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return "end"
			}
			switch line = strings.TrimRight(line, "\n"); {
			case strings.HasPrefix(line, "event:"), strings.HasPrefix(line, "data:"):
				event = append(event, line)
			case line == "" && len(event) > 0:
				return strings.Join(event, " ")
			}
		}
	}, cancel, a
}

func TestStreams(t *testing.T) {
	f := serve(t, server.Options{})
	f.do("PUT", "/box", `{"a":1}`).is(201, "*")
	read, closeSocket, status := f.socket("/box", nil)
	if status != 101 {
		t.Fatalf("a WebSocket: %d", status)
	}
	if first := read(); !strings.HasPrefix(first, `{"snapshot":true,"version":"`) || !strings.Contains(first, `"data":{"a":1}`) {
		t.Errorf("the first frame: %s", first)
	}
	f.do("PUT", "/box", `{"a":2}`).is(200, "*")
	if second := read(); !strings.Contains(second, `{"op":"replace","path":"/data/a","value":2}`) {
		t.Errorf("the second frame: %s", second)
	}
	clock, closeClock, _ := f.socket("/", nil)
	if now := clock(); len(now) != 19 || strings.Trim(now, "0123456789") != "" {
		t.Errorf("the clock says %q", now)
	}
	welcome, closeLive, _ := f.socket("/~/live", []string{"oolith.v1"})
	tag := f.do("GET", "/box", "").header.Get("Etag")
	store, _, _ := strings.Cut(strings.Trim(tag, `"`), "-")
	if got := welcome(); !strings.Contains(got, store) {
		t.Errorf("the welcome %s does not name the store of the tag %s", got, tag)
	}
	next, stop, _ := f.events("/~/live?watch=box&watch=l/*")
	if first := next(); !strings.HasPrefix(first, "event: snapshot") || !strings.Contains(first, `"data":{"a":2}`) {
		t.Errorf("the first event: %s", first)
	}
	if live := next(); !strings.HasPrefix(live, "event: live") {
		t.Errorf("the second event: %s", live)
	}
	list, stopList, a := f.events("/l/*")
	a.has("Content-Type: text/event-stream")
	list()
	list()
	f.do("POST", "/l/*", `"new"`).is(200, "*")
	for _, follow := range []func() string{next, list} {
		if got := follow(); !strings.HasPrefix(got, "event: patch") || !strings.Contains(got, `"new"`) {
			t.Errorf("a change: %s", got)
		}
	}
	f.do("GET", "/?api=state", "").is(200, `{"pools":[{"key":"(clock)","connections":1},{"key":"box","connections":2},{"key":"l/*","connections":2}],"totalConnections":5}`+"\n")
	if metrics := f.do("GET", "/~/metrics", "").body; !strings.Contains(metrics, "oolith_http_streams 5\n") || !strings.Contains(metrics, `oolith_http_requests_total{code="101",method="GET"} 3`) {
		t.Error("the metrics do not tell of the streams")
	}
	for _, end := range []func(){closeSocket, closeClock, closeLive, stop, stopList} {
		end()
	}
	for !strings.Contains(f.do("GET", "/~/stats", "").body, `"streams":0,`) {
		time.Sleep(time.Millisecond) // it polls
	}
}

// polls asks for something with a tag, and returns the answer once it waits for it.
func (f *fixture) polls(target, tag string, headers ...string) <-chan answer {
	f.t.Helper()
	answers := make(chan answer, 1)
	go func() {
		answers <- f.do("GET", target, "", append(headers, "Prefer: wait=60", "If-None-Match: "+tag)...)
	}()
	for !strings.Contains(f.do("GET", "/~/stats", "", headers...).body, `"streams":1,`) {
		time.Sleep(time.Millisecond) // it polls
	}
	return answers
}

func TestLongPoll(t *testing.T) {
	f := serve(t, server.Options{})
	tag := f.do("PUT", "/box", "1").header.Get("Etag")
	f.do("GET", "/box", "", "Prefer: wait=30", `If-None-Match: "x"`).is(200, "*").has("Etag: " + tag)
	f.do("GET", "/box", "", "Prefer: wait=1", "If-None-Match: "+tag).is(304, "").has("Etag: " + tag)
	f.do("GET", "/nope", "", "Prefer: wait=30", `If-None-Match: "x"`).is(404, "*")
	changed := f.polls("/box", tag)
	next := f.do("PUT", "/box", "2").header.Get("Etag")
	if got := (<-changed).is(200, "*").has("Etag: " + next).object(); string(got.Data) != "2" {
		t.Errorf("a long poll: %s", got.Data)
	}
	changed = f.polls("/box", next)
	f.do("DELETE", "/box", "").is(204, "")
	(<-changed).is(404, "*")
	// A list, and a page of one: the tag of one that was read is one to wait with.
	for _, target := range []string{"/l/*", "/l/*?limit=1", "/**?order=asc"} {
		f.do("POST", "/l/*", "1").is(200, "*")
		tag = f.do("GET", target, "").header.Get("Etag")
		f.do("PUT", "/elsewhere/deep/x", "1")
		f.do("GET", target, "", "Prefer: wait=1", "If-None-Match: "+tag)
		tag = f.do("GET", target, "").header.Get("Etag")
		changed = f.polls(target, tag)
		f.do("POST", "/l/*", `"new"`).is(200, "*")
		a := (<-changed).is(200, "*")
		if !strings.Contains(a.body, `"new"`) || strings.HasSuffix(target, "limit=1") != (a.header.Get("Link") != "") {
			t.Errorf("%s: %s %v", target, a.body, a.header)
		}
		if got := f.do("GET", target, ""); got.body != a.body || got.header.Get("Etag") != a.header.Get("Etag") {
			t.Errorf("%s is polled as %s, and read as %s", target, a.body, got.body)
		}
	}
	// A server that ends ends its polls.
	changed = f.polls("/l/*", f.do("GET", "/l/*", "").header.Get("Etag"))
	f.handler.Close()
	(<-changed).has("Retry-After: 1").isProblem(server.Unavailable, "shutting down")
}

// A poll ends with the rights of its caller.
func TestLongPollOfATokenThatIsRevoked(t *testing.T) {
	known := tokens(t)
	f := serve(t, server.Options{Tokens: known})
	made, header := token(t, known, 0, "read,write,admin:**")
	tag := f.do("PUT", "/box", "1", header).is(201, "*").header.Get("Etag")
	changed := f.polls("/box", tag, header)
	if err := known.Revoke(made.ID); err != nil {
		t.Fatal(err)
	}
	(<-changed).isProblem(server.Unauthenticated, "access has ended")
}

// A stream is for who may read, and ends when that right does.
func TestStreamsOfTokens(t *testing.T) {
	known := tokens(t)
	f := serve(t, server.Options{Tokens: known})
	made, header := token(t, known, 0, "read:box")
	secret := strings.Fields(header)[2]
	for _, c := range []struct {
		target string
		status int
	}{{"/other", 403}, {"/*", 403}, {"/**", 403}, {"/_oolith/http/idempotency/v1/outcome/*", 403}, {"/a@b", 400}} {
		if _, _, status := f.socket(c.target, nil, header); status != c.status {
			t.Errorf("a WebSocket of %s: %d, want %d", c.target, status, c.status)
		}
		_, _, a := f.events(c.target, header)
		a.is(c.status, "*")
	}
	if _, _, status := f.socket("/box", nil); status != 401 {
		t.Errorf("a WebSocket without a token: %d", status)
	}
	if _, _, status := f.socket("/box", []string{"bearer", "oolith_x_y"}); status != 401 {
		t.Errorf("a WebSocket with a wrong token: %d", status)
	}
	_, _, a := f.events("/~/live?watch=box&watch=other", header)
	a.is(403, "*")
	read, _, status := f.socket("/box", []string{"bearer", secret})
	if status != 101 {
		t.Fatalf("a browser's WebSocket: %d", status)
	}
	read()
	next, _, _ := f.events("/box", header)
	next()
	next()
	if err := known.Revoke(made.ID); err != nil {
		t.Fatal(err)
	}
	revoked := time.Now()
	if got := read(); !strings.HasPrefix(got, "close 4") || !strings.Contains(got, "access has ended") {
		t.Errorf("after the token was revoked a WebSocket got %s", got)
	}
	if got := next(); got != "end" {
		t.Errorf("after the token was revoked an event came: %s", got)
	}
	t.Logf("the streams of a revoked token ended after %v", time.Since(revoked))
}

func TestStreamsLimit(t *testing.T) {
	f := serve(t, server.Options{Limits: server.Limits{Streams: 2}})
	_, first, _ := f.socket("/box", nil)
	_, _, _ = f.events("/box")
	if _, _, status := f.socket("/box", nil); status != 429 {
		t.Errorf("a third stream: %d", status)
	}
	_, _, a := f.events("/box", asProblem)
	a.has("Retry-After: 10").isProblem(server.TooManyStreams, "the limit Streams").member(t, "limit", 2)
	f.do("GET", "/box", "").is(404, "*")
	first()
	for {
		_, _, status := f.socket("/box", nil)
		if status == 101 {
			break
		}
	}
	// What is refused takes no place.
	for range 5 {
		f.do("GET", "/~/live", "", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==").is(429, "*")
	}
}

// Nobody follows what belongs to the server, or what a view hides.
func TestStreamsHide(t *testing.T) {
	f := serve(t, server.Options{View: func(_ any, obj *meta.Object) (*meta.Object, bool) { return obj, obj.Path != "secret" }})
	plain := serve(t, server.Options{}, storage.Options{})
	for _, f := range []*fixture{f, plain} {
		f.do("PUT", "/before", "1", "Idempotency-Key: a").is(201, "*")
		next, stop, _ := f.events("/**")
		state := next()
		next()
		f.do("PUT", "/between", "1", "Idempotency-Key: b").is(201, "*")
		f.do("PUT", "/secret", "1").is(201, "*")
		f.do("PUT", "/last", "1").is(201, "*")
		seen := state
		for !strings.Contains(seen, "last") {
			seen += next()
		}
		if strings.Contains(seen, "_oolith") || !strings.Contains(seen, "before") || !strings.Contains(seen, "between") {
			t.Errorf("who follows everything got %s", seen)
		}
		if f.handler != plain.handler && strings.Contains(seen, "secret") {
			t.Errorf("who must not see it got %s", seen)
		}
		stop()
	}
}

// What is stored as a presence passes the hook and the limits of every write, and is in the audit log.
func TestPresenceIsAWrite(t *testing.T) {
	audit := &logged{}
	f := serve(t, server.Options{
		Limits: server.Limits{Depth: 3},
		Audit:  slog.New(slog.NewTextHandler(audit, nil)),
		BeforeWrite: func(_ any, change *server.Change) error {
			switch string(change.Data) {
			case `"refuse"`:
				return errors.New("not this one")
			case `"panic"`:
				panic("the hook")
			}
			change.Data = json.RawMessage(`{"was":` + string(change.Data) + `}`)
			return nil
		},
		RequireCondition: []string{"room/**"},
	})
	c := f.live()
	c.next() // the welcome
	for i, step := range []struct{ data, is, code, detail string }{
		{`"refuse"`, "problem", "refused", "not this one"},
		{`"panic"`, "problem", "unavailable", "log"},
		{`[[[[1]]]]`, "problem", "refused", "the limit Depth"},
		{`{"a":1,"a":2}`, "problem", "refused", "two members"},
		{` [ 1 ]`, "entered", "", ""},
		{`2`, "entered", "", ""},
	} {
		c.send(fmt.Sprintf(`{"type":"enter","id":%d,"path":"room/me","data":%s}`, max(i, 4)-max(0, i-4), step.data))
		if m := c.next(); m.Type != step.is || m.Code != step.code || !strings.Contains(m.Detail, step.detail) {
			t.Errorf("%s is answered with %+v", step.data, m)
		}
	}
	if got := f.do("GET", "/room/me", "").is(200, "*").object(); string(got.Data) != `{"was":2}` {
		t.Errorf("there is %s", got.Data)
	}
	c.send(`{"type":"exit","id":4}`)
	if m := c.next(); m.Type != "exited" {
		t.Errorf("%+v", m)
	}
	f.do("GET", "/room/me", "").is(404, "*")
	log := audit.String()
	for outcome, count := range map[string]int{"done": 3, "refused": 3, "unavailable": 1} {
		if got := strings.Count(log, "verb=write pattern=room/me outcome="+outcome); got != count {
			t.Errorf("the audit log tells %d times of %s, want %d: %s", got, outcome, count, log)
		}
	}
}

// Limits of streams are the server's own.
func TestLimitsOfStreams(t *testing.T) {
	f := serve(t, server.Options{Limits: server.Limits{Subscriptions: 1, Message: 200, Present: 1}})
	f.do("GET", "/~/live?watch=a&watch=b", "").isProblem(server.InvalidParameter, "the limit Subscriptions is 1").member(t, "parameter", "watch")
	c := f.live()
	c.next()
	for _, step := range []struct{ send, is, detail string }{
		{`{"type":"subscribe","id":1,"pattern":"a"}`, "snapshot", ""},
		{``, "live", ""},
		{`{"type":"subscribe","id":2,"pattern":"b"}`, "problem", "the limit Subscriptions is 1"},
		{`{"type":"enter","id":1,"path":"p/1","data":1}`, "entered", ""},
		{`{"type":"enter","id":2,"path":"p/2","data":1}`, "problem", "the limit Present is 1"},
		{`{"type":"enter","id":2,"path":"p/2","data":"` + strings.Repeat("x", 200) + `"}`, "close", "200 bytes"},
	} {
		if step.send != "" {
			c.send(step.send)
		}
		if m := c.next(); m.Type != step.is || !strings.Contains(m.Detail, step.detail) {
			t.Errorf("%s is answered with %+v", step.send, m)
		}
	}
}

// Who sends more messages on a stream than the limit of requests loses it.
func TestRateOnAStream(t *testing.T) {
	f := serve(t, server.Options{
		Limits:       server.Limits{Rate: 0.01, Burst: 5},
		Authenticate: func(*http.Request) (any, error) { return "somebody", nil },
	})
	c := f.live() // the first request
	c.next()
	for i := range 5 {
		c.send(fmt.Sprintf(`{"type":"unsubscribe","id":%d}`, i))
	}
	for range 4 {
		if m := c.next(); m.Code != "malformed" {
			t.Errorf("%+v", m)
		}
	}
	if m := c.next(); m.Type != "close" || m.Code != "4429" {
		t.Errorf("%+v", m)
	}
}

// The end of a server ends its streams, and tells clients to come back.
func TestStreamsEnd(t *testing.T) {
	_, address, end := listening(t, server.Options{}, nil)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	f := &fixture{t: t, url: "http://" + address, client: &http.Client{Transport: transport}}
	read, _, _ := f.socket("/box", nil)
	next, _, _ := f.events("/box")
	read()
	next()
	next()
	ended := make(chan error, 1)
	go func() { ended <- end() }()
	if got := read(); !strings.HasPrefix(got, "close 1012 ") {
		t.Errorf("a WebSocket ended with %s", got)
	}
	if got := next(); got != "end" {
		t.Errorf("events ended with %s", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
