package live

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// The categories of the Autobahn test suite, against raw frames: its cases are those of RFC 6455. The numbers are
// its own. Where it sends a message and wants it back, these send a request whose answer has the id that the request has.

// raw is a frame as a client sends it: its first byte, and its payload masked.
func raw(first byte, payload string) string { return rawLength(first, int64(len(payload)), payload) }

// rawLength is raw with a length that may be a lie.
func rawLength(first byte, length int64, payload string) string {
	out := []byte{first}
	switch {
	case length < 126:
		out = append(out, 0x80|byte(length))
	case length < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, 0x80|126), uint16(length))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 0x80|127), uint64(length))
	}
	mask := [4]byte{0x12, 0xf4, 0x56, 0x78}
	out = append(out, mask[:]...)
	masked := []byte(payload)
	ws.Cipher(masked, mask, 0)
	return string(append(out, masked...))
}

// First bytes of frames.
const (
	fin, moreOfIt         = 0x80, 0x00
	textOf, binaryOf      = 0x01, 0x02
	textFrame             = fin | textOf
	binaryFrame           = fin | binaryOf
	lastFrame             = fin
	closeOf, pingOf, pong = fin | 0x8, fin | 0x9, fin | 0xa
)

// ask is a request whose answer has an id, and echo what is told of that answer.
func ask(id string) string  { return `{"type":"unsubscribe","id":"` + id + `"}` }
func echo(id string) string { return "answer " + id }

// pieces are the fragments of a message, each of so many bytes.
func pieces(message string, size int) (frames []string) {
	first := byte(textOf)
	for len(message) > size {
		frames = append(frames, raw(first, message[:size]))
		message, first = message[size:], moreOfIt
	}
	return append(frames, raw(first|fin, message))
}

func body(code uint16, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, code)) + reason
}

// autobahnCase is what is sent and what comes back: "pong x", "answer x" of a request that was understood, "malformed" of one
// that was none, or "close 1002", behind which there is the end.
type autobahnCase struct {
	name string
	send []string
	want []string
}

