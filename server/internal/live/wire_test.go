package live

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/oolith-db/oolith/patch"
	"github.com/oolith-db/oolith/storage"
)

// replica is what a client of the older protocol holds.
type replica struct {
	testing.TB
	client  *wsClient
	state   []byte
	version string
}

func (f *fixture) replica(target string) *replica {
	f.Helper()
	r := &replica{TB: f, client: f.dial(target)}
	if !r.next().Snapshot {
		f.Fatal("the first message is no snapshot")
	}
	return r
}

// next applies the next message.
func (r *replica) next() wireMsg {
	r.Helper()
	m := r.client.wire()
	if len(m.Version) != 16 || strings.Trim(m.Version, "0123456789abcdef") != "" || m.Version == r.version {
		r.Fatalf("version %q behind %q", m.Version, r.version)
	}
	r.version = m.Version
	if m.Snapshot {
		r.state = m.Data
		return m
	}
	state, err := patch.ApplyJSON(r.state, m.Data)
	if err != nil {
		r.Fatalf("%v: %s\nstate %s", err, m.Data, r.state)
	}
	r.state = state
	return m
}

func (r *replica) is(want string) {
	r.Helper()
	if got := times.ReplaceAllString(string(r.state), `${1}T`); got != want {
		r.Fatalf("state %s\nwant  %s", got, want)
	}
}

var times = regexp.MustCompile(`("created":|"updated":)[1-9]\d+`)

func TestWireObject(t *testing.T) {
	f := newFixture(t, Options{})
	r := f.replica("/box")
	r.is(absent)
	f.set("box", `{"name":"a", "n":{"x":[1,2,3]}}`)
	if !r.next().Snapshot {
		t.Error("a creation is no snapshot")
	}
	r.is(`{"created":T,"updated":0,"index":"box","path":"box","data":{"name":"a","n":{"x":[1,2,3]}}}`)
	for _, step := range []struct{ data, patch string }{
		{`{"name":"b","n":{"x":[1,2,3]}}`, `{"op":"replace","path":"/data/name","value":"b"}`},
		{`{"name":"b","n":{"x":[1,3]}}`, `{"op":"remove","path":"/data/n/x/1"}`},
		{`{"name":"b","n":{"x":[1,3]},"a/b~c":1}`, `{"op":"add","path":"/data/a~1b~0c","value":1}`},
		{`{"name":"b","n":{"x":[0,1,3]},"a/b~c":1}`, `{"op":"add","path":"/data/n/x/0","value":0}`},
		{`{"n":{"x":[0,1,3]},"a/b~c":1}`, `{"op":"remove","path":"/data/name"}`},
		{`"scalar"`, `{"op":"replace","path":"/data","value":"scalar"}`},
		{`"scalar"`, ``},
		{`12345678901234567890123`, `{"op":"replace","path":"/data","value":12345678901234567890123}`},
		{`null`, `{"op":"replace","path":"/data","value":null}`},
	} {
		f.set("box", step.data)
		m := r.next()
		if m.Snapshot || !strings.Contains(string(m.Data), step.patch) || !strings.Contains(string(m.Data), `"/updated"`) {
			t.Errorf("%s is told as %s", step.data, m.Data)
		}
		r.is(`{"created":T,"updated":T,"index":"box","path":"box","data":` + step.data + `}`)
	}
	f.del("box")
	if r.next().Snapshot {
		t.Error("a delete is no patch")
	}
	r.is(absent)
	f.set("box", `1`)
	if !r.next().Snapshot {
		t.Error("a creation behind a delete is no snapshot")
	}
	r.is(`{"created":T,"updated":0,"index":"box","path":"box","data":1}`)
	f.del("*") // a glob delete is told to followers of single objects
	r.next()
	r.is(absent)
}

// What npm's patches refuse to follow, and what is not UTF-8, comes as a state.
func TestWireWhatNoPatchCanSay(t *testing.T) {
	f := newFixture(t, Options{})
	f.set("a", `{"__proto__":1}`)
	r := f.replica("/a")
	f.set("a", `{"__proto__":2}`)
	if !r.next().Snapshot {
		t.Error("a patch through __proto__")
	}
	f.set("a", `{"constructor":{"prototype":2}}`)
	r.next()
	f.set("a", `{"constructor":{"prototype":3}}`)
	if !r.next().Snapshot {
		t.Error("a patch through constructor/prototype")
	}
	f.set("a", `{"\ud800":1}`)
	r.next()
	f.set("a", `{"\ud801":1}`)
	if m := r.next(); !m.Snapshot && !strings.Contains(string(m.Data), `"path":"/data"`) {
		t.Errorf("half surrogates: %s", m.Data)
	}
}

