package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

func TestSocketManyPatterns(t *testing.T) {
	f := newFixture(t, Options{})
	f.set("a/1", `1`)
	f.set("b/1", `1`)
	c, held := f.socket(), view{}
	c.send(`{"type":"subscribe","subscriptions":[{"id":1,"pattern":"a/*"},{"id":"two","pattern":"b/*"},{"id":3,"pattern":"b/1"}]}`)
	m := c.oursOf("snapshot")
	held.apply(t, m)
	if len(m.Subscriptions) != 3 || string(m.Subscriptions[1].ID) != `"two"` || m.Revision != 2 {
		t.Fatalf("%+v", m)
	}
	c.oursOf("live")
	var b storage.Batch
	b.Set("a/2", json.RawMessage(`2`))
	b.Del("b/1")
	b.Set("c/1", json.RawMessage(`2`))
	if _, err := f.store.Commit(&b); err != nil {
		t.Fatal(err)
	}
	m = c.oursOf("patch") // one commit is one message
	if held.apply(t, m); len(m.Subscriptions) != 3 {
		t.Errorf("%+v", m)
	}
	if len(held["a/*"]) != 2 || len(held["b/*"]) != 0 || len(held["b/1"]) != 0 {
		t.Errorf("%v", held)
	}
	c.send(`{"type":"unsubscribe","id":1}`)
	c.oursOf("unsubscribed")
	f.set("a/3", `3`)
	f.set("b/2", `2`)
	if m := c.oursOf("patch"); len(m.Subscriptions) != 1 || m.Subscriptions[0].Pattern != "b/*" {
		t.Errorf("%+v", m)
	}
	c.send(`{"type":"subscribe","id":1,"pattern":"a/*"}`)
	if m := c.oursOf("snapshot"); len(m.Subscriptions[0].Objects) != 3 {
		t.Errorf("%+v", m)
	}
}

// A ping is answered, so that a client finds out whether its connection is alive.
func TestSocketPing(t *testing.T) {
	c := newFixture(t, Options{}).socket()
	c.send(`{"type":"ping","id":7}`)
	if m := c.oursOf("pong"); string(m.ID) != "7" {
		t.Errorf("%+v", m)
	}
	c.send(`{"type":"ping"}`)
	if m := c.oursOf("problem"); m.Code != "malformed" {
		t.Errorf("%+v", m)
	}
}

func TestSocketResume(t *testing.T) {
	f := newFixture(t, Options{})
	f.set("a/1", `1`)
	subscribe := func(token string) (*wsClient, ours) {
		t.Helper()
		c := f.socket()
		c.send(fmt.Sprintf(`{"type":"subscribe","id":1,"pattern":"a/*","token":%q}`, token))
		return c, c.ours()
	}
	c, m := subscribe("")
	held := view{}
	held.apply(t, m)
	at := c.oursOf("live").Token
	c.Close()
	for i := range 5 {
		f.set(fmt.Sprintf("a/%d", i), `{"again":true}`)
	}
	f.del("a/4")
	c, m = subscribe(at)
	for n := 0; ; n++ {
		if m.Type == "live" {
			if n != 6 {
				t.Errorf("%d commits are told, want 6", n)
			}
			break
		}
		if m.Type != "patch" {
			t.Fatalf("%+v", m)
		}
		held.apply(t, m)
		m = c.ours()
	}
	if len(held["a/*"]) != 4 {
		t.Errorf("%v", held)
	}
	// More than may wait comes as what changed and what exists.
	f.set("a/0", `"`+strings.Repeat("x", 70<<10)+`"`)
	f.del("a/3")
	c, m = subscribe(at)
	if m.Type != "catchup" || m.Since != at || len(m.Subscriptions[0].Objects) != 3 || len(m.Subscriptions[0].Paths) != 3 {
		t.Errorf("%s since %s, %d objects, paths %v", m.Type, m.Since, len(m.Subscriptions[0].Objects), m.Subscriptions[0].Paths)
	}
	held.apply(t, m)
	if c.oursOf("live"); len(held["a/*"]) != 3 {
		t.Errorf("%v", held)
	}
	for token, reason := range map[string]string{
		"x": reasonMalformed, f.id() + ".": reasonMalformed, f.id() + ".-1": reasonMalformed, f.id() + ".01": reasonMalformed,
		"ab.1": reasonForeign, f.id() + ".999999": reasonFuture, f.id() + ".18446744073709551615": reasonFuture,
		f.id() + ".0": reasonHistory,
	} {
		c, m := subscribe(token)
		if m.Type != "reset" || m.Reason != reason {
			t.Errorf("%s: %+v", token, m)
		}
		if m := c.oursOf("snapshot"); len(m.Subscriptions[0].Objects) != 3 {
			t.Errorf("%s: %+v", token, m)
		}
		c.oursOf("live")
	}
}

