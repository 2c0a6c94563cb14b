package server_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/storage"
)

func TestConditions(t *testing.T) {
	f := serve(t, server.Options{})
	first := f.do("PUT", "/c", "1", "If-None-Match: *").is(201, "*").header.Get("Etag")
	obj, err := f.store.Get("c")
	if err != nil {
		t.Fatal(err)
	}
	f.do("PUT", "/c", "2", "If-None-Match: *").has("Etag: "+first).isProblem(server.ConditionFailed, "revision").member(t, "revision", obj.Revision)
	second := f.do("PUT", "/c", "2", "If-Match: "+first).is(200, "*").header.Get("Etag")
	for _, c := range []struct{ method, body, header string }{
		{"PUT", "3", "If-Match: " + first},
		{"POST", "3", "If-Match: " + first},
		{"PUT", "3", "If-Match: W/" + second},
		{"PUT", "3", `If-Match: "0000000000000000-2"`},
		{"PUT", "3", `If-Match: "x"`},
		{"PUT", "3", "If-None-Match: " + second},
		{"PUT", "3", "If-None-Match: W/" + second},
		{"PATCH", `{"a":1}`, "If-Match: " + first},
		{"DELETE", "", "If-Match: " + first},
	} {
		f.do(c.method, "/c", c.body, c.header).has("Etag: "+second).isProblem(server.ConditionFailed, "")
		f.do(c.method, "/nothing", c.body, "If-Match: "+second).has("Etag:").isProblem(server.ConditionFailed, "there is no object").member(t, "revision", 0)
		f.do(c.method, "/nothing", c.body, "If-Match: *").isProblem(server.ConditionFailed, "there is no object")
	}
	p := f.do("PUT", "/c", "3", "If-Match: "+first, "Prefer: return=representation").isProblem(server.ConditionFailed, "")
	if there, ok := p.all["object"].(map[string]any); !ok || fmt.Sprint(there["data"]) != "2" {
		t.Errorf("412 with Prefer: return=representation has the object %v", p.all["object"])
	}
	f.do("GET", "/c", "", "If-Match: "+first).isProblem(server.ConditionFailed, "")
	for _, header := range []string{"If-Match: x", `If-Match: "x`, `If-Match: "x" "y"`, "If-None-Match: W/"} {
		name, _, _ := strings.Cut(header, ":")
		f.do("PUT", "/c", "3", header).isProblem(server.InvalidHeader, name).member(t, "header", name)
	}
	f.do("PUT", "/c", "3", `If-Match: "x", `+second+`, "y"`).is(200, "*")
	f.do("PUT", "/c", "4", "If-Match: *").is(200, "*")
	f.do("PATCH", "/d", `{"a":1}`, "Content-Type: application/merge-patch+json", "If-None-Match: *").is(201, "*")
	third := f.do("GET", "/c", "").header.Get("Etag")
	f.do("DELETE", "/c", "", "If-Match: "+third).is(204, "")
	f.do("POST", "/l/*", "1", "If-None-Match: *").isProblem(server.InvalidHeader, "push")
	f.do("DELETE", "/l/*", "", "If-Match: *").isProblem(server.InvalidHeader, "batch")
}

// Of many that change an object under the same condition one wins, and patches lose nothing.
func TestConditionsRace(t *testing.T) {
	f := serve(t, server.Options{})
	tag := f.do("PUT", "/c", `{"n":0}`).header.Get("Etag")
	var wins, losses sync.Map
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			if a := f.do("PUT", "/c", fmt.Sprintf(`{"n":%d}`, i), "If-Match: "+tag); a.status == 200 {
				wins.Store(i, true)
			} else {
				a.isProblem(server.ConditionFailed, "")
				losses.Store(i, true)
			}
			f.do("PATCH", "/p", fmt.Sprintf(`{"m%d":1}`, i), "Content-Type: application/merge-patch+json")
		})
	}
	all.Wait()
	count := func(m *sync.Map) (n int) {
		m.Range(func(any, any) bool { n++; return true })
		return n
	}
	if count(&wins) != 1 || count(&losses) != 15 {
		t.Errorf("%d writes under one condition won, %d lost", count(&wins), count(&losses))
	}
	var members map[string]int
	if err := json.Unmarshal(f.do("GET", "/p", "").object().Data, &members); err != nil || len(members) != 16 {
		t.Errorf("16 patches left %v, %v", members, err)
	}
}

