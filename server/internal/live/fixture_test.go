package live

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long nothing may happen before a test fails.
const patience = 20 * time.Second

// fixture is a store with its streams on a real server.
type fixture struct {
	testing.TB
	store  *storage.Layered
	live   *Live
	server *httptest.Server
	caller func(r *http.Request) Caller
}

// id is the store's identity in tokens.
func (f *fixture) id() string { return f.live.StoreID() }

func newStore(t testing.TB) *storage.Layered {
	t.Helper()
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
	if err := store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

func newFixture(t testing.TB, opt Options) *fixture {
	t.Helper()
	return serve(t, newStore(t), opt)
}

func serve(t testing.TB, store *storage.Layered, opt Options) *fixture {
	t.Helper()
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Limits.Spread == 0 {
		opt.Limits.Spread = 10 * time.Millisecond
	}
	f := &fixture{TB: t, store: store, live: New(store, opt)}
	f.server = httptest.NewServer(f)
	t.Cleanup(func() {
		f.live.Close()
		f.server.Close()
	})
	return f
}

// ServeHTTP mounts the streams, and as much of the resources as a client of streams needs.
func (f *fixture) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var caller Caller
	if f.caller != nil {
		caller = f.caller(r)
	}
	path := strings.TrimPrefix(r.URL.Path, "/")
	upgrade := strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
	switch {
	case path == "~/live" && upgrade:
		f.live.ServeSocket(w, r, caller)
	case path == "~/live":
		f.live.ServeEvents(w, r, caller, r.URL.Query()["watch"])
	case upgrade:
		f.live.ServeWire(w, r, caller, path)
	case r.Header.Get("Accept") == "text/event-stream":
		f.live.ServeEvents(w, r, caller, []string{path})
	default:
		f.resource(w, r, path)
	}
}

func (f *fixture) resource(w http.ResponseWriter, r *http.Request, path string) {
	body, err := io.ReadAll(r.Body)
	var index string
	switch {
	case err != nil:
	case r.Method == http.MethodPost && strings.HasSuffix(path, "*"):
		index, err = f.store.Push(path, body)
	case r.Method == http.MethodPost:
		index, err = f.store.Set(path, body)
	case r.Method == http.MethodDelete:
		if err = f.store.Del(path); err == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
	case path == "":
		keys, _ := f.store.Keys()
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": keys})
		return
	case key.HasGlob(path):
		var list any
		if list, err = f.store.GetListDescending(path); err == nil {
			_ = json.NewEncoder(w).Encode(list)
			return
		}
	default:
		var obj any
		if obj, err = f.store.Get(path); err == nil {
			_ = json.NewEncoder(w).Encode(obj)
			return
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"index": index})
}

func (f *fixture) set(path, data string) {
	f.Helper()
	if _, err := f.store.Set(path, json.RawMessage(data)); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) del(path string) {
	f.Helper()
	if err := f.store.Del(path); err != nil {
		f.Fatal(err)
	}
}

// handshake is the header that asks for a WebSocket.
const handshake = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// wsClient is a WebSocket client that shows frames as they are.
type wsClient struct {
	testing.TB
	net.Conn
	r        *bufio.Reader
	protocol string
}

func (f *fixture) dial(target string, protocols ...string) *wsClient {
	f.Helper()
	c, err := f.tryDial(target, protocols...)
	if err != nil {
		f.Fatal(err)
	}
	return c
}

func (f *fixture) tryDial(target string, protocols ...string) (*wsClient, error) {
	dialer := ws.Dialer{Protocols: protocols, Timeout: patience}
	raw, early, hs, err := dialer.Dial(context.Background(), "ws"+strings.TrimPrefix(f.server.URL, "http")+target)
	if err != nil {
		return nil, err
	}
	f.Cleanup(func() { raw.Close() })
	c := newClient(f, raw, early)
	c.protocol = hs.Protocol
	return c, nil
}

