package live

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// stuck is a client that reads nothing, behind a connection that takes some bytes and no more.
type stuck struct {
	mu    sync.Mutex
	until time.Time
	moved chan struct{} // closed when the deadline moves
	over  chan struct{}
	once  sync.Once
}

func newStuck() *stuck { return &stuck{moved: make(chan struct{}), over: make(chan struct{})} }

func (s *stuck) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = t
	close(s.moved)
	s.moved = make(chan struct{})
	return nil
}

func (s *stuck) Write(p []byte) (int, error) {
	s.mu.Lock()
	until := s.until
	s.mu.Unlock()
	select {
	case <-time.After(time.Until(until)):
		return 0, fmt.Errorf("write: %w", os.ErrDeadlineExceeded)
	case <-s.over:
		return 0, io.ErrClosedPipe
	}
}

func (s *stuck) Close() error {
	s.once.Do(func() { close(s.over) })
	return nil
}

// A connection that takes nothing holds what is allowed, delays nobody, and is closed after Limits.Stall.
func TestStuckConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		l := New(store, Options{})
		defer l.Close()
		sinks := make([]*conn, 5)
		for i := range sinks {
			c := l.newConn(newStuck(), wire, Caller{}, nil)
			if err := l.join(c); err != nil {
				t.Fatal(err)
			}
			l.attachTo(l.ctx, c, "a/*", "")
			sinks[i] = c
		}
		for i := range 200 {
			if _, err := store.Set(fmt.Sprintf("a/%d", i), json.RawMessage(`"`+strings.Repeat("x", 1000)+`"`)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			for _, c := range sinks {
				c.mu.Lock()
				if c.unsent > 64<<10 {
					t.Errorf("%d bytes wait", c.unsent)
				}
				c.mu.Unlock()
			}
		}
		time.Sleep(9 * time.Second)
		if open := l.open(); open != 5 {
			t.Errorf("%d connections after 9 s, want 5", open)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if stats := l.Stats(); l.open() != 0 || stats.Stalled != 5 {
			t.Errorf("%+v after 11 s", stats)
		}
	})
}

// A client that reads late gets the fresh state instead of all that it missed.
func TestSlowReader(t *testing.T) {
	f := newFixture(t, Options{})
	slow := f.dial("/a/*")
	f.followed("a/*")
	big := `"` + strings.Repeat("x", 30<<10) + `"`
	writes := 0
	stalled := func() bool { // the socket takes no more, and the connection is behind
		for range 50 {
			f.set("a/1", big)
			writes++
		}
		before := f.live.Stats().Sent
		f.caughtUp()
		for c := range f.live.conns { // nobody joins or leaves
			return c.isBehind() && f.live.Stats().Sent == before
		}
		return false
	}
	f.until("the connection never falls behind", stalled)
	f.set("a/last", `1`)
	r := &replica{TB: t, client: slow}
	messages := 0
	for ; !strings.Contains(string(r.state), "a/last"); messages++ {
		r.next()
	}
	if stats := f.live.Stats(); messages >= writes || stats.CatchUps == 0 {
		t.Errorf("%d messages for %d writes, %+v", messages, writes, stats)
	}
}

func TestRevocation(t *testing.T) {
	f := newFixture(t, Options{})
	revoked, ended := make(chan struct{}), make(chan struct{}, 10)
	f.caller = func(*http.Request) Caller { return Caller{Done: revoked, Ended: func() { ended <- struct{}{} }} }
	a, b, c := f.dial("/a"), f.socket(), f.events("/a", "")
	a.wire()
	c.of("snapshot")
	c.of("live")
	begin := time.Now()
	close(revoked)
	a.closed(closeRevoked)
	b.closed(closeRevoked)
	for {
		if _, err := c.next(); err != nil {
			break
		}
	}
	for range 3 {
		<-ended
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it takes %v", took)
	}
}

func TestClose(t *testing.T) {
	f := newFixture(t, Options{})
	a, b, c := f.dial("/a"), f.socket(), f.dial("/")
	done := make(chan struct{})
	go func() { f.live.Close(); close(done) }()
	a.closed(closeRestart)
	b.closed(closeRestart)
	c.closed(closeRestart)
	<-done
	if _, err := f.tryDial("/a"); err == nil {
		t.Error("a closed server serves")
	}
	f.live.Close() // again
}

// The end of the store ends the streams; one that is started again is served.
func TestStoreEnds(t *testing.T) {
	f := newFixture(t, Options{})
	a := f.dial("/a")
	a.wire()
	f.store.Close()
	a.closed(closeRestart)
	if err := f.store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	f.replica("/a").is(absent)
}