func TestRequiredConditions(t *testing.T) {
	f := serve(t, server.Options{RequireCondition: []string{"config/**", "one/*"}})
	tag := f.do("PUT", "/config/a/b", "1").is(201, "*").header.Get("Etag")
	f.do("PUT", "/config/a/b", "2").isProblem(server.ConditionRequired, "If-Match")
	f.do("POST", "/config/a/b", "2").isProblem(server.ConditionRequired, "If-Match")
	f.do("PATCH", "/config/a/b", "{}").isProblem(server.ConditionRequired, "If-Match")
	f.do("DELETE", "/config/a/b", "").isProblem(server.ConditionRequired, "If-Match")
	f.do("DELETE", "/config/a/*", "").isProblem(server.ConditionRequired, "If-Match")
	f.do("DELETE", "/*/*", "").isProblem(server.ConditionRequired, "If-Match")
	f.do("DELETE", "/config/a/b", "", "If-Match: "+tag).is(204, "")
	f.do("DELETE", "/config/a/b", "", asProblem).isProblem(server.NotFound, "")
	f.do("PUT", "/other", "1").is(201, "*")
	f.do("PUT", "/other", "2").is(200, "*")
}

func TestIdempotency(t *testing.T) {
	f := serve(t, server.Options{}, storage.Options{NoBroadcastKeys: []string{server.Reserved}})
	events := make(chan storage.Event, 100)
	stop := f.store.Watch(func(e storage.Event) { events <- e })
	defer stop()
	const key = "Idempotency-Key: 6f1c-1"
	first := f.do("POST", "/l/*", `{"a":1}`, key).is(200, "*").has("Idempotent-Replayed:")
	again := f.do("POST", "/l/*", ` {"a": 1}`, `Idempotency-Key: "6f1c-1"`).is(200, first.body).
		has("Idempotent-Replayed: true", "Etag: "+first.header.Get("Etag"), "Location: "+first.header.Get("Location"))
	f.do("GET", again.header.Get("Location"), "").is(200, "*").has("Etag: " + again.header.Get("Etag"))
	if got := f.do("GET", "/l/*", "").data(); got != `{"a":1}` {
		t.Errorf("a push sent twice: %s", got)
	}
	shown := f.do("POST", "/l/*", `{"a":1}`, key, "Prefer: return=representation").is(200, "*").object()
	if "/"+shown.Path != first.header.Get("Location") || string(shown.Data) != `{"a":1}` {
		t.Errorf("the representation of a request that was made before: %+v", shown)
	}
	f.do("POST", "/l/*", `{"a":2}`, key).isProblem(server.KeyReused, "another request")
	f.do("POST", "/m/*", `{"a":1}`, key).isProblem(server.KeyReused, "another request")
	f.do("PUT", "/p", "1", "Idempotency-Key: put").is(201, "*")
	f.do("PUT", "/p", "2").is(200, "*")
	f.do("PUT", "/p", "1", "Idempotency-Key: put").is(201, `{"index":"p"}`).has("Idempotent-Replayed: true")
	if got := f.do("GET", "/p", "").object(); string(got.Data) != "2" {
		t.Errorf("a write that was sent again undid a later one: %s", got.Data)
	}
	f.do("DELETE", "/p", "", "Idempotency-Key: del").is(204, "")
	f.do("DELETE", "/p", "", "Idempotency-Key: del").is(204, "").has("Idempotent-Replayed: true")
	// What failed changed nothing, and is tried again.
	f.do("DELETE", "/p", "", "Idempotency-Key: later").isProblem(server.NotFound, "")
	f.do("PUT", "/p", "3").is(201, "*")
	f.do("DELETE", "/p", "", "Idempotency-Key: later").is(204, "").has("Idempotent-Replayed:")
	const batch = `{"changes":[{"op":"push","path":"b/*","data":1},{"op":"set","path":"b","data":2}]}`
	made := f.do("POST", "/~/batch", batch, "Idempotency-Key: batch").is(200, "*")
	f.do("POST", "/~/batch", batch, "Idempotency-Key: batch").is(200, made.body).has("Idempotent-Replayed: true")

	for _, bad := range []string{"Idempotency-Key: ", "Idempotency-Key: " + strings.Repeat("x", 256), "Idempotency-Key: é"} {
		f.do("PUT", "/p", "1", bad).isProblem(server.InvalidHeader, "Idempotency-Key")
	}
	f.do("PUT", "/p", "1", "Idempotency-Key: a", "Idempotency-Key: b").isProblem(server.InvalidHeader, "Idempotency-Key")
	f.do("DELETE", "/l/*", "", "Idempotency-Key: all").isProblem(server.InvalidHeader, "Idempotency-Key")

	// Nobody sees the records, or gets at them.
	records, err := f.store.GetList(server.Reserved)
	if err != nil || len(records) != 5 {
		t.Errorf("%d records, %v, want 5", len(records), err)
	}
	for _, record := range records {
		if record.Expires == 0 || !strings.HasPrefix(record.Path, "_oolith/") {
			t.Errorf("the record %+v", record)
		}
		f.do("GET", "/"+record.Path, "").isProblem(server.ReservedPath, "")
		f.do("DELETE", "/"+record.Path, "").isProblem(server.ReservedPath, "")
	}
	for _, pattern := range []string{"/*/*/*/*/*/*", "/_*/http/*/*/*/*", "/_*/**"} {
		f.do("GET", pattern, "").is(200, "[]")
		f.do("DELETE", pattern, "").isProblem(server.ReservedPath, "")
	}
	for _, pattern := range []string{"/_oolith/*", "/_oolith/http/idempotency/v1/outcome/*", "/_oolith"} {
		f.do("GET", pattern, "").isProblem(server.ReservedPath, "")
		f.do("DELETE", pattern, "").isProblem(server.ReservedPath, "")
	}
	f.do("POST", "/~/batch", `{"changes":[{"op":"set","path":"_oolith/x","data":1}]}`).isProblem(server.ReservedPath, "")
	f.do("PUT", "/last", "1").is(201, "*")
	for e := range events {
		if strings.HasPrefix(e.Key, "_oolith") {
			t.Errorf("a watcher hears of %s", e.Key)
		}
		if e.Key == "last" {
			break
		}
	}
}