func autobahn() (cases []autobahnCase) {
	add := func(name string, send []string, want ...string) {
		cases = append(cases, autobahnCase{name, send, want})
	}
	one := func(frames ...string) []string { return frames }
	const refused, malformedText = "close 1002", "malformed"

	// 1: framing. Lengths on both sides of what each form of a header can say.
	for _, n := range []int{0, 1, 125, 126, 127, 128, 65535, 65536} {
		add(fmt.Sprintf("1.1 a text of %d bytes", n), one(raw(textFrame, strings.Repeat("*", n))), malformedText)
		add(fmt.Sprintf("1.2 a binary message of %d bytes", n), one(raw(binaryFrame, strings.Repeat("\xfe", n))), malformedText)
	}
	add("1.1.8 byte by byte", strings.Split(raw(textFrame, ask("slow")), ""), echo("slow"))

	// 2: pings and pongs.
	add("2.1 an empty ping", one(raw(pingOf, "")), "pong ")
	add("2.2 a ping", one(raw(pingOf, "Hello, world!")), "pong Hello, world!")
	add("2.3 a ping of bytes that are no text", one(raw(pingOf, "\x00\xff\xfe\xfd")), "pong \x00\xff\xfe\xfd")
	add("2.4 a ping of 125 bytes", one(raw(pingOf, strings.Repeat("\xfe", 125))), "pong "+strings.Repeat("\xfe", 125))
	add("2.5 a ping of 126 bytes", one(raw(pingOf, strings.Repeat("\xfe", 126))), refused)
	add("2.6 a ping byte by byte", strings.Split(raw(pingOf, strings.Repeat("x", 125)), ""), "pong "+strings.Repeat("x", 125))
	add("2.7 a pong that nobody asked for", one(raw(pong, ""), raw(textFrame, ask("a"))), echo("a"))
	add("2.9 a pong with a payload, then a ping", one(raw(pong, "unsolicited"), raw(pingOf, "x")), "pong x")
	var pings, pongs []string
	for i := range 10 {
		pings, pongs = append(pings, raw(pingOf, fmt.Sprint("payload-", i))), append(pongs, fmt.Sprint("pong payload-", i))
	}
	add("2.10 ten pings", pings, pongs...)
	add("2.11 ten pings byte by byte", strings.Split(strings.Join(pings, ""), ""), pongs...)

	// 3: reserved bits, where no extension is negotiated.
	for rsv := byte(1); rsv < 8; rsv++ {
		for _, first := range []byte{textFrame, binaryFrame, pingOf, pong, closeOf, moreOfIt | textOf} {
			add(fmt.Sprintf("3 reserved bits %03b of %#x", rsv, first), one(raw(first|rsv<<4, ask("a"))), refused)
		}
	}
	add("3.4 behind what is right", one(raw(textFrame, ask("a")), raw(textFrame|0x40, ask("b")), raw(pingOf, "")), echo("a"), refused)

	// 4: reserved opcodes.
	for _, code := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		add(fmt.Sprintf("4 the opcode %d", code), one(raw(fin|code, "")), refused)
		add(fmt.Sprintf("4 the opcode %d with a payload, behind a message", code), one(raw(textFrame, ask("a")), raw(fin|code, "x"), raw(pingOf, "")), echo("a"), refused)
	}

	// 5: fragments.
	add("5.1 a ping in fragments", one(raw(pingOf&^fin, "a"), raw(lastFrame, "b")), refused)
	add("5.2 a pong in fragments", one(raw(pong&^fin, "a"), raw(lastFrame, "b")), refused)
	add("5.3 a text in two", pieces(ask("two"), 20), echo("two"))
	add("5.5 byte by byte", strings.Split(strings.Join(pieces(ask("two"), 20), ""), ""), echo("two"))
	two := pieces(ask("two"), 20)
	add("5.6 a ping between them", one(two[0], raw(pingOf, "x"), two[1]), "pong x", echo("two"))
	add("5.9 a continuation of nothing", one(raw(lastFrame, "x"), raw(textFrame, ask("a"))), refused)
	add("5.12 a continuation of nothing, to be continued", one(raw(moreOfIt, "x"), raw(textFrame, ask("a"))), refused)
	add("5.15 a continuation of what is over", one(two[0], two[1], raw(lastFrame, "x")), echo("two"), refused)
	add("5.18 a message in the midst of one", one(two[0], raw(textFrame, ask("a"))), refused)
	many := pieces(ask("many"), 1)
	with := []string{}
	for i, piece := range many {
		if with = append(with, piece); i%10 == 0 {
			with = append(with, raw(pingOf, "p"))
		}
	}
	add("5.19 a byte each, pings between", with, append(slices.Repeat([]string{"pong p"}, (len(many)+9)/10), echo("many"))...)
	add("6.1 of three empty fragments", one(raw(textOf, ""), raw(moreOfIt, ""), raw(lastFrame, "")), malformedText)
	add("6.1 empty fragments around", one(raw(textOf, ""), raw(moreOfIt, ask("a")), raw(lastFrame, "")), echo("a"))

	// 6: UTF-8. What is valid is answered, whole and byte by byte; what is not ends the connection.
	for _, text := range []string{"κόσμε", "\U0001f9c0", "\u0080", "\u0800", "\U00010000", "\u007f", "\u07ff", "\ud7ff", "\ue000", "\ufffd", "\U0010ffff", "\ufffe", "\uffff", "\u2028"} {
		add(fmt.Sprintf("6 the text %+q", text), one(raw(textFrame, ask(text))), echo(text))
		for size := 1; size < 4; size++ {
			add(fmt.Sprintf("6 the text %+q in pieces of %d bytes", text, size), pieces(ask(text), size), echo(text))
		}
	}
	for _, text := range []string{
		"\x80", "\xbf", "\x80\xbf\x80", "\xc0 ", "\xfd ", "\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xdf", "\xef\xbf", "\xf7\xbf\xbf",
		"\xfe", "\xff", "\xfe\xfe\xff\xff", "\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xfc\x80\x80\x80\x80\xaf", "\xc1\xbf",
		"\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xc0\x80", "\xe0\x80\x80", "\xf4\x90\x80\x80", "\xed\xa0\x80", "\xed\xad\xbf", "\xed\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80", "\xcebroken",
	} {
		add(fmt.Sprintf("6 no UTF-8: %q", text), one(raw(textFrame, ask(text))), "close 1007")
		add(fmt.Sprintf("6 no UTF-8 in pieces: %q", text), pieces(ask(text), 1), "close 1007")
	}
	add("6 half a character in a message of its own", one(raw(textFrame, "\xce"), raw(textFrame, "\xba")), "close 1007")
	add("6 what is no UTF-8 and binary", one(raw(binaryFrame, "\xff")), malformedText)

	// 7: closing.
	add("7.1.1 a message, then the end", one(raw(textFrame, ask("a")), raw(closeOf, body(1000, ""))), echo("a"), "close 1000")
	add("7.1.2 the end twice", one(raw(closeOf, ""), raw(closeOf, "")), "close ")
	add("7.1.3 a ping behind the end", one(raw(closeOf, body(1000, "")), raw(pingOf, "x")), "close 1000")
	add("7.1.4 a message behind the end", one(raw(closeOf, body(1000, "")), raw(textFrame, ask("a"))), "close 1000")
	add("7.1.5 in the midst of a message", one(two[0], raw(closeOf, body(1000, "")), two[1]), "close 1000")
	add("7.3.1 without a code", one(raw(closeOf, "")), "close ")
	add("7.3.2 half a code", one(raw(closeOf, "a")), refused)
	add("7.3.4 with a reason", one(raw(closeOf, body(1000, "bye"))), "close 1000")
	add("7.3.5 with a reason of 123 bytes", one(raw(closeOf, body(1000, strings.Repeat("*", 123)))), "close 1000")
	add("7.3.6 with one of 124", one(raw(closeOf, body(1000, strings.Repeat("*", 124)))), refused)
	add("7.5.1 with a reason that is no UTF-8", one(raw(closeOf, body(1000, "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"))), "close 1007")
	add("7 a close frame in fragments", one(raw(closeOf&^fin, body(1000, "")), raw(lastFrame, "")), refused)
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		add(fmt.Sprintf("7.7 the code %d", code), one(raw(closeOf, body(code, ""))), fmt.Sprintf("close %d", code))
	}
	for _, code := range []uint16{0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		add(fmt.Sprintf("7.9 the code %d", code), one(raw(closeOf, body(code, ""))), refused)
	}

	// 9: limits. Of 100,000 bytes here.
	long := `"` + strings.Repeat("x", autobahnLimit-2) + `"`
	add("9.1 a message as large as may be", one(raw(textFrame, long)), malformedText)
	add("9.3 the same in fragments", pieces(long, 64), malformedText)
	add("9 one that is larger", one(raw(textFrame, long+" ")), "close 1009")
	add("9 the same in fragments", pieces(long+" ", 1000), "close 1009")
	add("9 one that says it is larger", one(rawLength(textFrame, autobahnLimit+1, "")), "close 1009")
	add("9 one that says it has 2^62 bytes", one(rawLength(textFrame, 1<<62, "")), "close 1009")
	add("9 a length with a sign", one(string([]byte{textFrame, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4})), refused)
	add("9 fragments that have too much together", one(raw(textOf, long), raw(moreOfIt, ""), rawLength(lastFrame, 1, "")), "close 1009")

	// Masking, of which the suite has no cases.
	add("no mask", one(string([]byte{textFrame, 2, 'h', 'i'})), refused)
	add("no mask on a ping", one(string([]byte{pingOf, 0})), refused)
	add("no mask on a close frame", one(string([]byte{closeOf, 0})), refused)
	return cases
}

