package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/monotonic"
	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/servertest"
	"github.com/oolith-db/oolith/storage"
)

// olderGo speaks as the older ecosystem's clients in Go do: it looks at the status and at nothing else of an error; it pushes by a key
// of its own clock; it never asks to resume; a patch that does not apply makes it drop the connection and come back.
type olderGo struct {
	t             *testing.T
	base, token   string
	http          *http.Client
	comesBackSoon time.Duration
}

// olderMeta is an object as these clients have it.
type olderMeta[T any] struct {
	Created int64  `json:"created"`
	Updated int64  `json:"updated"`
	Index   string `json:"index"`
	Path    string `json:"path"`
	Data    T      `json:"data"`
}

var errOlderAbsent = errors.New("it is absent")

func (c *olderGo) ask(method, target string, data any) ([]byte, error) {
	var body io.Reader
	if data != nil {
		text, err := json.Marshal(data)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+"/"+target, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 10<<20)) // what is longer is cut
	err = errors.Join(err, resp.Body.Close())
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode == http.StatusNotFound && method == http.MethodGet:
		return nil, errOlderAbsent
	case resp.StatusCode >= 400:
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	return answer, nil
}

// index reads the answer of a write.
func (c *olderGo) index(answer []byte, err error) string {
	c.t.Helper()
	var made struct {
		Index string `json:"index"`
	}
	if err == nil {
		err = json.Unmarshal(answer, &made)
	}
	if err != nil {
		c.t.Fatalf("a write: %s, %v", answer, err)
	}
	return made.Index
}

func (c *olderGo) set(target string, data any) string {
	c.t.Helper()
	return c.index(c.ask(http.MethodPost, target, data))
}

func (c *olderGo) patch(target string, data any) string {
	c.t.Helper()
	return c.index(c.ask(http.MethodPatch, target, data))
}

// push makes the key itself.
func (c *olderGo) push(list string, data any) string {
	c.t.Helper()
	key := fmt.Sprintf("%x", monotonic.Now())
	if got := c.set(path.Dir(list)+"/"+key, data); got != key {
		c.t.Errorf("a push to %s answers the index %s, want %s", list, got, key)
	}
	return key
}

func (c *olderGo) del(target string) {
	c.t.Helper()
	if _, err := c.ask(http.MethodDelete, target, nil); err != nil {
		c.t.Errorf("delete %s: %v", target, err)
	}
}

func olderGet[T any](c *olderGo, target string) (obj T, err error) {
	answer, err := c.ask(http.MethodGet, target, nil)
	if err == nil {
		err = json.Unmarshal(answer, &obj)
	}
	return obj, err
}

// olderMessage is a frame of a subscription.
type olderMessage struct {
	Snapshot bool            `json:"snapshot"`
	Version  string          `json:"version"`
	Data     json.RawMessage `json:"data"`
}

// olderFollow subscribes, and calls a function with the whole state at each message, until it reports false. Whatever ends a
// connection, it comes back. It returns how many messages there were, the first of each connection left out.
func olderFollow[T any](c *olderGo, target string, each func(T) bool) (messages, connections int) {
	c.t.Helper()
	for {
		ended, n := olderConnect(c, target, each)
		messages += n
		connections++
		if ended || c.t.Context().Err() != nil {
			return messages, connections
		}
		time.Sleep(c.comesBackSoon) // as these clients do
	}
}

func olderConnect[T any](c *olderGo, target string, each func(T) bool) (ended bool, messages int) {
	c.t.Helper()
	header := http.Header{}
	if c.token != "" {
		header.Set("Authorization", "Bearer "+c.token)
	}
	dialer := ws.Dialer{Header: ws.HandshakeHeaderHTTP(header), Timeout: 2 * time.Second}
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	conn, buffered, _, err := dialer.Dial(ctx, strings.Replace(c.base, "http", "ws", 1)+"/"+target)
	if err != nil {
		return false, 0
	}
	defer func() { _ = conn.Close() }() // it is left
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	var source io.Reader = conn
	if buffered != nil {
		source = io.MultiReader(buffered, conn)
	}
	var state []byte
	for first := true; ; first = false {
		frame, op, err := wsutil.ReadServerData(struct {
			io.Reader
			io.Writer
		}{source, conn})
		if err != nil {
			return false, messages
		}
		if op != ws.OpBinary {
			c.t.Errorf("a frame of the kind %v, these clients read binary ones", op)
		}
		var m olderMessage
		if err := json.Unmarshal(frame, &m); err != nil || len(m.Version) != 16 {
			c.t.Errorf("a frame: %s, %v", frame, err)
			return true, messages
		}
		if first != m.Snapshot && first {
			c.t.Errorf("the first message is %s", frame)
		}
		if m.Snapshot {
			state = m.Data
		} else {
			steps, err := jsonpatch.DecodePatch(m.Data)
			if err == nil {
				state, err = steps.Apply(state)
			}
			if err != nil {
				c.t.Errorf("the patch %s of %s: %v", m.Data, state, err)
				return false, messages
			}
		}
		if !first {
			messages++
		}
		var typed T
		if err := json.Unmarshal(state, &typed); err != nil {
			c.t.Errorf("the state %s: %v", state, err)
		}
		if !each(typed) {
			return true, messages
		}
	}
}

type olderThing struct {
	Name string `json:"name"`
	N    int    `json:"n"`
}

func newOlderGo(t *testing.T, base, token string) *olderGo {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &olderGo{t, base, token, &http.Client{Transport: transport}, 10 * time.Millisecond}
}

