package live

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
)

// upgrade takes a connection over for WebSocket. If it cannot, it writes an answer.
func (l *Live) upgrade(w http.ResponseWriter, r *http.Request, subprotocol string, extension func(httphead.Option) (httphead.Option, error)) (net.Conn, error) {
	upgrader := ws.HTTPUpgrader{Protocol: func(offered string) bool { return offered == subprotocol }, Negotiate: extension}
	raw, buffered, _, err := upgrader.Upgrade(r, w)
	if err == nil && buffered.Reader.Buffered() > 0 {
		err = errEarly
	}
	if err != nil && raw != nil {
		_ = raw.Close()
	}
	return raw, err
}

var errEarly = &protocolError{ws.StatusProtocolError, "data arrived before the handshake was answered"}

// offers reports whether a client offers a subprotocol.
func offers(r *http.Request, subprotocol string) bool {
	for _, header := range r.Header.Values("Sec-WebSocket-Protocol") {
		for offered := range strings.SplitSeq(header, ",") {
			if strings.TrimSpace(offered) == subprotocol {
				return true
			}
		}
	}
	return false
}

// protocolError ends a WebSocket connection with a close code.
type protocolError struct {
	code   ws.StatusCode
	reason string
}

func (e *protocolError) Error() string { return e.reason }

// read reads the client's messages until the connection closes, and passes complete text messages on if text is not
// nil.
func (c *conn) read(r io.Reader, text func(message []byte) error) {
	err := c.readFrames(r, text)
	if broken, ok := err.(*protocolError); ok {
		c.end(broken.code, broken.reason)
		// The client may be in the middle of sending more. Give the close frame time to arrive.
		_, _ = io.CopyN(io.Discard, r, 1<<20)
	}
	c.mu.Lock()
	ending := c.ending
	c.mu.Unlock()
	if !ending { // otherwise the last frames are being written, and the writer closes the connection
		c.drop()
	}
}

func (c *conn) readFrames(r io.Reader, text func([]byte) error) error {
	in := incoming{conn: c, r: r, limit: c.live.opt.Limits.Message, keep: text != nil}
	for {
		message, isText, err := in.next()
		if err != nil {
			return err
		}
		if text == nil {
			continue
		}
		if !isText {
			message = nil // we expect no binary messages
		} else if message == nil {
			message = []byte{}
		}
		if err := aside(func() error { return text(message) }); err != nil {
			return err
		}
	}
}

// aside runs a function on a separate goroutine. This keeps the stack of the reading goroutine small, which is the
// largest cost of an idle connection.
func aside(run func() error) error {
	done := make(chan error)
	go func() { done <- run() }()
	return <-done
}

// incoming reads the messages of a client.
type incoming struct {
	conn  *conn
	r     io.Reader
	limit int
	keep  bool // keep the messages
	head  [ws.MaxHeaderSize]byte
}

// next returns the next message. It answers control frames.
func (in *incoming) next() (message []byte, text bool, err error) {
	state, size, compressed := ws.StateServerSide, 0, false
	for {
		h, err := ws.ReadHeaderBuffer(in.r, in.head[:0])
		if errors.Is(err, ws.ErrHeaderLengthMSB) || errors.Is(err, ws.ErrHeaderLengthUnexpected) {
			err = &protocolError{ws.StatusProtocolError, err.Error()}
		}
		if err != nil {
			return nil, false, err
		}
		if h.Rsv == compressedRsv && in.conn.deflate && (h.OpCode == ws.OpText || h.OpCode == ws.OpBinary) {
			h.Rsv, compressed = 0, true
		}
		if err := ws.CheckHeader(h, state); err != nil {
			return nil, false, &protocolError{ws.StatusProtocolError, err.Error()}
		}
		in.conn.heard.Store(in.conn.live.opt.Now().UnixNano())
		if h.OpCode.IsControl() {
			if err := in.control(h); err != nil {
				return nil, false, err
			}
			continue
		}
		if h.Length > int64(in.limit-size) {
			return nil, false, in.failed(errTooBig)
		}
		size += int(h.Length)
		if !in.keep {
			if _, err := io.CopyN(io.Discard, in.r, h.Length); err != nil {
				return nil, false, err
			}
		} else if message, err = in.payload(h, message); err != nil {
			return nil, false, err
		}
		text = text || h.OpCode == ws.OpText
		if !h.Fin {
			state = state.Set(ws.StateFragmented)
			continue
		}
		if compressed && in.keep {
			if message, err = inflate(message, in.limit); err != nil {
				return nil, false, in.failed(err)
			}
		}
		if in.keep && text && !utf8.Valid(message) {
			return nil, false, &protocolError{ws.StatusInvalidFramePayloadData, "the text is not UTF-8"}
		}
		return message, text, nil
	}
}

