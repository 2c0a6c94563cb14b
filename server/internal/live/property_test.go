package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/patch"
	"github.com/oolith-db/oolith/storage"
)

// history is what each pattern held at each revision, as the store's own subscription tells it: what all
// protocols are compared with.
type history struct {
	testing.TB
	mu     sync.Mutex
	grown  *sync.Cond
	at     map[string]map[uint64]string // by pattern and revision, where something changed
	told   uint64                       // up to which all is in it
	states map[string]map[string]*meta.Object
}

func (f *fixture) history(patterns ...string) *history {
	f.Helper()
	h := &history{TB: f, at: map[string]map[uint64]string{}, states: map[string]map[string]*meta.Object{}}
	h.grown = sync.NewCond(&h.mu)
	for _, pattern := range patterns {
		h.at[pattern] = map[uint64]string{0: wireText(pattern, nil)}
		h.states[pattern] = map[string]*meta.Object{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	sub, err := f.store.Subscribe(ctx, "", storage.SubscribeOptions{Lag: storage.LagError, Buffer: 1 << 20})
	if err != nil {
		f.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		var touched map[string]bool
		for n, err := range sub.All(ctx) {
			if err != nil {
				return
			}
			if touched == nil {
				touched = map[string]bool{}
			}
			for _, pattern := range patterns {
				if n.Object == nil || !key.Match(pattern, n.Path) {
					continue
				}
				touched[pattern] = true
				if n.Kind == storage.NoticeDel {
					delete(h.states[pattern], n.Path)
				} else {
					h.states[pattern][n.Path] = n.Object
				}
			}
			if n.More || n.Kind == storage.NoticeState {
				continue
			}
			h.record(n.Revision, touched)
			touched = nil
		}
	})
	f.Cleanup(func() { cancel(); done.Wait() })
	return h
}

func (h *history) record(revision uint64, touched map[string]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for pattern := range touched {
		var objects []*meta.Object
		for _, obj := range h.states[pattern] {
			objects = append(objects, obj)
		}
		h.at[pattern][revision] = wireText(pattern, objects)
	}
	h.told = revision
	h.grown.Broadcast()
}

// is returns what a pattern held at a revision.
func (h *history) is(pattern string, revision uint64) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.told < revision {
		h.grown.Wait()
	}
	for ; ; revision-- {
		if state, changed := h.at[pattern][revision]; changed {
			return state
		}
	}
}

// caughtUp waits until the hub has what was committed: writers alone are faster than any stream.
func (f *fixture) caughtUp() {
	obj, err := f.store.SetWith("pace", json.RawMessage("1"), storage.SetOptions{})
	if err != nil {
		f.Error(err)
		return
	}
	f.until("the hub does not catch up", func() bool {
		f.live.hub.mu.Lock()
		defer f.live.hub.mu.Unlock()
		return f.live.hub.revision >= obj.Revision
	})
}

// members is how many followers all topics have.
func (f *fixture) members() (n int) {
	f.live.hub.mu.Lock()
	defer f.live.hub.mu.Unlock()
	for _, topic := range f.live.hub.topics {
		n += len(topic.members)
	}
	return n
}

// writers write at random until they wrote so much, and then the objects that mark the end.
func (f *fixture) writers(seed uint64, n, each int) {
	var all sync.WaitGroup
	for w := range n {
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(w)))
			path := func() string { return fmt.Sprintf("%c/%d", 'a'+r.IntN(2), r.IntN(8)) }
			for i := range each {
				if i%4 == 0 {
					f.caughtUp()
				}
				var err error
				switch data := json.RawMessage(randomJSON(r, 0)); r.IntN(12) {
				case 0:
					err = f.store.Del(string('a'+rune(r.IntN(2))) + "/*")
				case 1, 2, 3:
					if err = f.store.Del(path()); err != nil {
						err = nil // it is absent
					}
				case 4, 5:
					var b storage.Batch
					for i := range 3 {
						b.Set(fmt.Sprintf("%c/%d", 'a'+r.IntN(2), i), data)
					}
					b.Del("b/7")
					if _, err = f.store.Commit(&b); errors.Is(err, storage.ErrNotFound) {
						err = nil
					}
				case 6:
					_, err = f.store.SetWithMeta(path(), data, int64(1+r.IntN(5)), 1)
				default:
					_, err = f.store.Set(path(), data)
				}
				if err != nil {
					f.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	for _, path := range []string{"a/end", "b/end", "a/1"} {
		f.set(path, `"end"`)
	}
}

func randomJSON(r *rand.Rand, depth int) string {
	kind := r.IntN(8)
	if depth > 3 {
		kind %= 4
	}
	switch kind {
	case 0:
		return fmt.Sprint(r.IntN(100))
	case 1:
		return []string{"null", "true", "1.10", "1e3", `"\ud83e\uddf0<&>"`, `"a\nb"`}[r.IntN(6)]
	case 2, 3:
		return fmt.Sprintf("%q", strings.Repeat("x", r.IntN(50)))
	case 4, 5:
		var items []string
		for range r.IntN(5) {
			items = append(items, randomJSON(r, depth+1))
		}
		return "[ " + strings.Join(items, ", ") + "]"
	}
	var members []string
	for _, i := range r.Perm(6)[:r.IntN(6)] {
		members = append(members, fmt.Sprintf("%q: %s", []string{"a", "b/c", "d~e", "", "é", "data"}[i], randomJSON(r, depth+1)))
	}
	return "{" + strings.Join(members, ",") + "}"
}

// What a client holds is what the store held, behind each message of each protocol, with any number of writers and also when
// the connection falls behind all the time, or comes back from before the store's history.
func TestClientsHoldWhatTheStoreHeld(t *testing.T) {
	for _, c := range []struct{ unsent, history int }{{64 << 10, 0}, {300, 0}, {64 << 10, 2}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()}, storage.Options{History: c.history})
			if err := store.Start(storage.Options{}); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(store.Close)
			unsent := c.unsent
			f := serve(t, store, Options{Limits: Limits{Unsent: unsent}})
			f.set("a/1", `{"first":1}`)
			h := f.history("a/*", "a/1", "b/*")
			var clients sync.WaitGroup
			for _, pattern := range []string{"a/*", "a/1"} {
				for range 2 {
					clients.Go(func() { followWire(f, h, pattern) })
				}
			}
			for range 2 {
				clients.Go(func() { followSocket(f, h) })
				clients.Go(func() { followEvents(f, h) })
			}
			f.until("not all clients follow", func() bool { return f.members() >= 4+2*2+2*3 })
			f.writers(uint64(unsent), 3, 300)
			clients.Wait()
			if stats := f.live.Stats(); unsent < 1000 && stats.CatchUps == 0 {
				t.Error("no connection fell behind")
			} else {
				t.Logf("%+v", stats)
			}
		})
	}
}