// A store whose history is shorter than what was missed tells what changed and what exists.
func TestSocketCatchUpFromBeforeTheHistory(t *testing.T) {
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()}, storage.Options{History: 2})
	if err := store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	f := serve(t, store, Options{})
	f.set("a/gone", `1`)
	f.set("a/stays", `1`)
	other := f.socket() // the store keeps history from the first subscription on
	other.send(`{"type":"subscribe","id":1,"pattern":"b/*"}`)
	other.oursOf("snapshot")
	for i := range 5 {
		f.set(fmt.Sprintf("a/%d", i), `1`)
	}
	f.del("a/gone")
	c := f.socket()
	c.send(`{"type":"subscribe","id":1,"pattern":"a/*","token":"` + f.id() + `.2"}`)
	m := c.oursOf("catchup")
	if p := m.Subscriptions[0]; len(p.Objects) != 5 || len(p.Paths) != 6 {
		t.Errorf("%+v", m)
	}
}

// Of an object that the layer holds without a revision nobody knows whether it changed: it is told.
func TestSocketCatchUpWithoutRevisions(t *testing.T) {
	layer := unnumbered{storage.NewMemoryLayer()}
	store := storage.New(storage.LayeredConfig{Embedded: layer}, storage.Options{History: 1})
	if err := store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if err := layer.Set("a/old", &meta.Object{Created: 1, Index: "old", Path: "a/old", Data: json.RawMessage(`1`)}); err != nil {
		t.Fatal(err)
	}
	f := serve(t, store, Options{})
	f.replica("/other")
	f.set("a/new", `1`)
	from := store.Revision()
	for range 3 {
		f.set("x", `1`)
	}
	c := f.socket()
	c.send(fmt.Sprintf(`{"type":"subscribe","id":1,"pattern":"a/*","token":"%s.%d"}`, f.id(), from))
	m := c.oursOf("catchup")
	if p := m.Subscriptions[0]; len(p.Paths) != 2 || len(p.Objects) != 1 || p.Objects[0].Path != "a/old" {
		t.Errorf("%+v", m)
	}
}

// unnumbered is a persistent layer that keeps nothing.
type unnumbered struct{ *storage.MemoryLayer }

func (unnumbered) Load() (map[string]*meta.Object, error) { return map[string]*meta.Object{}, nil }

// A revision from before a restart of a store that keeps nothing means nothing: its content is another one.
func TestTokensOfAStoreInMemory(t *testing.T) {
	f := newFixture(t, Options{})
	f.set("a/1", `1`)
	c := f.socket()
	c.send(`{"type":"subscribe","id":1,"pattern":"a/*"}`)
	token, before := c.oursOf("snapshot").Token, f.id()
	f.store.Close()
	if err := f.store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	if f.id() == before {
		t.Fatal("the store has the identity of the one before")
	}
	c = f.socket()
	c.send(`{"type":"subscribe","id":1,"pattern":"a/*","token":"` + token + `"}`)
	if m := c.oursOf("reset"); m.Reason != reasonForeign {
		t.Errorf("%+v", m)
	}
}

