package live

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/gobwas/ws"

	"github.com/oolith-db/oolith/internal/jsontext"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
)

// Subprotocol is the name of our own WebSocket protocol. docs/protocol.md describes it.
const Subprotocol = "oolith.v1"

// ServeSocket serves oolith.v1: a connection that follows any number of patterns and keeps presences. It returns once
// the stream runs.
func (l *Live) ServeSocket(w http.ResponseWriter, r *http.Request, caller Caller) {
	if !offers(r, Subprotocol) {
		http.Error(w, "expected the header Sec-WebSocket-Protocol to offer "+Subprotocol, http.StatusBadRequest)
		caller.ended()
		return
	}
	deflate := false
	raw, err := l.upgrade(w, r, Subprotocol, negotiate(&deflate))
	if err != nil {
		caller.ended()
		return
	}
	c := l.newConn(raw, socket, caller, l.viewerOf(caller.Identity))
	s := &session{conn: c, members: make(map[string]*member)}
	c.session, c.deflate = s, deflate
	if !l.openSocket(c, raw) {
		return
	}
	c.tell(ready(webSocket(ws.OpText, fmt.Appendf(nil, `{"type":"welcome","store":%q}`, l.StoreID()))...))
	go c.read(raw, s.message)
}

// session is the state of an oolith.v1 client. Its reader's goroutine uses it, and the keeper, which renews
// presences.
type session struct {
	conn      *conn
	malformed int
	members   map[string]*member // by id; only the reader uses it

	mu      sync.Mutex // guards the fields below; held while presence is written
	present map[string]*presence
	over    bool
}

// request is a message of a client.
type request struct {
	Type          string          `json:"type"`
	ID            json.RawMessage `json:"id"`
	Pattern       *string         `json:"pattern"`
	Subscriptions []struct {
		ID      json.RawMessage `json:"id"`
		Pattern string          `json:"pattern"`
	} `json:"subscriptions"`
	Token string          `json:"token"`
	Path  string          `json:"path"`
	Data  json.RawMessage `json:"data"`
}

// problem is the answer to a request that is not served. Malformed requests are counted.
type problem struct {
	code      string
	detail    string
	malformed bool
}

func (p *problem) Error() string { return p.detail }

func malformed(format string, args ...any) *problem {
	return &problem{"malformed", fmt.Sprintf(format, args...), true}
}

// problemOf returns the problem for an error. An error of the store may be temporary.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	return &problem{code: "unavailable", detail: err.Error()}
}

// message serves a message of the client; nil for a binary one.
func (s *session) message(text []byte) error {
	if wait := s.conn.caller.Wait; wait != nil && wait() > 0 {
		return &protocolError{closeTooMany, "more messages a second than the limit Rate"}
	}
	var req request
	err := parseRequest(text, &req)
	if err == nil {
		err = s.serve(&req)
	}
	if err == nil {
		return nil
	}
	p := problemOf(err)
	answer := append([]byte(`{"type":"problem","id":`), idOr(req.ID, "null")...)
	answer = appendText(append(answer, `,"code":`...), p.code)
	answer = appendText(append(answer, `,"detail":`...), p.detail)
	s.conn.tell(ready(webSocket(ws.OpText, append(answer, '}'))...))
	if p.malformed {
		if s.malformed++; s.malformed >= s.conn.live.opt.Limits.Malformed {
			return &protocolError{closeMalformed, fmt.Sprintf("%d malformed messages", s.malformed)}
		}
	}
	return nil
}

func idOr(id json.RawMessage, other string) []byte {
	if checkID(id) != nil {
		return []byte(other)
	}
	return id
}