var errTooBig = errors.New("the message is too large")

// failed is the error that ends a connection with an unacceptable message.
func (in *incoming) failed(err error) error {
	if errors.Is(err, errTooBig) {
		return &protocolError{ws.StatusMessageTooBig, "the message is larger than the limit of " + itoa(in.limit) + " bytes"}
	}
	return &protocolError{ws.StatusInvalidFramePayloadData, err.Error()}
}

// payload appends the payload of a frame to a message.
func (in *incoming) payload(h ws.Header, message []byte) ([]byte, error) {
	from := len(message)
	for left := int(h.Length); left > 0; {
		// Memory grows with the received bytes, not with the announced length.
		piece := min(left, 16<<10)
		at := len(message)
		message = append(message, make([]byte, piece)...)
		if _, err := io.ReadFull(in.r, message[at:]); err != nil {
			return nil, err
		}
		left -= piece
	}
	ws.Cipher(message[from:], h.Mask, 0)
	return message, nil
}

// control answers a control frame.
func (in *incoming) control(h ws.Header) error {
	var buffer [ws.MaxControlFramePayloadSize]byte
	payload := buffer[:h.Length]
	if _, err := io.ReadFull(in.r, payload); err != nil {
		return err
	}
	ws.Cipher(payload, h.Mask, 0)
	switch h.OpCode {
	case ws.OpPing:
		in.conn.pong(payload)
	case ws.OpClose:
		code, reason := ws.ParseCloseFrameData(payload)
		switch {
		case len(payload) == 0:
		case !mayClose(code):
			return &protocolError{ws.StatusProtocolError, "the close frame has no code that a client may send"}
		case !utf8.ValidString(reason):
			return &protocolError{ws.StatusInvalidFramePayloadData, "the reason of the close frame is not UTF-8"}
		}
		in.conn.echo(code, len(payload) == 0)
		return io.EOF
	}
	return nil
}

// mayClose reports whether a close frame may have a code: one of RFC 6455, one registered since, or one of
// applications.
func mayClose(code ws.StatusCode) bool {
	switch {
	case code >= 1000 && code <= 1014:
		return code < 1004 || code > 1006
	default:
		return code >= 3000 && code <= 4999
	}
}

// mostPongs is the number of waiting bytes beyond which pings get no answer.
const mostPongs = 4 << 10

// pong answers a ping, unless too much is waiting, so that a flood of pings costs no memory.
func (c *conn) pong(payload []byte) {
	c.mu.Lock()
	full := len(c.queue) > mostPongs/ws.MaxControlFramePayloadSize
	c.mu.Unlock()
	if !full {
		c.tell(ready(webSocket(ws.OpPong, append([]byte(nil), payload...))...))
	}
}

// echo answers a close frame with the same code, or an empty one with an empty one.
func (c *conn) echo(code ws.StatusCode, empty bool) {
	if empty {
		c.endWith(ready(webSocket(ws.OpClose)...))
		return
	}
	c.endWith(closeFrame(code, ""))
}

// openSocket adds a connection to the server, unless that is shutting down.
func (l *Live) openSocket(c *conn, raw net.Conn) bool {
	if err := l.join(c); err != nil {
		_, _ = raw.Write(closeBytes(closeRestart, "the server is shutting down")) // it is closed immediately in any case
		_ = raw.Close()
		c.caller.ended()
		return false
	}
	return true
}

func closeBytes(code ws.StatusCode, reason string) []byte {
	var all []byte
	for _, part := range closeFrame(code, reason).bytes() {
		all = append(all, part...)
	}
	return all
}

// refuse answers a request whose stream cannot start.
func (l *Live) refuse(w http.ResponseWriter, err error) {
	w.Header().Set("Retry-After", "2")
	http.Error(w, "the stream cannot start: "+err.Error(), http.StatusServiceUnavailable)
}

// attachTo attaches a new WebSocket connection, and closes it on an error.
func (l *Live) attachTo(ctx context.Context, c *conn, pattern, version string) {
	m := &member{}
	if err := l.hub.attach(ctx, c, []string{pattern}, []*member{m}, "", version); err != nil {
		c.end(closeRestart, "the stream cannot start")
	}
}