// A client in Go of the older ecosystem reads, writes and follows an object and a list.
func TestOlderGoClient(t *testing.T) {
	s := servertest.Start(t, server.Options{})
	c := newOlderGo(t, s.URL, "")
	if _, err := olderGet[olderMeta[olderThing]](c, "box"); !errors.Is(err, errOlderAbsent) {
		t.Errorf("what is absent: %v", err)
	}
	type object = olderMeta[olderThing]
	states := make(chan object)
	over := make(chan [2]int, 1)
	go func() {
		messages, connections := olderFollow(c, "box", func(obj object) bool {
			states <- obj
			return obj.Data.Name != "end"
		})
		over <- [2]int{messages, connections}
	}()
	if obj := <-states; obj != (object{}) {
		t.Errorf("an object that is absent: %+v", obj)
	}
	for _, step := range []struct {
		make func()
		want olderThing
	}{
		{func() { c.set("box", olderThing{"a", 1}) }, olderThing{"a", 1}},
		{func() { c.set("box", olderThing{"a", 2}) }, olderThing{"a", 2}},
		{func() { c.patch("box", map[string]any{"name": "b/~\"é"}) }, olderThing{"b/~\"é", 2}},
		{func() { c.del("box") }, olderThing{}},
		{func() { c.set("box", olderThing{"again", 3}) }, olderThing{"again", 3}},
		{func() { c.del("b*") }, olderThing{}},
		{func() { c.set("box", olderThing{"end", 4}) }, olderThing{"end", 4}},
	} {
		step.make()
		obj := <-states
		got, err := olderGet[object](c, "box")
		if errors.Is(err, errOlderAbsent) {
			got, err = object{}, nil
		}
		if err != nil || obj.Data != step.want || obj != got {
			t.Errorf("it is told %+v, and GET says %+v, %v, want %+v", obj, got, err, step.want)
		}
	}
	if got := <-over; got != [2]int{7, 1} {
		t.Errorf("%d messages on %d connections, want one for each write", got[0], got[1])
	}
}

// The list that a client holds is the one that GET answers, through any course of writes and over connections that are cut.
func TestOlderGoList(t *testing.T) {
	random := testrand.New(t)
	s := servertest.Start(t, server.Options{})
	c := newOlderGo(t, s.URL, "")
	type list = []olderMeta[olderThing]
	follow := func(marker string) (<-chan list, <-chan [2]int) {
		states, over := make(chan list, 1000), make(chan [2]int, 1)
		go func() {
			messages, connections := olderFollow(c, "l/*", func(now list) bool {
				states <- now
				return !slices.ContainsFunc(now, func(obj olderMeta[olderThing]) bool { return obj.Data.Name == marker })
			})
			over <- [2]int{messages, connections}
		}()
		return states, over
	}
	last := func(states <-chan list) (now list) {
		for len(states) > 0 {
			now = <-states
		}
		return now
	}
	writes := 0
	write := func() {
		writes++
		there, err := olderGet[list](c, "l/*")
		if err != nil {
			t.Fatal(err)
		}
		switch kind := random.IntN(10); {
		case len(there) == 0 || kind < 5:
			c.push("l/*", olderThing{"new", writes})
		case kind < 7:
			c.set(there[random.IntN(len(there))].Path, olderThing{"changed", writes})
		case kind < 8:
			c.patch(there[random.IntN(len(there))].Path, map[string]int{"n": writes})
		case kind < 9 || random.IntN(5) > 0:
			c.del(there[random.IntN(len(there))].Path)
		default:
			c.del("l/*")
		}
	}
	states, over := follow("end")
	if first := <-states; len(first) != 0 {
		t.Errorf("an empty list: %v", first)
	}
	for range 80 {
		write()
	}
	c.push("l/*", olderThing{"end", 0})
	writes++
	if got := <-over; got != [2]int{writes, 1} {
		t.Errorf("%d writes gave %d messages on %d connections", writes, got[0], got[1])
	}
	want, err := olderGet[list](c, "l/*")
	if held := last(states); err != nil || !slices.Equal(held, want) {
		t.Errorf("the client holds %v, GET says %v, %v", held, want, err)
	}
	c.del("l/*")
	states, over = follow("the very end")
	<-states
	for i := range 80 {
		write()
		if i%20 == 19 {
			s.CutConnections()
			c.http.CloseIdleConnections()
		}
	}
	c.push("l/*", olderThing{"the very end", 0})
	if got := <-over; got[1] < 2 {
		t.Errorf("%d connections, and some were cut", got[1])
	}
	want, err = olderGet[list](c, "l/*")
	if held := last(states); err != nil || !slices.Equal(held, want) {
		t.Errorf("after cuts the client holds %v, GET says %v, %v", held, want, err)
	}
}

// These clients send a token in the header, on a WebSocket too.
func TestOlderGoToken(t *testing.T) {
	dir := t.TempDir()
	_, text, err := server.CreateToken(dir, "one", []server.Scope{{Pattern: "a/*", Verbs: []server.Verb{server.Read, server.Write}}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := server.OpenTokens(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tokens.Close()
	s := servertest.Start(t, server.Options{Tokens: tokens})
	if _, err := newOlderGo(t, s.URL, "").ask(http.MethodPost, "a/1", olderThing{}); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("without a token: %v", err)
	}
	c := newOlderGo(t, s.URL, text)
	if _, err := c.ask(http.MethodPost, "b/1", olderThing{}); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("where it may not write: %v", err)
	}
	c.set("a/1", olderThing{"mine", 1})
	if _, err := s.Store.Get("a/1"); errors.Is(err, storage.ErrNotFound) {
		t.Error("it is not stored")
	}
	olderFollow(c, "a/*", func(now []olderMeta[olderThing]) bool {
		if len(now) != 1 || now[0].Data.Name != "mine" {
			t.Errorf("it is told %v", now)
		}
		return false
	})
}