// Many who send one request at a time make it once.
func TestIdempotencyRace(t *testing.T) {
	f := serve(t, server.Options{})
	for round := range 20 {
		var all sync.WaitGroup
		bodies := make([]string, 8)
		for i := range bodies {
			all.Go(func() {
				bodies[i] = f.do("POST", "/l/*", "1", fmt.Sprintf("Idempotency-Key: %d", round)).is(200, "*").body
			})
		}
		all.Wait()
		for _, body := range bodies {
			if body != bodies[0] {
				t.Errorf("one request has the answers %q", bodies)
				break
			}
		}
		if n, err := f.store.Count("l/*"); err != nil || n != round+1 {
			t.Fatalf("%d objects, %v, after %d requests", n, err, round+1)
		}
	}
}

func TestBatch(t *testing.T) {
	f := serve(t, server.Options{Limits: server.Limits{BatchChanges: 6}})
	tag := f.do("PUT", "/b/x", `{"n":1}`).header.Get("Etag")
	f.do("PUT", "/b/y", `{"n":1}`).is(201, "*")
	var made struct {
		Results []struct {
			Status      int
			Path, Index string
			Revision    uint64
			ETag        string
		}
	}
	answer := f.do("POST", "/~/batch", fmt.Sprintf(`{"changes":[
		{"op":"set","path":"b/x","data":{"n": 2},"ifMatch":%q},
		{"op":"set","path":"b/new","data":1,"ifNoneMatch":"*","ttl":3600},
		{"op":"push","path":"b/*","data":"pushed","ttl":"90m"},
		{"op":"merge","path":"b/merged","data":{"a":1,"b":null}},
		{"op":"patch","path":"b/y","data":[{"op":"replace","path":"/n","value":5}]},
		{"op":"delete","path":"b/gone"}]}`, tag))
	answer.isProblem(server.NotFound, "b/gone").member(t, "entry", 5)
	if n, err := f.store.Count("b/*"); err != nil || n != 2 {
		t.Errorf("after a batch that failed there are %d objects, %v", n, err)
	}
	f.do("PUT", "/b/gone", "1").is(201, "*")
	answer = f.do("POST", "/~/batch", fmt.Sprintf(`{"changes":[
		{"op":"set","path":"b/x","data":{"n": 2},"ifMatch":%q},
		{"op":"set","path":"b/new","data":1,"ifNoneMatch":"*","ttl":3600},
		{"op":"push","path":"b/*","data":"pushed","ttl":"90m"},
		{"op":"merge","path":"b/merged","data":{"a":1,"b":null}},
		{"op":"patch","path":"b/y","data":[{"op":"replace","path":"/n","value":5}]},
		{"op":"delete","path":"b/gone"}]}`, tag)).is(200, "*")
	if err := json.Unmarshal([]byte(answer.body), &made); err != nil || len(made.Results) != 6 {
		t.Fatalf("%s, %v", answer.body, err)
	}
	for i, want := range []int{200, 201, 201, 201, 200, 204} {
		got := made.Results[i]
		if got.Status != want || got.Revision != made.Results[0].Revision+uint64(i) || (got.ETag == "") != (want == 204) {
			t.Errorf("result %d is %+v, want %d", i, got, want)
		}
	}
	for path, want := range map[string]string{
		"b/x": `{"n":2}`, "b/new": "1", made.Results[2].Path: `"pushed"`, "b/merged": `{"a":1}`, "b/y": `{"n":5}`,
	} {
		if got := f.do("GET", "/"+path, "").is(200, "*").object(); string(got.Data) != want {
			t.Errorf("%s is %s, want %s", path, got.Data, want)
		}
	}
	f.do("GET", "/b/new", "").lives(3600)
	f.do("GET", "/"+made.Results[2].Path, "").lives(5400)
	for _, c := range []struct {
		body   string
		kind   server.Kind
		detail string
		entry  any
	}{
		{fmt.Sprintf(`{"changes":[{"op":"set","path":"b/z","data":1},{"op":"set","path":"b/x","data":1,"ifMatch":%q}]}`, tag), server.ConditionFailed, "revision", 1},
		{`{"changes":[{"op":"set","path":"b/x","data":1,"ifNoneMatch":"*"}]}`, server.ConditionFailed, "b/x", 0},
		{`{"changes":[{"op":"set","path":"b/x","data":1},{"op":"delete","path":"b/x"}]}`, server.InvalidBatch, "have the same path", 1},
		{`{"changes":[{"op":"set","path":"b//x","data":1}]}`, server.InvalidPath, "byte 2", 0},
		{`{"changes":[{"op":"set","path":"b/*","data":1}]}`, server.InvalidPath, "pattern", 0},
		{`{"changes":[{"op":"push","path":"b","data":1}]}`, server.InvalidPath, "pattern", 0},
		{`{"changes":[{"op":"push","path":"*/b","data":1}]}`, server.InvalidPath, "glob", 0},
		{`{"changes":[{"op":"set","path":"b"}]}`, server.InvalidBatch, "data", 0},
		{`{"changes":[{"op":"patch","path":"b"}]}`, server.InvalidBatch, "data", 0},
		{`{"changes":[{"op":"delete","path":"b","data":1}]}`, server.InvalidBatch, "no data", 0},
		{`{"changes":[{"op":"nope","path":"b"}]}`, server.InvalidBatch, "nope", 0},
		{`{"changes":[{"op":"set","path":"b","data":1,"ttl":"soon"}]}`, server.InvalidBatch, "soon", 0},
		{`{"changes":[{"op":"set","path":"b","data":1,"ifMatch":"x"}]}`, server.InvalidHeader, "ifMatch", 0},
		{`{"changes":[{"op":"push","path":"b/*","data":1,"ifMatch":"*"}]}`, server.InvalidBatch, "push", 0},
		{`{"changes":[{"op":"patch","path":"b/x","data":[{"op":"remove","path":"/q"}]}]}`, server.PatchDoesNotApply, "operation 0", 0},
		{`{"changes":[{"op":"set","path":"b","data":1,"nope":1}]}`, server.InvalidBatch, "nope", nil},
		{`{"changes":[]}`, server.InvalidBatch, "no changes", nil},
		{`[]`, server.InvalidBatch, "expected", nil},
		{`{"changes":[{},{},{},{},{},{},{}]}`, server.TooLarge, "BatchChanges", nil},
		{`{"changes":`, server.InvalidJSON, "at byte", nil},
	} {
		f.do("POST", "/~/batch", c.body).isProblem(c.kind, c.detail).member(t, "entry", c.entry)
	}
	f.do("GET", "/~/batch", "").has("Allow: POST").isProblem(server.MethodNotAllowed, "GET")
	f.do("POST", "/~/batch", "x", "Content-Type: text/csv").isProblem(server.UnsupportedType, "text/csv")
}