// Whatever Hidden does, no lock is held: it may ask the streams how they are.
func TestHiddenRunsUnderNoLock(t *testing.T) {
	var f *fixture
	f = newFixture(t, Options{Hidden: func(path string) bool {
		f.live.Stats()
		return strings.HasPrefix(path, "secret/")
	}})
	r := f.replica("/*/*")
	var b storage.Batch
	b.Set("secret/1", json.RawMessage(`1`))
	b.Set("a/1", json.RawMessage(`1`))
	if _, err := f.store.Commit(&b); err != nil {
		t.Fatal(err)
	}
	f.set("secret/2", `2`)
	f.set("a/2", `2`)
	r.next()
	r.next()
	if strings.Contains(string(r.state), "secret") || !strings.Contains(string(r.state), "a/1") {
		t.Errorf("who follows everything holds %s", r.state)
	}
}

// What was expired, and not removed yet, when a state was read is told when it goes: who comes back from before may hold it.
func TestRemovalOfWhatTheStateDidNotHave(t *testing.T) {
	f := newFixture(t, Options{})
	f.set("a/expired", `1`)
	f.set("a/stays", `1`)
	old := f.replica("/a/*")
	c := f.socket()
	c.send(`{"type":"subscribe","id":1,"pattern":"a/*"}`)
	c.oursOf("snapshot")
	c.oursOf("live")
	f.live.hub.mu.Lock() // as if the states had been read a moment before it is removed
	for _, topic := range f.live.hub.topics {
		topic.remove(nil, "a/expired", change{})
		topic.state = nil
	}
	f.live.hub.mu.Unlock()
	old.client.Close()
	old = f.replica("/a/*")
	f.del("a/expired")
	m := c.oursOf("patch")
	if changes := m.Subscriptions[0].Changes; len(changes) != 1 || changes[0].Del != "a/expired" || changes[0].Reason != "deleted" {
		t.Errorf("%+v", m)
	}
	f.set("a/stays", `2`)
	old.next() // the first message since
	old.is(`[{"created":T,"updated":T,"index":"stays","path":"a/stays","data":2}]`)
	c.oursOf("patch")
}

type reader struct{ name string }

// Each identity sees what View shows it, in states and in changes. A View that panics shows nothing.
func TestView(t *testing.T) {
	view := func(identity any, obj *meta.Object) (*meta.Object, bool) {
		who, ok := identity.(reader)
		if !ok {
			panic("who?")
		}
		if strings.Contains(string(obj.Data), "hidden from "+who.name) {
			return nil, false
		}
		seen := *obj
		seen.Data = json.RawMessage(strings.ReplaceAll(string(obj.Data), "secret", "***"))
		return &seen, true
	}
	f := newFixture(t, Options{View: view})
	f.caller = func(r *http.Request) Caller {
		if name := r.URL.Query().Get("as"); name != "" {
			return Caller{Identity: reader{name}}
		}
		return Caller{Identity: []string{"cannot be compared"}}
	}
	f.set("a/1", `"hidden from ann"`)
	f.set("a/2", `"secret"`)
	ann, bob, nobody := f.replica("/a/*?as=ann"), f.replica("/a/*?as=bob"), f.replica("/a/*")
	obj := func(index, updated, data string) string {
		return fmt.Sprintf(`{"created":T,"updated":%s,"index":%q,"path":"a/%s","data":%q}`, updated, index, index, data)
	}
	ann.is("[" + obj("2", "0", "***") + "]")
	bob.is("[" + obj("2", "0", "***") + "," + obj("1", "0", "hidden from ann") + "]")
	nobody.is("[]")
	f.set("a/2", `"hidden from bob"`)
	ann.next()
	ann.is("[" + obj("2", "T", "hidden from bob") + "]")
	bob.next()
	bob.is("[" + obj("1", "0", "hidden from ann") + "]")
	f.set("a/1", `"secret"`)
	ann.next()
	ann.is("[" + obj("2", "T", "hidden from bob") + "," + obj("1", "T", "***") + "]")
	if patterns := f.live.Stats().Patterns; patterns != 3 {
		t.Errorf("%d topics, want one for each identity", patterns)
	}
}

// Who resumes is told neither what it must not see nor that it is there: not the path of what came and went, and not that of
// what it saw once and now does not.
func TestViewOfWhatWasMissed(t *testing.T) {
	f := newFixture(t, Options{View: func(identity any, obj *meta.Object) (*meta.Object, bool) {
		return obj, !strings.Contains(string(obj.Data), "hidden")
	}})
	f.set("a/stays", `1`)
	f.set("a/turns", `1`)
	c := f.socket()
	c.send(`{"type":"subscribe","id":1,"pattern":"a/*"}`)
	m, held := c.oursOf("snapshot"), view{}
	held.apply(t, m)
	c.oursOf("live")
	f.set("a/secret", `"hidden"`)
	f.set("a/turns", `"hidden"`)
	f.set("a/gone", `"hidden"`)
	f.del("a/gone")
	if text := c.text(ws.OpText); !strings.Contains(text, `{"del":"a/turns"}`) {
		t.Errorf("told %s", text)
	}
	again := f.socket()
	again.send(`{"type":"subscribe","id":1,"pattern":"a/*","token":"` + m.Token + `"}`)
	text := again.text(ws.OpText)
	if m := decode[ours](t, text); m.Type != "catchup" || len(m.Subscriptions[0].Objects) != 0 || strings.Join(m.Subscriptions[0].Paths, " ") != "a/stays" {
		t.Errorf("missed %s", text)
	}
	e := f.events("/a/*", m.Token)
	e.of("reset")
	if _, m := e.of("snapshot"); len(m.Subscriptions[0].Objects) != 1 {
		t.Errorf("events: %+v", m)
	}
}

