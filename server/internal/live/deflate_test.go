package live

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	standard "compress/flate"

	"github.com/gobwas/ws"
)

// deflate compresses as a client does, with the library that the server does not use. What window has said before is a context.
func deflate(t testing.TB, text, window string) string {
	t.Helper()
	var out bytes.Buffer
	w, err := standard.NewWriterDict(&out, standard.BestCompression, []byte(window))
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(out.String(), tail)
}

// inflated decompresses a message of the server.
func inflated(t testing.TB, payload []byte) string {
	t.Helper()
	text, err := io.ReadAll(standard.NewReader(io.MultiReader(bytes.NewReader(payload), strings.NewReader(tail+final))))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// deflating connects to oolith.v1 with compression.
func (f *fixture) deflating() *wsClient {
	f.Helper()
	c, answer := f.offer("permessage-deflate; client_max_window_bits")
	if answer != "permessage-deflate;server_no_context_takeover;client_no_context_takeover" {
		f.Fatalf("compression is answered with %q", answer)
	}
	if m := c.ours(); m.Type != "welcome" {
		f.Fatalf("the welcome is %+v", m)
	}
	return c
}

// offer connects to oolith.v1 with an offer of extensions, and returns the answer to it.
func (f *fixture) offer(extensions string) (*wsClient, string) {
	f.Helper()
	raw, err := net.Dial("tcp", strings.TrimPrefix(f.server.URL, "http://"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { raw.Close() })
	if _, err := io.WriteString(raw, "GET /~/live HTTP/1.1\r\nHost: x\r\n"+handshake+"Sec-WebSocket-Protocol: "+Subprotocol+
		"\r\nSec-WebSocket-Extensions: "+extensions+"\r\n\r\n"); err != nil {
		f.Fatal(err)
	}
	early := bufio.NewReader(raw)
	resp, err := http.ReadResponse(early, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		f.Fatalf("%v %+v", err, resp)
	}
	return newClient(f, raw, early), resp.Header.Get("Sec-WebSocket-Extensions")
}

func TestDeflateOffers(t *testing.T) {
	f := newFixture(t, Options{})
	const none, accepted = "", "permessage-deflate;server_no_context_takeover;client_no_context_takeover"
	for offer, want := range map[string]string{
		"permessage-deflate":                                                accepted,
		"permessage-deflate; client_max_window_bits":                        accepted,
		"permessage-deflate; client_max_window_bits=10":                     accepted,
		"permessage-deflate; server_no_context_takeover":                    accepted,
		"permessage-deflate; client_no_context_takeover":                    accepted,
		"x-other, permessage-deflate":                                       accepted,
		"permessage-deflate; server_max_window_bits=10":                     none,
		"permessage-deflate; server_max_window_bits=10, permessage-deflate": accepted,
		"permessage-deflate; server_max_window_bits=99":                     none,
		"permessage-deflate; unknown":                                       none,
		"permessage-deflate; unknown=1, permessage-deflate":                 accepted,
		"x-webkit-deflate-frame":                                            none,
	} {
		c, got := f.offer(offer)
		if got != want {
			t.Errorf("%s is answered with %q, want %q", offer, got, want)
		}
		c.ours()
		c.Close()
	}
}

// A message that is large enough is one compressed frame for all that take it, and the plain one for the others.
func TestDeflatedMessages(t *testing.T) {
	f := newFixture(t, Options{})
	f.set("a/small", `1`)
	clients := []*wsClient{f.deflating(), f.deflating(), f.socket()}
	for _, c := range clients {
		c.send(`{"type":"subscribe","id":1,"pattern":"a/*"}`)
		c.oursOf("snapshot")
		c.oursOf("live")
	}
	text := func(c *wsClient) (string, bool) {
		frame, err := c.frame()
		if err != nil {
			t.Fatal(err)
		}
		if frame.Header.Rsv == 0 {
			return string(frame.Payload), false
		}
		if frame.Header.Rsv != compressedRsv || frame.Header.OpCode != ws.OpText || !frame.Header.Fin {
			t.Fatalf("a frame %+v", frame.Header)
		}
		return inflated(t, frame.Payload), true
	}
	random := make([]byte, 3000)
	rng := rand.NewChaCha8([32]byte{})
	_, _ = rng.Read(random)
	for _, c := range []struct {
		data string
		pays bool
	}{
		{`"` + strings.Repeat("x", 100) + `"`, false},
		{`"` + strings.Repeat("x", 1000) + `"`, true},
		{`"` + strings.Repeat("some text ", 20_000) + `"`, true},
		{`"` + strings.Repeat("é", 300_000) + `"`, true},
		{fmt.Sprintf("%q", hex.EncodeToString(random)), false},
	} {
		before := f.live.Stats().Encoded
		f.set("a/small", c.data)
		want, _ := text(clients[2])
		for _, client := range clients[:2] {
			got, compressed := text(client)
			if got != want || compressed != c.pays {
				t.Errorf("%d bytes come compressed %v, as %d bytes, want %d", len(c.data), compressed, len(got), len(want))
			}
		}
		if made := f.live.Stats().Encoded - before; made > 3 { // the part, and the message of each kind
			t.Errorf("%d messages are made of a commit", made)
		}
	}
}

// The categories 12 and 13 of the Autobahn suite, and what is wrong with compressed messages.
func TestDeflatedRequests(t *testing.T) {
	const limit = 50_000
	f := newFixture(t, Options{Limits: Limits{Message: limit}})
	const compressed = compressedBit
	z := func(text string) string { return deflate(t, text, "") }
	bomb := z(strings.Repeat(" ", 100*limit))
	if len(bomb) > limit {
		t.Fatal("the bomb is none")
	}
	half := len(z(ask("two"))) / 2
	for _, c := range []autobahnCase{
		{"a request", []string{raw(textFrame|compressed, z(ask("a")))}, []string{echo("a")}},
		{"one that is not compressed", []string{raw(textFrame, ask("a"))}, []string{echo("a")}},
		{"both", []string{raw(textFrame|compressed, z(ask("a"))), raw(textFrame, ask("b"))}, []string{echo("a"), echo("b")}},
		{"an empty one", []string{raw(textFrame|compressed, z(""))}, []string{"malformed"}},
		{"of a final block", []string{raw(textFrame|compressed, stored(ask("a"), true))}, []string{echo("a")}},
		{"of a stored block", []string{raw(textFrame|compressed, stored(ask("a"), false))}, []string{echo("a")}},
		{"in fragments", []string{raw(textOf|compressed, z(ask("two"))[:half]), raw(pingOf, "x"), raw(lastFrame, z(ask("two"))[half:])}, []string{"pong x", echo("two")}},
		{"a binary one", []string{raw(binaryFrame|compressed, z("\xff"))}, []string{"malformed"}},
		{"no UTF-8", []string{raw(textFrame|compressed, z("\xff"))}, []string{"close 1007"}},
		{"as large as may be", []string{raw(textFrame|compressed, z(strings.Repeat(" ", limit)))}, []string{"malformed"}},
		{"larger", []string{raw(textFrame|compressed, z(strings.Repeat(" ", limit+1)))}, []string{"close 1009"}},
		{"a bomb", []string{raw(textFrame|compressed, bomb)}, []string{"close 1009"}},
		{"a bomb in fragments", []string{raw(textOf|compressed, bomb[:100]), raw(lastFrame, bomb[100:])}, []string{"close 1009"}},
		{"not compressed, and said to be", []string{raw(textFrame|compressed, ask("a"))}, []string{"close 1007"}},
		{"cut off", []string{raw(textFrame|compressed, z(strings.Repeat(ask("a"), 3))[:20])}, []string{"close 1007"}},
		{"behind its end", []string{raw(textFrame|compressed, stored(ask("a"), true)+z(ask("b")))}, []string{"close 1007"}},
		{"with the context of a message before", []string{raw(textFrame|compressed, deflate(t, ask("abcdefghijklmnopq"), ask("abcdefghijklmnopq")))}, []string{"close 1007"}},
		{"a bit on a continuation", []string{raw(textOf|compressed, z(ask("two"))[:half]), raw(lastFrame|compressed, z(ask("two"))[half:])}, []string{"close 1002"}},
		{"a bit on a ping", []string{raw(pingOf|compressed, "x")}, []string{"close 1002"}},
		{"other bits", []string{raw(textFrame|compressed|0x20, z(ask("a")))}, []string{"close 1002"}},
		{"another bit", []string{raw(textFrame|0x10, ask("a"))}, []string{"close 1002"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := f.deflating()
			if _, err := io.WriteString(client.Conn, strings.Join(c.send, "")); err != nil {
				t.Fatal(err)
			}
			for i, want := range c.want {
				if got := client.told(); got != want {
					t.Fatalf("%d: %q, want %q", i, got, want)
				}
			}
			client.Close()
		})
	}
}

// stored is a text as a block that is not compressed, with the byte behind a final one that a message then has.
func stored(text string, last bool) string {
	first, end := "\x00", "\x00"
	if last {
		first = "\x01"
	}
	n := len(text)
	return first + string([]byte{byte(n), byte(n >> 8), ^byte(n), ^byte(n >> 8)}) + text + end
}

// FuzzInflate feeds what may be no compressed message: what comes out is within the limit, and what was compressed comes back.
func FuzzInflate(f *testing.F) {
	f.Add([]byte(deflate(f, `{"type":"subscribe"}`, "")))
	f.Add([]byte(stored("abc", true)))
	f.Add([]byte(deflate(f, strings.Repeat("x", 1000), "")))
	f.Fuzz(func(t *testing.T, data []byte) {
		if out, err := inflate(bytes.Clone(data), 500); err == nil && len(out) > 500 {
			t.Errorf("%d bytes come out", len(out))
		}
		frame := ready(webSocket(ws.OpText, bytes.Repeat(data, 3))...)
		parts := bytes.Join(frame.deflated(), nil)
		got, err := readFrame(bytes.NewReader(parts))
		if err != nil {
			t.Fatal(err)
		}
		text := string(got.Payload)
		if got.Header.Rsv == compressedRsv {
			text = inflated(t, got.Payload)
		}
		if text != strings.Repeat(string(data), 3) {
			t.Errorf("%q comes as %q", data, text)
		}
		if utf8.Valid(data) && json.Valid(data) && len(parts) > len(bytes.Join(frame.bytes(), nil)) {
			t.Error("compression makes it larger")
		}
	})
}
