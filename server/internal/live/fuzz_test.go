package live

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/oolith-db/oolith/patch"
)

func FuzzToken(f *testing.F) {
	for _, text := range []string{"", ".", "ab.1", "ab.01", "ab.18446744073709551615", "ab.18446744073709551616", "AB.1", "ab.+1", "ab.1.1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		token, err := parseToken(text)
		if err == nil && token.String() != text {
			t.Errorf("%q is read as %q", text, token)
		}
	})
}

// FuzzFrames feeds what no client sends: it ends with an error, and with no more than the limit held.
func FuzzFrames(f *testing.F) {
	for _, frame := range []ws.Frame{ws.NewTextFrame([]byte(`{"type":"subscribe"}`)), ws.NewPingFrame([]byte("x")), ws.NewCloseFrame(nil),
		ws.NewFrame(ws.OpText, false, []byte("a")), ws.NewFrame(ws.OpContinuation, true, []byte("b"))} {
		f.Add(ws.MustCompileFrame(ws.MaskFrame(frame)))
		f.Add(ws.MustCompileFrame(frame))
	}
	store := newStore(f)
	l := New(store, Options{})
	f.Cleanup(l.Close)
	for _, text := range []string{`{"type":"subscribe"}`, "", strings.Repeat("x", 1000)} {
		f.Add([]byte(raw(textFrame|compressedBit, deflate(f, text, ""))))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, compressed := range []bool{false, true} {
			c := l.newConn(&recorded{}, socket, Caller{}, nil)
			c.deflate = compressed
			in := incoming{conn: c, r: bytes.NewReader(data), limit: 100, keep: true}
			var err error
			for n := 0; err == nil; n++ {
				var message []byte
				var text bool
				if message, text, err = in.next(); len(message) > 100 || text && !utf8.Valid(message) {
					t.Errorf("a message %q", message)
				}
				if n > len(data) {
					t.Fatal("it does not end")
				}
			}
			var broken *protocolError
			if !errors.As(err, &broken) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%v", err)
			}
		}
	})
}

// FuzzRequest sends what may be no request: the answer is at most a problem, and it is JSON.
func FuzzRequest(f *testing.F) {
	for _, text := range []string{`{"type":"subscribe","id":1,"pattern":"a/*","token":"ab.1"}`, `{"type":"enter","id":"x","path":"a","data":{}}`,
		`{"type":"unsubscribe","id":1}`, `{"type":"exit","id":1e3}`, `[]`, `{"id":"\u0000"}`} {
		f.Add([]byte(text))
	}
	store := newStore(f)
	l := New(store, Options{})
	f.Cleanup(l.Close)
	f.Fuzz(func(t *testing.T, text []byte) {
		if !utf8.Valid(text) {
			return // it does not come so far
		}
		c := l.newConn(&recorded{}, socket, Caller{}, nil)
		c.held = true
		s := &session{conn: c, members: map[string]*member{}}
		c.session = s
		if err := s.message(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		for _, q := range c.queue {
			var payload []byte
			for _, part := range q.frame.bytes() {
				payload = append(payload, part...)
			}
			frame, err := readFrame(bytes.NewReader(payload))
			if err != nil || !json.Valid(frame.Payload) {
				t.Errorf("%q is answered with %q, %v", text, payload, err)
			}
		}
		l.hub.leave(c)
		s.leave()
	})
}

// FuzzDifference compares what a patch makes of a value with what it is to make.
func FuzzDifference(f *testing.F) {
	f.Add([]byte(`{"a":[1,2,{"b":null}]}`), []byte(`{"a":[2,{"b":1}],"c/~":""}`))
	f.Add([]byte(`[[[1]]]`), []byte(`[[[1,2]],3]`))
	f.Fuzz(func(t *testing.T, before, after []byte) {
		if !json.Valid(before) || !json.Valid(after) || !utf8.Valid(before) || !utf8.Valid(after) || len(before)+len(after) > 1<<12 {
			return
		}
		before, after = appendData(nil, before), appendData(nil, after)
		var d difference
		d.compare("/data", before, after, 0)
		if d.unsafe {
			return
		}
		got, err := patch.ApplyJSON([]byte(`{"data":`+string(before)+`}`), []byte("["+string(d.ops)+"]"))
		if err != nil {
			t.Fatalf("%s to %s by %s: %v", before, after, d.ops, err)
		}
		if want := `{"data":` + string(after) + `}`; canonical(string(got)) != canonical(want) {
			t.Errorf("%s to %s by %s is %s", before, after, d.ops, got)
		}
	})
}