// A hub that fell behind the store begins anew, and so do its clients: nothing is lost.
func TestHubBeginsAnew(t *testing.T) {
	f := newFixture(t, Options{})
	a, b, c := f.replica("/a/*"), f.replica("/a/1"), f.events("/~/live?watch=a/*&watch=b/*", "")
	c.of("snapshot")
	c.of("live")
	f.live.hub.mu.Lock() // the hub cannot go on
	follow := f.live.hub.follow.sub
	for follow.Lag() < 1<<14 {
		f.set("b/1", `1`)
		follow.Revision() // hands on what was written
	}
	f.set("a/1", `"last"`)
	follow.Revision()
	f.live.hub.mu.Unlock()
	for !strings.Contains(string(a.state), "last") {
		a.next()
	}
	for !strings.Contains(string(b.state), "last") {
		b.next()
	}
	held := view{}
	for len(held["a/*"]) == 0 {
		e, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		held.apply(t, decode[ours](t, e.data))
	}
	if resets := f.live.Stats().Resets; resets == 0 {
		t.Error("the hub did not begin anew")
	}
	f.set("a/2", `2`)
	a.next()
}

// A presence is renewed as long as its connection lives, also beyond its time to live, and its times stay.
func TestPresenceIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		l := New(store, Options{})
		defer l.Close()
		c := l.newConn(&recorded{}, socket, Caller{}, nil)
		c.session = &session{conn: c}
		if err := l.join(c); err != nil {
			t.Fatal(err)
		}
		if err := c.session.message([]byte(`{"type":"enter","id":1,"path":"room/a","data":1}`)); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			time.Sleep(20 * time.Second)
			c.heard.Store(time.Now().UnixNano())
		}
		if obj, err := store.Get("room/a"); err != nil || obj.Updated != 0 {
			t.Errorf("after 200 s %+v %v", obj, err)
		}
		c.drop()
		synctest.Wait()
		if _, err := store.Get("room/a"); err == nil {
			t.Error("it outlives its connection")
		}
	})
}

// What is acknowledged before a subscription is in its state.
func TestReadYourWrites(t *testing.T) {
	f := newFixture(t, Options{})
	for i := range 100 {
		f.set("a/1", fmt.Sprint(i))
		if r := f.replica("/a/1"); !strings.HasSuffix(string(r.state), fmt.Sprintf(`"data":%d}`, i)) {
			t.Fatalf("behind write %d there is %s", i, r.state)
		}
	}
}

// What nobody follows any more is kept for Limits.Linger, and then the hub follows nothing.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(newStore(t), Options{})
		defer l.Close()
		c := l.newConn(newStuck(), wire, Caller{}, nil)
		if err := l.join(c); err != nil {
			t.Fatal(err)
		}
		l.attachTo(l.ctx, c, "a/*", "")
		c.drop()
		time.Sleep(50 * time.Second)
		if s := l.Stats(); s.Patterns != 1 || s.Subscriptions != 1 {
			t.Errorf("after 50 s %+v", s)
		}
		time.Sleep(15 * time.Second)
		if s := l.Stats(); s.Patterns != 0 || s.Subscriptions != 0 {
			t.Errorf("after 65 s %+v", s)
		}
	})
}

// A WebSocket client that answers no ping is gone; one that does stays; events have their comment.
func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(newStore(t), Options{})
		defer l.Close()
		add := func(p protocol) (*conn, *recorded) {
			r := &recorded{}
			c := l.newConn(r, p, Caller{}, nil)
			if err := l.join(c); err != nil {
				t.Fatal(err)
			}
			return c, r
		}
		_, silent := add(wire)
		answering, answered := add(wire)
		_, sse := add(events)
		for range 10 {
			time.Sleep(20 * time.Second)
			answering.heard.Store(time.Now().UnixNano())
		}
		synctest.Wait()
		if n := answered.count("\x89\x00"); n < 9 || answered.closed {
			t.Errorf("%d pings in 200 s, closed %v", n, answered.closed)
		}
		if n := silent.count("\x89\x00"); n > 4 || !silent.closed {
			t.Errorf("a silent client gets %d pings, closed %v", n, silent.closed)
		}
		if n := sse.count(": keep-alive\n\n"); n < 9 {
			t.Errorf("%d comments in 200 s", n)
		}
	})
}

// recorded is a sink that keeps what is written.
type recorded struct {
	mu     sync.Mutex
	text   strings.Builder
	closed bool
}

func (r *recorded) SetWriteDeadline(time.Time) error { return nil }

func (r *recorded) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *recorded) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return nil
}

func (r *recorded) count(what string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Count(r.text.String(), what)
}
