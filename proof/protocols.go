package main

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/gobwas/ws"
)

// The clients of the stream campaign: each protocol, mapped to follower.

// socketProtocol is oolith.v1.
type socketProtocol struct{}

func (socketProtocol) name() string { return "oolith.v1" }

func (socketProtocol) follow(f *follower, conn net.Conn) error {
	in, err := dialSocket(f, conn, "/~/live", "oolith.v1")
	if err != nil {
		return err
	}
	f.mu.Lock()
	request := map[string]any{"type": "subscribe", "token": f.token}
	f.mu.Unlock()
	var subscriptions []map[string]any
	for i, pattern := range f.patterns {
		subscriptions = append(subscriptions, map[string]any{"id": i, "pattern": pattern})
	}
	request["subscriptions"] = subscriptions
	text, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if err := ws.WriteFrame(conn, ws.MaskFrame(ws.NewTextFrame(text))); err != nil {
		return broken{err}
	}
	for {
		payload, err := in.next(ws.OpText)
		if err != nil {
			return err
		}
		var m ours
		if err := decode(payload, &m); err != nil {
			return err
		}
		switch m.Type {
		case "welcome":
			continue
		case "problem":
			if m.Code == "unavailable" {
				return broken{fmt.Errorf("%s", m.Detail)}
			}
			return fmt.Errorf("a problem: %s", payload)
		}
		if err := f.take(&m); err != nil {
			return err
		}
	}
}

// socketReader reads the frames that a server sends.
type socketReader struct {
	conn net.Conn
	r    *bufio.Reader
}

// dialSocket makes a handshake. A server that is shutting down rejects it.
func dialSocket(f *follower, conn net.Conn, target, protocol string) (*socketReader, error) {
	request := "GET " + target + " HTTP/1.1\r\nHost: " + f.address + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: " + protocol + "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		return nil, broken{err}
	}
	in := &socketReader{conn, lineReader(conn)}
	resp, err := http.ReadResponse(in.r, nil)
	if err != nil {
		return nil, broken{err}
	}
	if resp.StatusCode == http.StatusServiceUnavailable {
		return nil, broken{fmt.Errorf("it ends")}
	}
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Protocol") != protocol {
		return nil, fmt.Errorf("the handshake is answered with %s %v", resp.Status, resp.Header)
	}
	return in, nil
}

// next returns the payload of the next message, which is one frame.
func (s *socketReader) next(code ws.OpCode) ([]byte, error) {
	for {
		h, err := ws.ReadHeader(s.r)
		if err != nil {
			return nil, broken{err}
		}
		if h.Length > 1<<26 || h.Masked || !h.Fin || h.Rsv != 0 && h.Rsv != 4 {
			return nil, fmt.Errorf("a frame %+v", h)
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(s.r, payload); err != nil {
			return nil, broken{err}
		}
		switch h.OpCode {
		case ws.OpPing:
			if err := ws.WriteFrame(s.conn, ws.MaskFrame(ws.NewPongFrame(payload))); err != nil {
				return nil, broken{err}
			}
			continue
		case ws.OpClose:
			status, reason := ws.ParseCloseFrameData(payload)
			if status == 1012 {
				return nil, broken{fmt.Errorf("closed: %s", reason)}
			}
			return nil, fmt.Errorf("closed with %d: %s", status, reason)
		case code:
			if h.Rsv == 0 {
				return payload, nil
			}
			// A compressed message has no context, and its last four bytes are left out.
			return io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(payload), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))))
		}
		return nil, fmt.Errorf("a frame of type %d", h.OpCode)
	}
}

// eventsProtocol is server-sent events.
type eventsProtocol struct{}

func (eventsProtocol) name() string { return "events" }

func (eventsProtocol) follow(f *follower, conn net.Conn) error {
	f.mu.Lock()
	token := f.token
	f.mu.Unlock()
	request := "GET /~/live?" + url.Values{"watch": f.patterns}.Encode() + " HTTP/1.1\r\nHost: " + f.address + "\r\nAccept: text/event-stream\r\n"
	if token != "" {
		request += "Last-Event-ID: " + token + "\r\n"
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		return broken{err}
	}
	r := lineReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return broken{err}
	}
	if resp.StatusCode == http.StatusServiceUnavailable {
		return broken{fmt.Errorf("it ends")}
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the answer is %s", resp.Status)
	}
	id, kind, data := "", "", ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return broken{err} // the result of the event is not used
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			kind = value
		case "data":
			data = value
		case "":
			if data == "" {
				continue
			}
			var m ours
			if err := decode([]byte(data), &m); err != nil {
				return err
			}
			if m.Token != id || m.Type != kind {
				return fmt.Errorf("an event %s with the id %s is %.200s", kind, id, data)
			}
			if err := f.take(&m); err != nil {
				return err
			}
			id, kind, data = "", "", ""
		case "retry":
		default:
			if !strings.HasPrefix(line, ":") {
				return fmt.Errorf("a line %q", line)
			}
		}
	}
}