func newClient(t testing.TB, raw net.Conn, early *bufio.Reader) *wsClient {
	if early == nil {
		early = bufio.NewReader(raw)
	}
	return &wsClient{TB: t, Conn: raw, r: early}
}

// frame reads the next frame that is no ping.
func (c *wsClient) frame() (ws.Frame, error) {
	for {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		frame, err := readFrame(c.r)
		if err != nil || frame.Header.OpCode != ws.OpPing {
			return frame, err
		}
	}
}

func (c *wsClient) text(code ws.OpCode) string {
	c.Helper()
	frame, err := c.frame()
	if err != nil {
		c.Fatal(err)
	}
	if frame.Header.OpCode != code {
		c.Fatalf("a frame of type %#x, want %#x: %s", frame.Header.OpCode, code, frame.Payload)
	}
	return string(frame.Payload)
}

// closed demands a close frame with a code.
func (c *wsClient) closed(code ws.StatusCode) string {
	c.Helper()
	for {
		frame, err := c.frame()
		if err != nil {
			c.Fatalf("no close frame with %d: %v", code, err)
		}
		if frame.Header.OpCode != ws.OpClose {
			continue
		}
		got, reason := ws.ParseCloseFrameData(frame.Payload)
		if got != code {
			c.Fatalf("closed with %d %s, want %d", got, reason, code)
		}
		return reason
	}
}

func (c *wsClient) send(text string) {
	c.Helper()
	c.sendFrame(ws.NewTextFrame([]byte(text)))
}

func (c *wsClient) sendFrame(frame ws.Frame) {
	c.Helper()
	if err := ws.WriteFrame(c, ws.MaskFrame(frame)); err != nil {
		c.Fatal(err)
	}
}

// wireMsg is a message of the older protocol.
type wireMsg struct {
	Snapshot bool            `json:"snapshot"`
	Version  string          `json:"version"`
	Data     json.RawMessage `json:"data"`
}

func (c *wsClient) wire() wireMsg {
	c.Helper()
	return decode[wireMsg](c, c.text(ws.OpBinary))
}

func decode[T any](t testing.TB, text string) (value T) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&value); err != nil || decoder.More() {
		t.Fatalf("%v: %s", err, text)
	}
	return value
}

// followed waits until somebody follows a pattern, and left until nobody does.
func (f *fixture) followed(pattern string) {
	f.Helper()
	f.until("nobody follows "+pattern, func() bool { return f.follows(pattern) })
}

func (f *fixture) left(pattern string) {
	f.Helper()
	f.until("somebody follows "+pattern, func() bool { return !f.follows(pattern) })
}

func (f *fixture) follows(pattern string) bool {
	f.live.hub.mu.Lock()
	defer f.live.hub.mu.Unlock()
	for key, topic := range f.live.hub.topics {
		if key.pattern == pattern && len(topic.members) > 0 {
			return true
		}
	}
	return false
}

// until waits for what must come to be.
func (f *fixture) until(otherwise string, is func() bool) {
	f.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			f.Fatal(otherwise)
		}
	}
}

// ours is a message of our own protocols.
type ours struct {
	Type, Token, Since, Reason, Store, Code, Detail string
	ID                                              json.RawMessage
	Revision                                        uint64
	Subscriptions                                   []oursPart
}

type oursPart struct {
	ID      json.RawMessage
	Pattern string
	Objects []meta.Object
	Paths   []string
	Changes []struct {
		Set      *meta.Object
		Del      string
		Revision uint64
		Reason   string
	}
}

// view is what a client of our own protocols holds: objects by pattern and path.
type view map[string]map[string]meta.Object