func parseRequest(text []byte, req *request) error {
	if text == nil {
		return malformed("the message is binary, expected text")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(req); err != nil {
		return malformed("the message is not a request, %v", jsontext.Explain(err))
	}
	if decoder.More() || decoder.InputOffset() != int64(len(bytes.TrimRight(text, " \t\r\n"))) {
		return malformed("there is more data after the request, at byte %d", decoder.InputOffset())
	}
	return nil
}

// checkID accepts a number of up to 16 digits, or a short string without escapes.
func checkID(id json.RawMessage) error {
	var number uint64
	switch {
	case len(id) == 0:
		return malformed("id is missing, expected a number or a string")
	case id[0] == '"' && len(id) <= 66 && len(id) > 2 && !bytes.ContainsRune(id, '\\'):
		return nil
	case len(id) <= 16 && json.Unmarshal(id, &number) == nil && fmt.Sprint(number) == string(id):
		return nil
	}
	return malformed("id %.40s, expected a number of up to 16 digits, or a string of 1 to 64 bytes without escapes", id)
}

func (s *session) serve(req *request) error {
	switch req.Type {
	case "subscribe":
		return s.subscribe(req)
	case "unsubscribe":
		return s.unsubscribe(req)
	case "enter":
		return s.enter(req)
	case "exit":
		return s.exit(req)
	case "ping": // a program in a browser sees no ping of a WebSocket
		if err := checkID(req.ID); err != nil {
			return err
		}
		s.acknowledge("pong", req.ID)
		return nil
	}
	return malformed("type %.40q, expected subscribe, unsubscribe, enter, exit or ping", req.Type)
}

// subscribe makes the connection follow one pattern, or several at one revision.
func (s *session) subscribe(req *request) error {
	if req.Pattern != nil {
		if len(req.Subscriptions) > 0 {
			return malformed("both pattern and subscriptions are given, expected one of them")
		}
		req.Subscriptions = append(req.Subscriptions, struct {
			ID      json.RawMessage `json:"id"`
			Pattern string          `json:"pattern"`
		}{req.ID, *req.Pattern})
	}
	if len(req.Subscriptions) == 0 {
		return malformed("pattern is missing, expected a path or a pattern")
	}
	limit := s.conn.live.opt.Limits.Subscriptions
	if len(s.members)+len(req.Subscriptions) > limit {
		return &problem{code: "too-many", detail: fmt.Sprintf("the connection follows %d patterns, the limit Subscriptions is %d", len(s.members), limit)}
	}
	patterns := make([]string, len(req.Subscriptions))
	members := make([]*member, len(req.Subscriptions))
	for i, one := range req.Subscriptions {
		if err := checkID(one.ID); err != nil {
			return err
		}
		req.ID = one.ID // for the problem
		id := string(one.ID)
		taken := slices.ContainsFunc(members[:i], func(m *member) bool { return m.id == id })
		if _, there := s.members[id]; there || taken {
			return malformed("id %s is in use by another subscription", id)
		}
		if err := key.Check(one.Pattern); err != nil {
			return malformed("pattern %.80q: %v", one.Pattern, err)
		}
		if err := s.allowed("read", one.Pattern); err != nil {
			return err
		}
		patterns[i], members[i] = one.Pattern, &member{id: id}
	}
	l := s.conn.live
	if err := l.hub.attach(l.ctx, s.conn, patterns, members, req.Token, ""); err != nil {
		if errors.Is(err, storage.ErrInvalidPath) {
			return malformed("%v", err)
		}
		return err
	}
	for _, m := range members {
		s.members[m.id] = m
	}
	return nil
}

func (s *session) allowed(verb, pattern string) (err error) {
	if panicked := guard("Authorize", func() { err = s.conn.caller.allowed(verb, pattern) }); panicked != nil {
		s.conn.live.opt.Logger.Error("a request is rejected", "error", panicked)
		err = errors.New("authorization failed; the server's log has the reason")
	}
	if err != nil {
		return &problem{code: "forbidden", detail: fmt.Sprintf("%s %s: %v", verb, pattern, err)}
	}
	return nil
}

func (s *session) unsubscribe(req *request) error {
	if err := checkID(req.ID); err != nil {
		return err
	}
	m := s.members[string(req.ID)]
	if m == nil {
		return malformed("there is no subscription with id %s", req.ID)
	}
	delete(s.members, m.id)
	s.conn.live.hub.dismiss(m)
	s.acknowledge("unsubscribed", req.ID)
	return nil
}

func (s *session) acknowledge(kind string, id json.RawMessage) {
	s.conn.tell(ready(webSocket(ws.OpText, fmt.Appendf(nil, `{"type":%q,"id":%s}`, kind, id))...))
}
