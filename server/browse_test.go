package server_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/server"
)

func TestCountAndDirectories(t *testing.T) {
	f := serve(t, server.Options{})
	for _, path := range []string{"a/1", "a/2", "a/b/3", "a/c/4", "top"} {
		f.do("PUT", "/"+path, "1", "Idempotency-Key: "+path).is(201, "*")
	}
	for _, c := range []struct {
		target, want string
	}{
		{"/~/count?pattern=a/*", `{"count":2}`}, {"/~/count?pattern=a/**", `{"count":4}`}, {"/~/count?pattern=**", `{"count":5}`},
		{"/~/count?pattern=*/*/*", `{"count":2}`}, {"/~/count?pattern=none/*", `{"count":0}`},
	} {
		f.do("GET", c.target, "").is(200, c.want+"\n")
	}
	directories := func(target, want string) {
		t.Helper()
		answer := f.do("GET", target, "").is(200, "*")
		got, _, _ := strings.Cut(answer.body, `,"revision"`)
		if got != want {
			t.Errorf("%s: %s, want %s", target, answer.body, want)
		}
	}
	// What the server keeps in the store is nobody's directory.
	directories("/~/directories", `{"directories":[{"name":"a","objects":2,"directories":2}],"total":1`)
	directories("/~/directories?path=a&limit=1", `{"directories":[{"name":"b","objects":1,"directories":0}],"total":2,"next":"b"`)
	directories("/~/directories?path=a&limit=1&after=b", `{"directories":[{"name":"c","objects":1,"directories":0}],"total":2`)
	directories("/~/directories?path=top", `{"directories":[],"total":0`)
	for _, c := range []struct {
		target, parameter string
	}{
		{"/~/count", "pattern"}, {"/~/count?pattern=a", "pattern"}, {"/~/count?pattern=a//*", "pattern"}, {"/~/count?x=1", "x"},
		{"/~/directories?path=a/*", "path"}, {"/~/directories?path=a//b", "path"}, {"/~/directories?limit=0", "limit"}, {"/~/directories?limit=x", "limit"},
	} {
		f.do("GET", c.target, "").isProblem(server.InvalidParameter, "").member(t, "parameter", c.parameter)
	}
	f.do("POST", "/~/count?pattern=a/*", "").isProblem(server.MethodNotAllowed, "")
	f.do("GET", "/~/directories?path=_oolith", "").isProblem(server.ReservedPath, "")

	some := serve(t, server.Options{View: func(_ any, obj *meta.Object) (*meta.Object, bool) { return obj, obj.Path != "a/1" }})
	for i := range 3 {
		some.do("PUT", fmt.Sprintf("/a/%d", i), "1").is(201, "*")
	}
	some.do("GET", "/~/count?pattern=a/*", "").is(200, `{"count":2}`+"\n")
	some.do("GET", "/~/directories", "").isProblem(server.Forbidden, "its own part")
	none := serve(t, server.Options{Authorize: func(any, server.Verb, string) error { return errors.New("not for you") }})
	none.do("GET", "/~/count?pattern=a/*", "").isProblem(server.Forbidden, "")
	none.do("GET", "/~/directories", "").isProblem(server.Forbidden, "")
}

// A batch gives an object another end, and restores one with its times.
func TestBatchTimes(t *testing.T) {
	f := serve(t, server.Options{})
	batch := func(change string, header ...string) answer {
		return f.do("POST", "/~/batch", `{"changes":[`+change+`]}`, header...)
	}
	first := f.do("PUT", "/a", `{"n":1}`).is(201, "*").header.Get("Etag")
	made := f.do("GET", "/a", "").object()
	batch(`{"op":"touch","path":"a","ttl":"1h"}`, "Idempotency-Key: t").is(200, "*")
	batch(`{"op":"touch","path":"a","ttl":"1h"}`, "Idempotency-Key: t").is(200, "*").has("Idempotent-Replayed: true")
	touched, err := f.store.Get("a")
	if err != nil || touched.Expires == 0 || touched.Created != made.Created || touched.Updated != 0 || string(touched.Data) != `{"n":1}` {
		t.Errorf("after a touch: %+v, %v", touched, err)
	}
	batch(`{"op":"touch","path":"a","ifMatch":`+fmt.Sprintf("%q", first)+`}`).isProblem(server.ConditionFailed, "")
	batch(`{"op":"set","path":"a","data":2,"keepTTL":true}`).is(200, "*")
	if obj, err := f.store.Get("a"); err != nil || obj.Expires != touched.Expires {
		t.Errorf("a write that keeps the end: %+v, %v", obj, err)
	}
	batch(`{"op":"touch","path":"a"}`).is(200, "*")
	if obj, err := f.store.Get("a"); err != nil || obj.Expires != 0 {
		t.Errorf("after a touch without an end: %+v, %v", obj, err)
	}
	batch(`{"op":"touch","path":"nope"}`).isProblem(server.NotFound, "")
	answer := batch(`{"op":"set","path":"r","data":1,"created":5,"updated":7,"expires":4000000000000000000}`).is(200, "*")
	if !strings.Contains(answer.body, `"status":201`) || !strings.Contains(answer.body, `"created":5,"updated":7,"expires":4000000000000000000`) {
		t.Errorf("an object that is restored: %s", answer.body)
	}
	if obj, err := f.store.Get("r"); err != nil || obj.Created != 5 || obj.Updated != 7 || obj.Expires != 4e18 {
		t.Errorf("an object that is restored: %+v, %v", obj, err)
	}
	for _, change := range []string{
		`{"op":"touch","path":"a","data":1}`, `{"op":"touch","path":"a","created":1}`, `{"op":"set","path":"a","data":1,"updated":1}`,
		`{"op":"push","path":"a/*","data":1,"created":1}`, `{"op":"set","path":"a","data":1,"expires":0}`, `{"op":"touch","path":"a","keepTTL":true}`,
		`{"op":"set","path":"a","data":1,"expires":5,"ttl":"1h"}`, `{"op":"delete","path":"a","ttl":"1h"}`,
	} {
		batch(change).isProblem(server.InvalidBatch, "").member(t, "entry", 0)
	}
	writer := serve(t, server.Options{Authorize: func(_ any, verb server.Verb, _ string) error {
		if verb == server.Admin {
			return errors.New("no admin")
		}
		return nil
	}})
	writer.do("POST", "/~/batch", `{"changes":[{"op":"set","path":"r","data":1,"created":5}]}`).isProblem(server.Forbidden, "no admin")
	writer.do("POST", "/~/batch", `{"changes":[{"op":"set","path":"r","data":1,"expires":4000000000000000000}]}`).is(200, "*")
	if keys, err := writer.store.Keys(); err != nil || len(keys) != 1 {
		t.Errorf("%q, %v", keys, err)
	}
}