// apply does what docs/protocol.md says.
func (v view) apply(t testing.TB, m ours) {
	t.Helper()
	for _, part := range m.Subscriptions {
		held := v[part.Pattern]
		switch m.Type {
		case "reset":
			continue // the snapshot behind it replaces what is held, and not before it is there
		case "snapshot":
			held = nil
		}
		if held == nil {
			held = make(map[string]meta.Object)
			v[part.Pattern] = held
		}
		for _, obj := range part.Objects {
			held[obj.Path] = obj
		}
		if m.Type == "catchup" {
			exists := make(map[string]bool)
			for _, path := range part.Paths {
				exists[path] = true
			}
			for path := range held {
				if !exists[path] {
					delete(held, path)
				}
			}
		}
		for _, change := range part.Changes {
			if change.Set != nil {
				held[change.Set.Path] = *change.Set
			} else {
				delete(held, change.Del)
			}
		}
	}
}

// text is what is held of a pattern, in one form for all protocols: the newest first.
func (v view) text(pattern string) string {
	objects := []*meta.Object{}
	for _, obj := range v[pattern] {
		objects = append(objects, &obj)
	}
	return wireText(pattern, objects)
}

// wireText is what a client of the older protocol holds for some objects.
func wireText(pattern string, objects []*meta.Object) string {
	slices.SortFunc(objects, func(a, b *meta.Object) int { return byAge(b, a) })
	return string(appendState(nil, key.HasGlob(pattern), objects))
}

// socket connects to oolith.v1.
func (f *fixture) socket() *wsClient {
	f.Helper()
	c := f.dial("/~/live", Subprotocol)
	if m := c.ours(); m.Type != "welcome" || m.Store != f.id() {
		f.Fatalf("the welcome is %+v", m)
	}
	return c
}

func (c *wsClient) ours() ours {
	c.Helper()
	return decode[ours](c, c.text(ws.OpText))
}

// oursOf demands a type of the next message.
func (c *wsClient) oursOf(kind string) ours {
	c.Helper()
	text := c.text(ws.OpText)
	m := decode[ours](c, text)
	if m.Type != kind {
		c.Fatalf("a message of type %q, want %q: %s", m.Type, kind, text)
	}
	return m
}

// sseClient reads server-sent events.
type sseClient struct {
	testing.TB
	body   io.ReadCloser
	lines  *bufio.Reader
	cancel context.CancelFunc // Close of the body would wait for a read
}

type sseEvent struct{ id, event, data string }

func (f *fixture) events(target, lastID string) *sseClient {
	f.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, "GET", f.server.URL+target, nil)
	if err != nil {
		f.Fatal(err)
	}
	request.Header.Set("Accept", "text/event-stream")
	if lastID != "" {
		request.Header.Set("Last-Event-ID", lastID)
	}
	response, err := f.server.Client().Do(request)
	if err != nil {
		f.Fatal(err)
	}
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != "text/event-stream" {
		f.Fatalf("%d %v", response.StatusCode, response.Header)
	}
	f.Cleanup(func() { response.Body.Close() })
	return newEvents(f, response.Body, cancel)
}

func newEvents(t testing.TB, body io.ReadCloser, cancel context.CancelFunc) *sseClient {
	return &sseClient{t, body, bufio.NewReader(body), cancel}
}

// next returns the next event that has data.
func (c *sseClient) next() (e sseEvent, err error) {
	stuck := time.AfterFunc(patience, c.cancel)
	defer stuck.Stop()
	for {
		line, err := c.lines.ReadString('\n')
		if err != nil {
			return e, err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.event = value
		case "data":
			e.data = value
		case "":
			if e.data != "" {
				return e, nil
			}
		case "retry":
		default:
			c.Fatalf("a line %q", line)
		}
	}
}

// of demands the type of the next event.
func (c *sseClient) of(kind string) (sseEvent, ours) {
	c.Helper()
	e, err := c.next()
	if err != nil || e.event != kind {
		c.Fatalf("an event %+v, %v, want %s", e, err, kind)
	}
	m := decode[ours](c, e.data)
	if m.Type != kind || e.id != m.Token || (e.id == "") != (kind == "reset") {
		c.Fatalf("an event %+v", e)
	}
	return e, m
}

// readFrame reads a frame of the server.
func readFrame(r io.Reader) (ws.Frame, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return ws.Frame{}, err
	}
	f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}