func TestWireList(t *testing.T) {
	f := newFixture(t, Options{})
	obj := func(index, updated string, data string) string {
		return fmt.Sprintf(`{"created":T,"updated":%s,"index":%q,"path":"a/%s","data":%s}`, updated, index, index, data)
	}
	f.set("a/1", `1`)
	f.set("a/2", `2`)
	r := f.replica("/a/*")
	r.is("[" + obj("2", "0", "2") + "," + obj("1", "0", "1") + "]")
	step := func(want string) {
		t.Helper()
		m := r.next()
		if got := times.ReplaceAllString(string(m.Data), `${1}T`); got != want || m.Snapshot != (want == "[]") {
			t.Fatalf("snapshot %v %s\nwant %s", m.Snapshot, got, want)
		}
	}
	f.set("a/3", `3`)
	step(`[{"op":"add","path":"/0","value":` + obj("3", "0", "3") + `}]`)
	f.set("a/2", `{"x": 1}`)
	step(`[{"op":"replace","path":"/1","value":` + obj("2", "T", `{"x":1}`) + `}]`)
	f.del("a/3")
	step(`[{"op":"remove","path":"/0"}]`)
	f.set("a/1/below", `1`) // another level
	f.set("b/1", `1`)
	f.del("a/2")
	step(`[{"op":"remove","path":"/0"}]`)
	f.del("a/1")
	step(`[{"op":"remove","path":"/0"}]`)
	f.set("a/1", `1`)
	r.next()
	f.set("a/2", `2`)
	r.next()
	f.del("a/*")
	step("[]")
	var b storage.Batch
	b.Set("a/1", json.RawMessage(`1`))
	b.Set("a/2", json.RawMessage(`2`))
	if _, err := f.store.Commit(&b); err != nil {
		t.Fatal(err)
	}
	r.next()
	r.is("[" + obj("2", "0", "2") + "," + obj("1", "0", "1") + "]")
	b = storage.Batch{}
	b.Set("a/3", json.RawMessage(`3`))
	b.Del("a/1")
	if _, err := f.store.Commit(&b); err != nil {
		t.Fatal(err)
	}
	step(`[{"op":"remove","path":"/1"},{"op":"add","path":"/0","value":` + obj("3", "0", "3") + `}]`)
}

// A glob delete tells wider lists what went, and leaves what it does not match.
func TestWireGlobDeleteOfAWiderList(t *testing.T) {
	f := newFixture(t, Options{})
	f.set("mg/2/b/1", `1`)
	f.set("mg/1/b/1", `1`)
	f.set("mg/1/b/2", `2`)
	wide, own := f.replica("/mg/*/b/*"), f.replica("/mg/1/b/*")
	f.del("mg/1/b/*")
	if m := wide.next(); m.Snapshot {
		t.Errorf("the wider list gets a state: %s", m.Data)
	}
	wide.is(`[{"created":T,"updated":0,"index":"1","path":"mg/2/b/1","data":1}]`)
	if m := own.next(); !m.Snapshot || string(m.Data) != "[]" {
		t.Errorf("the list itself gets %v %s", m.Snapshot, m.Data)
	}
}

// A list with a limit drops its oldest in the commit that adds one: removed first, then added.
func TestWireLimit(t *testing.T) {
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()},
		storage.Options{Retention: []storage.Retention{{Pattern: "l/*", Count: 2}}})
	if err := store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	f := serve(t, store, Options{})
	r := f.replica("/l/*")
	for _, path := range []string{"l/1", "l/2"} {
		f.set(path, `1`)
		r.next()
	}
	f.set("l/3", `1`)
	m := r.next()
	if got := string(m.Data); !strings.HasPrefix(got, `[{"op":"remove","path":"/1"},{"op":"add","path":"/0"`) {
		t.Errorf("it is told as %s", got)
	}
}