func TestHooks(t *testing.T) {
	opt := server.Options{
		Authenticate: func(r *http.Request) (any, error) { return r.Header.Get("X-User"), nil },
		BeforeWrite: func(identity any, change *server.Change) error {
			switch {
			case change.Path == "panic":
				panic("a hook that panics")
			case identity == "reader":
				return &server.Problem{Kind: server.Forbidden, Detail: "readers do not write"}
			case string(change.Data) == `"bad"`:
				return errors.New("title is bad")
			case change.Path == "stamped":
				change.Data = json.RawMessage(fmt.Sprintf(`{"by":%q,"op":%q}`, identity, change.Operation))
			case change.Path == "broken":
				change.Data = json.RawMessage(`{`)
			}
			return nil
		},
		View: func(identity any, obj *meta.Object) (*meta.Object, bool) {
			if strings.HasPrefix(obj.Path, "secret/") && identity != "root" {
				return nil, false
			}
			if obj.Path == "panics" {
				panic("a view that panics")
			}
			if identity == "short" {
				return &meta.Object{Data: json.RawMessage(`"..."`)}, true
			}
			return obj, true
		},
	}
	f := serve(t, opt)
	f.do("POST", "/a", `"bad"`).is(400, "title is bad")
	f.do("PUT", "/a", `"bad"`).isProblem(server.Refused, "title is bad")
	f.do("PATCH", "/a", `"bad"`, "Content-Type: application/merge-patch+json").isProblem(server.Refused, "title is bad")
	f.do("PUT", "/a", "1", "X-User: reader").isProblem(server.Forbidden, "readers do not write")
	f.do("DELETE", "/a/*", "", "X-User: reader").isProblem(server.Forbidden, "readers do not write")
	f.do("PUT", "/stamped", "1", "X-User: kay").is(201, "*")
	if got := f.do("GET", "/stamped", "").object(); string(got.Data) != `{"by":"kay","op":"set"}` {
		t.Errorf("changed by a hook: %s", got.Data)
	}
	for _, path := range []string{"/panic", "/broken"} {
		f.do("PUT", path, "1").isProblem(server.Internal, "log")
		f.do("GET", path, "").is(404, "*")
	}
	if log := f.log.String(); !strings.Contains(log, "a hook that panics") || !strings.Contains(log, "write_test.go") {
		t.Errorf("the log of a panic: %s", log)
	}
	f.do("PUT", "/panics", "1").is(201, "*")
	f.do("GET", "/panics", "").isProblem(server.Internal, "")

	f.do("PUT", "/secret/1", "1").is(201, "*")
	f.do("PUT", "/secret/2", "2").is(201, "*")
	f.do("GET", "/secret/1", "").is(404, "ooo: empty key")
	f.do("GET", "/secret/*", "").is(200, "[]")
	f.do("GET", "/secret/*", "", "X-User: root").is(200, "*")
	if got := f.do("GET", "/secret/*", "", "X-User: root").data(); got != "2 1" {
		t.Errorf("what root sees: %s", got)
	}
	f.do("PUT", "/secret/1", "1", "If-None-Match: *", "Prefer: return=representation").isProblem(server.ConditionFailed, "").member(t, "object", nil)
	if got := f.do("GET", "/stamped", "", "X-User: short").object(); string(got.Data) != `"..."` || got.Path != "stamped" {
		t.Errorf("seen shortened: %+v", got)
	}
	if keys := f.do("GET", "/?api=keys&filter=secret/", ""); !strings.Contains(keys.body, `"total":0`) {
		t.Errorf("keys that a view hides: %s", keys.body)
	}
}