func TestSocketMalformed(t *testing.T) {
	f := newFixture(t, Options{Limits: Limits{Subscriptions: 2, Present: 1}})
	f.caller = func(*http.Request) Caller {
		return Caller{Allowed: func(verb, pattern string) error {
			if strings.HasPrefix(pattern, "secret") {
				return errors.New("not for you")
			}
			return nil
		}}
	}
	for _, c := range []struct{ send, id, code, detail string }{
		{``, "null", "malformed", "request"},
		{`{`, "null", "malformed", "request"},
		{`{}`, "null", "malformed", "type"},
		{`{"type":"subscribe"}`, "null", "malformed", "pattern is missing"},
		{`{"type":"subscribe","id":1,"pattern":"a//b"}`, "1", "malformed", "a//b"},
		{`{"type":"subscribe","id":1,"pattern":""}`, "1", "malformed", "pattern"},
		{`{"type":"subscribe","pattern":"a"}`, "null", "malformed", "id is missing"},
		{`{"type":"subscribe","id":{},"pattern":"a"}`, "null", "malformed", "id"},
		{`{"type":"subscribe","id":1,"pattern":"a","more":1}`, "1", "malformed", "more"},
		{`{"type":"subscribe","id":1,"pattern":"a"} {}`, "1", "malformed", "more data after"},
		{`{"type":"subscribe","id":2,"pattern":"secret/*"}`, "2", "forbidden", "not for you"},
		{`{"type":"subscribe","subscriptions":[{"id":1,"pattern":"a"},{"id":1,"pattern":"b"}]}`, "1", "malformed", "in use"},
		{`{"type":"subscribe","subscriptions":[{"id":1,"pattern":"a"},{"id":2,"pattern":"b"},{"id":3,"pattern":"c"}]}`, "null", "too-many", "Subscriptions"},
		{`{"type":"unsubscribe","id":1}`, "1", "malformed", "there is no subscription"},
		{`{"type":"enter","id":1,"path":"a/*","data":1}`, "1", "malformed", "path"},
		{`{"type":"enter","id":1,"path":"a"}`, "1", "malformed", "data"},
		{`{"type":"enter","id":1,"path":"secret/1","data":1}`, "1", "forbidden", "not for you"},
		{`{"type":"exit","id":1}`, "1", "malformed", "there is no presence"},
	} {
		s := f.socket()
		s.send(c.send)
		m := s.oursOf("problem")
		if string(m.ID) != c.id && !(c.id == "null" && m.ID == nil) || m.Code != c.code || !strings.Contains(m.Detail, c.detail) {
			t.Errorf("%s: %s %s %s", c.send, m.ID, m.Code, m.Detail)
		}
		s.send(`{"type":"subscribe","id":9,"pattern":"a"}`) // the connection goes on
		s.oursOf("snapshot")
		s.Close()
	}
	s := f.socket()
	s.sendFrame(ws.NewBinaryFrame([]byte("{}")))
	s.oursOf("problem")
	for range 9 {
		s.send(`nonsense`)
	}
	s.closed(closeMalformed)
	s = f.socket()
	s.sendFrame(ws.NewTextFrame([]byte("\xff")))
	s.closed(ws.StatusInvalidFramePayloadData)
	if _, err := f.tryDial("/~/live"); err == nil {
		t.Error("no subprotocol is accepted")
	}
}

// A client that sends more than it may loses the connection, with the code that says why.
func TestSocketTooMany(t *testing.T) {
	f := newFixture(t, Options{})
	left := 3
	f.caller = func(*http.Request) Caller {
		return Caller{Wait: func() time.Duration { // the connection's goroutine alone calls it
			if left--; left < 0 {
				return time.Second
			}
			return 0
		}}
	}
	s := f.socket()
	for i := range 4 {
		s.send(fmt.Sprintf(`{"type":"subscribe","id":%d,"pattern":"a"}`, i))
	}
	if reason := s.closed(closeTooMany); !strings.Contains(reason, "limit") {
		t.Errorf("the reason is %q", reason)
	}
}