func TestWireVersion(t *testing.T) {
	f := newFixture(t, Options{})
	f.set("a/1", `1`)
	r := f.replica("/a/*")
	r.client.Close()
	f.left("a/*")                          // else the next lines see the one that goes
	f.set("b/1", `1`)                      // concerns others
	again := f.dial("/a/*?v=" + r.version) // nothing, until the next change
	f.followed("a/*")
	f.set("a/2", `2`)
	if m := again.wire(); m.Snapshot {
		t.Errorf("a current version gets a snapshot: %s", m.Data)
	}
	for _, version := range []string{"zzz", "0", r.version, "", strings.ToUpper(r.version), r.version + "0"} {
		if !f.dial("/a/*?v=" + version).wire().Snapshot {
			t.Errorf("version %q gets no snapshot", version)
		}
	}
	other := versions{"ab"}.of("a/*", 2)
	if !f.dial("/a/*?v=" + other).wire().Snapshot {
		t.Error("the version of another store gets no snapshot")
	}
}

func TestWireClock(t *testing.T) {
	f := newFixture(t, Options{})
	c := f.dial("/?v=whatever")
	first, second := c.text(ws.OpBinary), c.text(ws.OpBinary)
	for _, digits := range []string{first, second} {
		if len(digits) != 19 || strings.Trim(digits, "0123456789") != "" {
			t.Errorf("the clock tells %q", digits)
		}
	}
	if second <= first {
		t.Errorf("the clock goes from %s to %s", first, second)
	}
}

func TestWireSubprotocol(t *testing.T) {
	f := newFixture(t, Options{})
	if c := f.dial("/a", "bearer", "TOKEN"); c.protocol != "bearer" {
		t.Errorf("the answer is %q", c.protocol)
	}
	request, _ := http.NewRequest("GET", f.server.URL+"/a", nil)
	request.Header = http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Protocol": {"bearer,TOKEN"}, "Sec-Websocket-Extensions": {"permessage-deflate"}}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != 101 || response.Header.Get("Sec-Websocket-Protocol") != "bearer" || response.Header.Get("Sec-Websocket-Extensions") != "" {
		t.Errorf("%d %v", response.StatusCode, response.Header)
	}
	if c := f.dial("/a", "other"); c.protocol != "" {
		t.Errorf("without bearer the answer is %q", c.protocol)
	}
}

func TestWireControlFrames(t *testing.T) {
	f := newFixture(t, Options{Limits: Limits{Message: 1000}})
	c := f.dial("/a")
	c.wire()
	c.send("ignored")
	c.sendFrame(ws.NewBinaryFrame([]byte("ignored")))
	c.sendFrame(ws.NewPingFrame([]byte("hello")))
	if frame, err := c.frame(); err != nil || frame.Header.OpCode != ws.OpPong || string(frame.Payload) != "hello" {
		t.Errorf("a ping gets %v %v", frame, err)
	}
	c.sendFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "bye")))
	c.closed(1000)
	c = f.dial("/a")
	c.sendFrame(ws.NewCloseFrame(nil))
	c.closed(0)
	for _, bad := range []struct {
		frame ws.Frame
		code  ws.StatusCode
	}{
		{ws.MaskFrame(ws.NewBinaryFrame(make([]byte, 2000))), ws.StatusMessageTooBig},
		{ws.NewTextFrame([]byte("not masked")), ws.StatusProtocolError},
		{ws.MaskFrame(ws.NewFrame(ws.OpPing, false, nil)), ws.StatusProtocolError},
		{ws.MaskFrame(ws.NewFrame(0x3, true, nil)), ws.StatusProtocolError},
		{ws.MaskFrame(ws.NewFrame(ws.OpContinuation, true, nil)), ws.StatusProtocolError},
		{ws.MaskFrame(ws.NewCloseFrame([]byte{1})), ws.StatusProtocolError},
	} {
		c := f.dial("/a")
		if err := ws.WriteFrame(c, bad.frame); err != nil {
			t.Fatal(err)
		}
		c.closed(bad.code)
	}
}

// A store that cannot be read refuses before the upgrade.
func TestWireRefusal(t *testing.T) {
	f := newFixture(t, Options{})
	f.store.Close()
	ended := make(chan struct{}, 1)
	f.caller = func(*http.Request) Caller { return Caller{Ended: func() { ended <- struct{}{} }} }
	if _, err := f.tryDial("/a"); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("a closed store: %v", err)
	}
	<-ended
}
