package live

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/oolith-db/oolith/storage"
)

func TestEvents(t *testing.T) {
	f := newFixture(t, Options{})
	f.set("a/1", "{\"text\":\n\"one\"}")
	c, held := f.events("/~/live?watch=a/*&watch=b/*&watch=a/*", ""), view{}
	_, m := c.of("snapshot")
	held.apply(t, m)
	c.of("live")
	f.set("b/1", `2`)
	_, m = c.of("patch")
	held.apply(t, m)
	f.del("a/1")
	e, m := c.of("patch")
	held.apply(t, m)
	if len(held["a/*"]) != 0 || len(held["b/*"]) != 1 || len(held) != 2 {
		t.Errorf("%v", held)
	}
	c.body.Close()
	f.set("a/2", `2`)
	f.set("b/2", `2`)
	c = f.events("/~/live?watch=a/*&watch=b/*", e.id)
	for range 2 {
		_, m = c.of("patch")
		held.apply(t, m)
	}
	last, _ := c.of("live")
	if len(held["a/*"]) != 1 || len(held["b/*"]) != 2 {
		t.Errorf("%v", held)
	}
	// From where nothing changed there is nothing to tell.
	if _, m := f.events("/~/live?watch=a/*", last.id).of("live"); m.Revision == 0 {
		t.Errorf("%+v", m)
	}
	for _, token := range []string{"x", "ab.1", f.id() + ".999", f.id() + ".0"} {
		c := f.events("/a/*", token)
		c.of("reset")
		first, _ := c.of("snapshot")
		c.of("live")
		c.body.Close()
		f.events("/a/*", first.id).of("live") // no loop
	}
}

// A server that starts anew over the same store takes up the tokens of the one before.
func TestEventsResumeOverARestart(t *testing.T) {
	store := newStore(t)
	f := serve(t, store, Options{})
	f.set("a/1", `1`)
	c, held := f.events("/a/*", ""), view{}
	e, m := c.of("snapshot")
	held.apply(t, m)
	f.live.Close()
	for {
		if _, err := c.next(); err != nil {
			break
		}
	}
	f.set("a/2", `2`)
	again := serve(t, store, Options{}).events("/a/*", e.id)
	_, m = again.of("patch")
	if held.apply(t, m); len(held["a/*"]) != 2 {
		t.Errorf("%v", held)
	}
	other := newFixture(t, Options{}).events("/a/*", e.id)
	if _, m := other.of("reset"); m.Reason != reasonForeign {
		t.Errorf("%+v", m)
	}
}

// Where the connection cannot be taken over, as over HTTP/2, the events are the same.
func TestEventsOverHTTP2(t *testing.T) {
	f := newFixture(t, Options{})
	f.server.Close()
	f.server = httptest.NewUnstartedServer(f)
	f.server.EnableHTTP2 = true
	f.server.StartTLS()
	f.set("a/1", `1`)
	c := f.events("/a/*", "")
	c.of("snapshot")
	c.of("live")
	f.set("a/2", `2`)
	c.of("patch")
	c.body.Close()
	f.until("the stream does not end", func() bool { return f.live.Stats().Connections["sse"] == 0 })
	c = f.events("/a/*", "")
	c.of("snapshot")
	f.live.Close()
	for {
		if _, err := c.next(); err != nil {
			break
		}
	}
}

func TestEventsHead(t *testing.T) {
	f := newFixture(t, Options{})
	request, _ := http.NewRequest("GET", f.server.URL+"/a", nil)
	request.Header.Set("Accept", "text/event-stream")
	response, err := f.server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	for name, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"} {
		if got := response.Header.Get(name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
	var first [7]byte
	if _, err := response.Body.Read(first[:]); err != nil || !bytes.HasPrefix(first[:], []byte("retry: ")) {
		t.Errorf("it begins with %q, %v", first, err)
	}
}

func TestWritesThatNobodyIsTold(t *testing.T) {
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()}, storage.Options{NoBroadcastKeys: []string{"quiet/*"}})
	if err := store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	f := serve(t, store, Options{})
	f.replica("/a/*")
	f.set("quiet/1", `1`)
	f.replica("/b/*").is("[]") // it begins though the hub is told nothing
	f.replica("/quiet/*").is("[]")
	f.set("a/1", `1`)
	if err := f.store.DelSilent("a/1"); err != nil {
		t.Fatal(err)
	}
	f.replica("/a/1").is(absent)
}