func followWire(f *fixture, h *history, pattern string) {
	c, err := f.tryDial("/" + pattern)
	if err != nil {
		f.Error(err)
		return
	}
	state, revision := []byte(nil), uint64(0)
	for !ended(pattern, string(state)) {
		frame, err := c.frame()
		if err != nil || frame.Header.OpCode != ws.OpBinary {
			f.Errorf("%s: %v %v", pattern, frame, err)
			return
		}
		var m wireMsg
		if err := json.Unmarshal(frame.Payload, &m); err != nil {
			f.Error(err)
			return
		}
		if m.Snapshot {
			state = m.Data
		} else if state, err = patch.ApplyJSON(state, m.Data); err != nil {
			f.Errorf("%s: %v: %s", pattern, err, m.Data)
			return
		}
		// The version is opaque to clients; here it says which revision it is.
		for (versions{f.id()}).of(pattern, revision) != m.Version {
			if revision++; revision > 1<<20 {
				f.Errorf("version %s is of no revision", m.Version)
				return
			}
		}
		if want := h.is(pattern, revision); !same(string(state), want) {
			f.Errorf("%s at %d:\n%s\nwant\n%s", pattern, revision, state, want)
			return
		}
	}
}

// same compares two JSON texts, whatever the order of their members.
func same(a, b string) bool { return canonical(a) == canonical(b) }

func canonical(text string) string {
	var value any
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if decoder.Decode(&value) != nil {
		return text
	}
	out, _ := json.Marshal(value)
	return string(out)
}

func ended(pattern, state string) bool {
	if pattern == "a/1" {
		return strings.Contains(state, `"data":"end"`)
	}
	return strings.Contains(state, `/end"`)
}

// ours checks what a client holds behind a message, and reports whether it is the last.
func (h *history) ours(held view, m ours, last *uint64) bool {
	held.apply(h, m)
	if m.Type == "reset" {
		return false
	}
	if m.Revision < *last {
		h.Errorf("revision %d behind %d", m.Revision, *last)
	}
	*last = m.Revision
	for pattern := range held {
		if got, want := held.text(pattern), h.is(pattern, m.Revision); got != want {
			h.Errorf("%s of %s at %d:\n%s\nwant\n%s", pattern, m.Type, m.Revision, got, want)
			return true
		}
	}
	return len(held) == 3 && ended("a/*", held.text("a/*")) && ended("b/*", held.text("b/*")) && ended("a/1", held.text("a/1"))
}

// followSocket follows two patterns at first and one more later, and comes back with a token now and then.
func followSocket(f *fixture, h *history) {
	held, last, token := view{}, uint64(0), ""
	for {
		c := f.deflating()
		asked := false
		c.send(`{"type":"subscribe","token":"` + token + `","subscriptions":[{"id":1,"pattern":"a/*"},{"id":2,"pattern":"b/*"}]}`)
		for n := 0; n < 40 || token == ""; n++ {
			frame, err := c.frame()
			if err != nil {
				f.Error(err)
				return
			}
			if frame.Header.Rsv == compressedRsv {
				frame.Payload = []byte(inflated(f, frame.Payload))
			}
			var m ours
			if err := json.Unmarshal(frame.Payload, &m); err != nil || m.Type == "problem" || m.Type == "" {
				f.Errorf("%v: %s", err, frame.Payload)
				return
			}
			if h.ours(held, m, &last) {
				return
			}
			if m.Type != "reset" {
				token = m.Token
			}
			if m.Type == "live" && !asked {
				asked = true
				c.send(`{"type":"subscribe","id":3,"pattern":"a/1"}`)
			}
		}
		c.Close()
		delete(held, "a/1")
	}
}

// followEvents follows three patterns, and comes back with the last id now and then.
func followEvents(f *fixture, h *history) {
	held, last, id := view{}, uint64(0), ""
	for {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, "GET", f.server.URL+"/~/live?watch=a/*&watch=a/1&watch=b/*", nil)
		if err != nil {
			f.Error(err)
			return
		}
		request.Header.Set("Last-Event-ID", id)
		response, err := f.server.Client().Do(request)
		if err != nil {
			f.Error(err)
			return
		}
		c := newEvents(f, response.Body, cancel)
		for n := 0; n < 30 || id == ""; n++ {
			e, err := c.next()
			if err != nil {
				f.Error(err)
				return
			}
			var m ours
			if err := json.Unmarshal([]byte(e.data), &m); err != nil {
				f.Errorf("%v: %s", err, e.data)
				return
			}
			if h.ours(held, m, &last) {
				response.Body.Close()
				return
			}
			if e.id != "" {
				id = e.id
			}
		}
		response.Body.Close()
	}
}
