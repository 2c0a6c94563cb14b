package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/client"
	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/servertest"
	"github.com/oolith-db/oolith/storage"
)

func TestCalls(t *testing.T) {
	s := servertest.Start(t, server.Options{})
	c, ctx := s.Client, t.Context()
	made, err := c.Set(ctx, "a/b", json.RawMessage(`{"n":1}`), storage.SetOptions{IfAbsent: true})
	if err != nil || made.Path != "a/b" || made.Revision == 0 {
		t.Fatalf("%+v, %v", made, err)
	}
	got, err := c.Get(ctx, "a/b")
	if there, thereErr := s.Store.Get("a/b"); err != nil || thereErr != nil || got.Revision != made.Revision || string(got.Data) != `{"n":1}` || got.Created != there.Created {
		t.Errorf("get: %+v, %v; in the store %+v, %v", got, err, there, thereErr)
	}
	if _, err := c.Set(ctx, "a/b", json.RawMessage("2"), storage.SetOptions{IfRevision: got.Revision, TTL: time.Hour}); err != nil {
		t.Error(err)
	}
	if obj, err := c.Get(ctx, "a/b"); err != nil || obj.Expires == 0 || obj.Updated == 0 {
		t.Errorf("after a second write: %+v, %v", obj, err)
	}
	for i := range 5 {
		if _, err := c.Push(ctx, "l/*", json.RawMessage(fmt.Sprint(i)), storage.SetOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var all []string
	for opt := (storage.ListOptions{Limit: 2, Descending: true}); ; {
		page, err := c.Page(ctx, "l/*", opt)
		if err != nil {
			t.Fatal(err)
		}
		for _, obj := range page.Objects {
			all = append(all, string(obj.Data))
		}
		if opt.Cursor = page.Next; page.Next == "" {
			break
		}
	}
	if got := strings.Join(all, " "); got != "4 3 2 1 0" {
		t.Errorf("the pages: %s", got)
	}
	var batch storage.Batch
	batch.Set("x", json.RawMessage("1"))
	batch.Push("l/*", json.RawMessage("5"))
	batch.Del("a/b")
	objects, err := c.Commit(ctx, &batch)
	if err != nil || len(objects) != 3 || objects[1].Index == "" || objects[2].Revision != objects[0].Revision+2 {
		t.Errorf("commit: %+v, %v", objects, err)
	}
	if err := c.Del(ctx, "l/*", storage.DelOptions{}); err != nil {
		t.Error(err)
	}
	if keys, err := s.Store.Keys(); err != nil || strings.Join(keys, " ") != "x" {
		t.Errorf("left: %q, %v", keys, err)
	}
}

// Errors are those of a store.
func TestErrors(t *testing.T) {
	s := servertest.Start(t, server.Options{BeforeWrite: func(_ any, change *server.Change) error {
		switch change.Path {
		case "refused":
			return errors.New("not this one")
		case "stopped":
			return &server.Problem{Kind: server.Unavailable, Detail: "commit: " + storage.ErrWritesStopped.Error()}
		case "closed":
			return &server.Problem{Kind: server.Unavailable, Detail: storage.ErrNotActive.Error()}
		case "readonly":
			return &server.Problem{Kind: server.ReadOnly, Detail: "no writes here"}
		}
		return nil
	}})
	c, ctx := s.Client, t.Context()
	first, err := c.Set(ctx, "a", json.RawMessage("1"), storage.SetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.Set(ctx, "a", json.RawMessage("2"), storage.SetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	one := json.RawMessage("1")
	set := func(path string, data json.RawMessage, opt storage.SetOptions) error {
		_, err := c.Set(ctx, path, data, opt)
		return err
	}
	get := func(path string) error {
		_, err := c.Get(ctx, path)
		return err
	}
	page := func(pattern string, opt storage.ListOptions) error {
		_, err := c.Page(ctx, pattern, opt)
		return err
	}
	commit := func(paths ...string) error {
		var batch storage.Batch
		for _, path := range paths {
			batch.Set(path, one)
		}
		_, err := c.Commit(ctx, &batch)
		return err
	}
	count := func(pattern string) error {
		_, err := c.Count(ctx, pattern)
		return err
	}
	later, earlier := int64(2), int64(1)
	for _, c := range []struct {
		name string
		got  error
		want error
	}{
		{"a cursor", page("a/*", storage.ListOptions{Cursor: "x"}), storage.ErrInvalidCursor},
		{"a limit", page("a/*", storage.ListOptions{Limit: -1}), storage.ErrInvalidLimit},
		{"a range", page("a/*", storage.ListOptions{From: &later, To: &earlier}), storage.ErrInvalidRange},
		{"no pattern", page("a", storage.ListOptions{}), storage.ErrInvalidPattern},
		{"no pattern to count", count("a"), storage.ErrInvalidPattern},
		{"a bad pattern", count("a//*"), storage.ErrInvalidPath},
		{"one path twice", commit("x", "y", "x"), storage.ErrDuplicateKey},
		{"a bad path in a batch", commit("x", "y//z"), storage.ErrInvalidPath},
		{"writes that are stopped", set("stopped", one, storage.SetOptions{}), storage.ErrWritesStopped},
		{"a store that is closed", set("closed", one, storage.SetOptions{}), storage.ErrNotActive},
		{"a store to read only", set("readonly", one, storage.SetOptions{}), storage.ErrReadOnly},
		{"absent", get("nope"), storage.ErrNotFound},
		{"a delete of what is absent", c.Del(ctx, "nope", storage.DelOptions{}), storage.ErrNotFound},
		{"a bad path", get("a//b"), storage.ErrInvalidPath},
		{"a pattern", get("a/*"), storage.ErrGlobNotAllowed},
		{"no JSON", set("a", json.RawMessage("{"), storage.SetOptions{}), storage.ErrInvalidStorageData},
		{"JSON that the server refuses", set("a", json.RawMessage(`{"a":1,"a":2}`), storage.SetOptions{}), storage.ErrInvalidStorageData},
		{"an old revision", set("a", one, storage.SetOptions{IfRevision: first.Revision}), storage.ErrConflict},
		{"an old revision, to delete", c.Del(ctx, "a", storage.DelOptions{IfRevision: first.Revision}), storage.ErrConflict},
		{"a revision of nothing", set("nope", one, storage.SetOptions{IfRevision: 1}), storage.ErrConflict},
		{"there already", set("a", one, storage.SetOptions{IfAbsent: true}), storage.ErrConflict},
		{"a lease", set("a", one, storage.SetOptions{Lease: &storage.Lease{}}), storage.ErrInvalidOptions},
		{"two conditions", set("a", one, storage.SetOptions{IfAbsent: true, IfRevision: 1}), storage.ErrInvalidOptions},
		{"a time to live", set("a", one, storage.SetOptions{TTL: -1}), storage.ErrInvalidTTL},
		{"a condition of many", c.Del(ctx, "a/*", storage.DelOptions{IfRevision: 1}), storage.ErrGlobNotAllowed},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, c.got, c.want)
		}
	}
	err = set("a", one, storage.SetOptions{IfRevision: first.Revision})
	if refused, ok := errors.AsType[*client.Error](err); !ok || refused.Revision != second.Revision || refused.RequestID == "" || refused.Kind != "condition-failed" {
		t.Errorf("a conflict: %+v", err)
	}
	if conflict, ok := errors.AsType[*storage.ConflictError](err); !ok || *conflict != (storage.ConflictError{Path: "a", Expected: first.Revision, Current: second.Revision}) {
		t.Errorf("a conflict: %+v", err)
	}
	if err := set("refused", one, storage.SetOptions{}); err == nil || !strings.Contains(err.Error(), "not this one") {
		t.Errorf("what a hook refuses: %v", err)
	}
	for _, address := range []string{"", "127.0.0.1:8800", "ftp://x", "http://", "http://x/path", "http://x?y"} {
		if _, err := client.New(address, client.Options{}); err == nil {
			t.Errorf("the address %q is taken", address)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Get(ended, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that ended: %v", err)
	}
}

// losing is a network that loses answers: the server made the request, and the client hears nothing.
type losing struct {
	http.RoundTripper
	every, n int
}

func (l *losing) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(req)
	if l.n++; err == nil && l.n%l.every != 0 {
		_ = resp.Body.Close()
		return nil, errors.New("the answer is lost")
	}
	return resp, err
}

// A push whose answer is lost is sent again, and made once.
func TestRetries(t *testing.T) {
	s := servertest.Start(t, server.Options{})
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	c, err := client.New(s.URL, client.Options{HTTP: &http.Client{Transport: &losing{transport, 3, 0}}, Retries: 5})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if _, err := c.Push(t.Context(), "l/*", json.RawMessage(fmt.Sprint(i)), storage.SetOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.Store.Count("l/*"); err != nil || n != 4 {
		t.Errorf("4 pushes made %d objects, %v", n, err)
	}
}

// What a subscription tells is the state of the store, whatever becomes of the connection.
func TestSubscribe(t *testing.T) {
	s := servertest.Start(t, server.Options{})
	ctx := t.Context()
	if _, err := s.Store.Set("l/0", []byte(`"before"`)); err != nil {
		t.Fatal(err)
	}
	sub, err := s.Client.Subscribe("l/*", client.SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	state := map[string]string{}
	last := uint64(0)
	next := func() storage.Notice {
		t.Helper()
		n, err := sub.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		switch n.Kind {
		case storage.NoticeReset:
			clear(state)
		case storage.NoticeState, storage.NoticeSet:
			state[n.Path] = string(n.Object.Data)
		case storage.NoticeDel:
			delete(state, n.Path)
		}
		if n.Kind == storage.NoticeSet || n.Kind == storage.NoticeDel {
			if n.Revision < last {
				t.Errorf("the change %d comes after %d", n.Revision, last)
			}
			last = n.Revision
		}
		return n
	}
	if n := next(); n.Kind != storage.NoticeState || n.Path != "l/0" {
		t.Errorf("first: %+v", n)
	}
	if n := next(); n.Kind != storage.NoticeLive {
		t.Errorf("second: %+v", n)
	}
	for round := range 30 {
		for i := range 5 {
			path := fmt.Sprintf("l/%d", (round*7+i*3)%11)
			switch _, err := s.Store.Get(path); {
			case err == nil && (round+i)%3 == 0:
				if err := s.Store.Del(path); err != nil {
					t.Fatal(err)
				}
			default:
				if _, err := s.Store.Set(path, fmt.Appendf(nil, "%d", round*100+i)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if round%5 == 2 {
			s.CutConnections()
		}
		if _, err := s.Store.Set("l/round", fmt.Appendf(nil, "%d", round)); err != nil {
			t.Fatal(err)
		}
		for state["l/round"] != fmt.Sprint(round) {
			next()
		}
		objects, err := s.Store.GetList("l/*")
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{}
		for _, obj := range objects {
			want[obj.Path] = string(obj.Data)
		}
		if !maps.Equal(state, want) {
			t.Fatalf("round %d: the subscription tells %v, the store holds %v", round, state, want)
		}
	}
	// A context ends a wait, and not the subscription.
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if _, err := sub.Next(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a wait that ends: %v", err)
	}
	if _, err := s.Store.Set("l/last", []byte("1")); err != nil {
		t.Fatal(err)
	}
	for state["l/last"] == "" {
		next()
	}
	sub.Close()
	if _, err := sub.Next(ctx); !errors.Is(err, storage.ErrSubscriptionClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := s.Client.Subscribe("l//*", client.SubscribeOptions{}); !errors.Is(err, storage.ErrInvalidPath) {
		t.Errorf("a bad pattern: %v", err)
	}
}

func TestSubscribeRefused(t *testing.T) {
	s := servertest.Start(t, server.Options{Authorize: func(any, server.Verb, string) error { return errors.New("not for you") }})
	sub, err := s.Client.Subscribe("a/*", client.SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	_, err = sub.Next(t.Context())
	if refused, ok := errors.AsType[*client.Error](err); !ok || refused.Status != 403 || refused.Kind != "forbidden" {
		t.Errorf("a subscription that is not allowed: %v", err)
	}
}