const autobahnLimit = 100_000

func TestAutobahn(t *testing.T) {
	f := newFixture(t, Options{Limits: Limits{Message: autobahnLimit, Unsent: 1 << 20}})
	cases := autobahn()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			client := f.socket()
			sent := make(chan error, 1)
			go func() {
				for _, piece := range c.send {
					if _, err := io.WriteString(client.Conn, piece); err != nil {
						sent <- err
						return
					}
				}
				sent <- nil
			}()
			for i, want := range c.want {
				if got := client.told(); got != want {
					t.Fatalf("%d: %q, want %q", i, got, want)
				}
			}
			if err := <-sent; err != nil && !strings.HasPrefix(c.want[len(c.want)-1], "close") {
				t.Fatal(err)
			}
			if strings.HasPrefix(c.want[len(c.want)-1], "close") {
				if got := client.told(); got != "end" {
					t.Errorf("behind the end: %q", got)
				}
				return
			}
			// The connection goes on.
			client.send(ask("still there"))
			if got := client.told(); got != echo("still there") {
				t.Errorf("behind it: %q", got)
			}
			client.Close()
		})
	}
	t.Logf("%d cases", len(cases))
	f.until("connections stay", func() bool { return f.live.open() == 0 })
}

// told is the next frame of the server in the words of autobahnCase.
func (c *wsClient) told() string {
	c.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	for {
		frame, err := readFrame(c.r)
		if network, ok := errors.AsType[net.Error](err); ok && network.Timeout() {
			c.Fatal("nothing comes")
		}
		if err != nil {
			return "end"
		}
		if frame.Header.Masked || frame.Header.Rsv != 0 || !frame.Header.Fin {
			c.Fatalf("the server sends %+v", frame.Header)
		}
		switch frame.Header.OpCode {
		case ws.OpPing:
			continue
		case ws.OpPong:
			return "pong " + string(frame.Payload)
		case ws.OpClose:
			if len(frame.Payload) == 0 {
				return "close "
			}
			return fmt.Sprint("close ", binary.BigEndian.Uint16(frame.Payload))
		}
		m := decode[ours](c, string(frame.Payload))
		if m.Code == "malformed" && len(m.ID) > 0 && !bytes.Equal(m.ID, []byte("null")) {
			return "answer " + decode[string](c, string(m.ID))
		}
		return m.Code
	}
}

// What is no handshake is refused by HTTP, and none of it is left open.
func TestHandshakes(t *testing.T) {
	f := newFixture(t, Options{})
	for _, c := range []struct{ name, request, want string }{
		{"no key", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n", "400"},
		{"a short key", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: aGk=\r\n", "400"},
		{"no version", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "400"},
		{"an old version", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "426"},
		{"no connection", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "400"},
		{"a connection to be kept too", "Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "101"},
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(f.server.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET /a HTTP/1.1\r\nHost: x\r\n"+c.request+"\r\n"); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		var answer [512]byte
		n, err := conn.Read(answer[:])
		if got := string(answer[:n]); err != nil || !strings.HasPrefix(got, "HTTP/1.1 "+c.want+" ") || c.want == "426" && !strings.Contains(got, "Sec-WebSocket-Version: 13") {
			t.Errorf("%s: %q, %v, want %s", c.name, got, err, c.want)
		}
		_ = conn.Close()
	}
	f.until("a connection stays", func() bool { return f.live.open() == 0 })
}