// A delete says why, where the client saw what is deleted.
func TestSocketReasons(t *testing.T) {
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()},
		storage.Options{Retention: []storage.Retention{{Pattern: "a/*", Count: 1}}})
	if err := store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	f := serve(t, store, Options{})
	follow := func(token string) *wsClient {
		c := f.socket()
		c.send(fmt.Sprintf(`{"type":"subscribe","id":1,"pattern":"**","token":%q}`, token))
		return c
	}
	f.set("a/0", `1`)
	c := follow("")
	token := c.oursOf("snapshot").Token
	c.oursOf("live")
	f.set("a/1", `1`)
	f.set("a/2", `1`)
	f.del("a/2")
	f.set("b/1", `1`)
	f.del("b/*")
	if _, err := f.store.SetWith("c/1", json.RawMessage(`1`), storage.SetOptions{TTL: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	f.until("it does not expire", func() bool { return f.store.Stats().Expiring == 0 })
	f.set("d/1", `1`)
	f.store.Clear()
	for _, c := range []*wsClient{c, follow(token)} { // as it happens, and as what was missed
		var told []string
		for len(told) < 6 {
			m := c.oursOf("patch")
			for _, change := range m.Subscriptions[0].Changes {
				if change.Del != "" {
					told = append(told, change.Del+" "+change.Reason)
					// A limit removes behind what it makes room for, in the same commit.
					if want := m.Revision; change.Revision != want {
						t.Errorf("the removal of %s has the revision %d, want %d", change.Del, change.Revision, want)
					}
				} else if change.Reason != "" || change.Revision != 0 {
					t.Errorf("a set has a reason: %+v", change)
				}
			}
		}
		if want := "a/0 limit, a/1 limit, a/2 deleted, b/1 pattern, c/1 expired, d/1 cleared"; strings.Join(told, ", ") != want {
			t.Errorf("told %s, want %s", strings.Join(told, ", "), want)
		}
	}
}

func TestSocketPresence(t *testing.T) {
	f := newFixture(t, Options{Limits: Limits{Present: 2}})
	watcher := f.replica("/room/*")
	a, b := f.socket(), f.socket()
	a.send(`{"type":"enter","id":1,"path":"room/a","data":{"name":"a"}}`)
	a.oursOf("entered")
	watcher.next()
	if obj, err := f.store.Get("room/a"); err != nil || obj.Expires == 0 {
		t.Fatalf("%+v %v", obj, err)
	}
	b.send(`{"type":"enter","id":1,"path":"room/a","data":2}`)
	if m := b.oursOf("problem"); m.Code != "conflict" {
		t.Errorf("%+v", m)
	}
	a.send(`{"type":"enter","id":1,"path":"room/a","data":{"name":"other"}}`)
	a.oursOf("entered")
	watcher.next()
	b.send(`{"type":"enter","id":1,"path":"room/b","data":2}`)
	b.oursOf("entered")
	watcher.next()
	b.send(`{"type":"exit","id":1}`)
	b.oursOf("exited")
	watcher.next()
	watcher.is(`[{"created":T,"updated":T,"index":"a","path":"room/a","data":{"name":"other"}}]`)
	a.send(`{"type":"enter","id":2,"path":"room/mine","data":1}`)
	a.oursOf("entered")
	watcher.next()
	f.set("room/mine", `"theirs"`) // whoever overwrites it makes it theirs
	watcher.next()
	a.Close()
	watcher.next()
	watcher.is(`[{"created":T,"updated":T,"index":"mine","path":"room/mine","data":"theirs"}]`)
}
