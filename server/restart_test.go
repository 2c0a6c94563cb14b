package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/oolith-db/oolith"
	"github.com/oolith-db/oolith/engine/pebble"
	"github.com/oolith-db/oolith/server"
)

// serveDirectory is the environment variable that makes this program a server of the Pebble store in a directory, until its
// standard input ends.
const serveDirectory = "OOLITH_TEST_SERVE"

func serveChild(dir string) error {
	store, err := oolith.Open("pebble:"+dir, pebble.Engine)
	if err != nil {
		return err
	}
	defer store.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	fmt.Println("http://" + listener.Addr().String())
	return server.New(store, server.Options{}).Serve(ctx, listener)
}

// process is a server in a process of its own.
type process struct {
	*fixture
	command *exec.Cmd
	input   io.Closer
}

func serveProcess(t *testing.T, dir string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(self)
	command.Env, command.Stderr = append(os.Environ(), serveDirectory+"="+dir), os.Stderr
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill() })
	address, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &process{&fixture{t: t, url: strings.TrimSpace(address), client: &http.Client{Transport: transport}}, command, input}
}

// end ends the process: as SIGTERM does, or with SIGKILL.
func (p *process) end(kill bool) {
	p.t.Helper()
	if kill {
		_ = p.command.Process.Kill()
		_ = p.command.Wait() // it was killed
		return
	}
	_ = p.input.Close()
	if err := p.command.Wait(); err != nil {
		p.t.Fatal(err)
	}
}

// streamed is a message of oolith.v1, or the data of an event.
type streamed struct {
	Type, Token, Since, Reason, Code, Detail string

	Subscriptions []struct {
		Objects []struct {
			Path string
			Data json.RawMessage
		}
		Paths   []string
		Changes []json.RawMessage
	}
}

// liveClient is a client of oolith.v1.
type liveClient struct {
	t     *testing.T
	conn  net.Conn
	early *bufio.Reader
}

func (f *fixture) live(headers ...string) *liveClient {
	f.t.Helper()
	header := http.Header{}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		header.Add(name, value)
	}
	dialer := ws.Dialer{Protocols: []string{"oolith.v1"}, Header: ws.HandshakeHeaderHTTP(header)}
	conn, early, _, err := dialer.Dial(f.t.Context(), "ws"+strings.TrimPrefix(f.url, "http")+"/~/live")
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = conn.Close() })
	if early == nil {
		early = bufio.NewReader(conn)
	}
	return &liveClient{f.t, conn, early}
}

func (c *liveClient) close() { _ = c.conn.Close() }

func (c *liveClient) send(text string) {
	c.t.Helper()
	if err := ws.WriteFrame(c.conn, ws.MaskFrame(ws.NewTextFrame([]byte(text)))); err != nil {
		c.t.Fatal(err)
	}
}

// next returns the next message; the code of a close frame as one of the type "close".
func (c *liveClient) next() (m streamed) {
	c.t.Helper()
	for {
		if err := c.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			c.t.Fatal(err)
		}
		h, err := ws.ReadHeader(c.early)
		payload := make([]byte, min(h.Length, 1<<24))
		if err == nil {
			_, err = io.ReadFull(c.early, payload)
		}
		if err != nil {
			c.t.Fatal(err)
		}
		switch h.OpCode {
		case ws.OpPing:
			continue
		case ws.OpClose:
			code, reason := ws.ParseCloseFrameData(payload)
			return streamed{Type: "close", Code: fmt.Sprint(code), Detail: reason}
		}
		if err := json.Unmarshal(payload, &m); err != nil {
			c.t.Fatalf("%v: %s", err, payload)
		}
		return m
	}
}

// resume follows a/* by oolith.v1 from a token, and returns the messages up to live.
func (p *process) resume(token string) (messages []streamed) {
	p.t.Helper()
	c := p.live()
	defer c.close()
	text := fmt.Sprintf(`{"type":"subscribe","id":1,"pattern":"a/*","token":%q}`, token)
	c.send(text)
	for {
		m := c.next()
		if m.Type != "welcome" {
			messages = append(messages, m)
		}
		if m.Type == "live" {
			return messages
		}
	}
}

// follow follows a/* by events from an id, and returns the messages up to live.
func (p *process) follow(id string) (messages []streamed) {
	p.t.Helper()
	next, stop, _ := p.events("/a/*", "Last-Event-ID: "+id)
	defer stop()
	for {
		_, data, _ := strings.Cut(next(), " data: ")
		var m streamed
		if err := json.Unmarshal([]byte(data), &m); err != nil {
			p.t.Fatalf("%v: %s", err, data)
		}
		messages = append(messages, m)
		if m.Type == "live" {
			return messages
		}
	}
}

func types(messages []streamed) string {
	var names []string
	for _, m := range messages {
		names = append(names, m.Type)
	}
	return strings.Join(names, " ")
}

// A token of a durable store outlives its server: what changed meanwhile is told, and what went. So it does where the process is
// killed, and what it means in another store is told apart.
func TestResumeOverARestart(t *testing.T) {
	for _, kill := range []bool{false, true} {
		t.Run(fmt.Sprint("killed ", kill), func(t *testing.T) {
			dir := t.TempDir()
			p := serveProcess(t, dir)
			for _, path := range []string{"stays", "changes", "goes"} {
				p.do("PUT", "/a/"+path, "1").is(201, "*")
			}
			first := p.follow("")
			token := first[len(first)-1].Token
			if got := p.resume(token); types(got) != "live" {
				t.Fatalf("before the restart: %s", types(got))
			}
			p.do("PUT", "/a/changes", "2").is(200, "*")
			p.end(kill)

			p = serveProcess(t, dir)
			p.do("DELETE", "/a/goes", "").is(204, "")
			p.do("PUT", "/a/comes", "3").is(201, "*")
			p.do("PUT", "/b/other", "3").is(201, "*")
			for range 2 { // the second one is told what the first one was told
				got := p.resume(token)
				if types(got) != "catchup live" || got[0].Since != token {
					t.Fatalf("oolith.v1 after the restart: %+v", got)
				}
				part := got[0].Subscriptions[0]
				slices.Sort(part.Paths)
				if fmt.Sprint(part.Paths) != "[a/changes a/comes a/stays]" || len(part.Objects) != 2 ||
					part.Objects[0].Path != "a/comes" || string(part.Objects[1].Data) != "2" {
					t.Errorf("the catch-up is %+v", part)
				}
				if again := p.resume(got[1].Token); types(again) != "live" {
					t.Errorf("from the new token: %+v", again)
				}
			}
			events := p.follow(token)
			if types(events) != "reset snapshot live" || len(events[1].Subscriptions[0].Objects) != 3 {
				t.Fatalf("events after the restart: %+v", events)
			}
			if again := p.follow(events[1].Token); types(again) != "live" {
				t.Errorf("events from the new id: %+v", again)
			}
			store, _, _ := strings.Cut(token, ".")
			for bad, reason := range map[string]string{
				"00000000000000ff.1": "token of another store", store + ".99999999": "token of the future", "nonsense": "malformed token",
			} {
				for protocol, got := range map[string][]streamed{"oolith.v1": p.resume(bad), "events": p.follow(bad)} {
					if types(got) != "reset snapshot live" || got[0].Reason != reason || len(got[1].Subscriptions[0].Objects) != 3 {
						t.Errorf("%s with the token %s: %+v", protocol, bad, got)
					}
				}
			}
			p.end(kill)
		})
	}
}
