package server_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/storage"
)

// What older clients do, and the texts that they get.
func TestOlderClients(t *testing.T) {
	f := serve(t, server.Options{})
	f.do("GET", "/box", "").is(404, "ooo: empty key").has("Content-Type: text/plain; charset=utf-8")
	f.do("PATCH", "/box", `{"a":1}`).is(404, "ooo: not found")
	f.do("DELETE", "/box", "").is(404, "storage: not found")
	f.do("GET", "/things/*", "").is(200, "[]").has("Content-Type: application/json")
	f.do("DELETE", "/things/*", "").is(204, "").has("Content-Length:")
	f.do("POST", "/box", ` {"name" : "a", "n": 12345678901234567890123, "f":1.10} `).is(200, `{"index":"box"}`).has("Content-Type: application/json", "Location: /box")
	f.do("POST", "/box", `{"name":"b"}`, "Content-Type: text/plain").is(200, `{"index":"box"}`)
	obj := f.do("GET", "/box", "").is(200, "*").has("Content-Type: application/json").object()
	want := fmt.Sprintf(`{"created":%d,"updated":%d,"index":"box","path":"box","data":{"name":"b"}}`, obj.Created, obj.Updated)
	f.do("GET", "/box", "").is(200, want)
	if obj.Created == 0 || obj.Updated <= obj.Created {
		t.Errorf("created %d, updated %d", obj.Created, obj.Updated)
	}
	for _, data := range []string{"5", `"s"`, "null", "[1]", `{"a":"<&>"}`, `{"n":12345678901234567890123,"f":1.10}`} {
		f.do("POST", "/data", data).is(200, `{"index":"data"}`)
		if got := f.do("GET", "/data", "").object(); string(got.Data) != data {
			t.Errorf("data %s came back as %s", data, got.Data)
		}
	}

	var pushed struct{ Index string }
	answer := f.do("POST", "/things/*", `{"n":1}`).is(200, "*")
	if err := json.Unmarshal([]byte(answer.body), &pushed); err != nil || !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(pushed.Index) {
		t.Errorf("a push answers %s", answer.body)
	}
	answer.has("Location: /things/" + pushed.Index)
	f.do("POST", "/things/*", `{"n":2}`).is(200, "*")
	if got := f.do("GET", "/things/*", "").is(200, "*").data(); got != `{"n":2} {"n":1}` {
		t.Errorf("a list is newest first, got %s", got)
	}
	if got := f.do("GET", "/things/%2A", "").is(200, "*").data(); got != `{"n":2} {"n":1}` {
		t.Errorf("an encoded star: %s", got)
	}
	if got := f.do("GET", "/things/"+pushed.Index, "").object(); got.Updated != 0 || got.Index != pushed.Index || got.Created != key.Decode(pushed.Index) {
		t.Errorf("the pushed object: %+v", got)
	}
	f.do("POST", "/*", "1").is(200, "*")
	f.do("DELETE", "/things/"+pushed.Index, "").is(204, "")
	f.do("DELETE", "/things/*", "").is(204, "")
	f.do("GET", "/things/*", "").is(200, "[]")

	for _, c := range []struct {
		method, target, body string
		status               int
		text                 string
	}{
		{"GET", "/a@b", "", 400, "ooo: key is not valid: byte 1, '@' is not one of A-Z a-z 0-9 - _ . / *"},
		{"GET", "/a//b", "", 400, "ooo: key is not valid: empty segment at byte 2"},
		{"POST", "/a/*/b", "1", 400, "key: glob pattern must be at the end of the path"},
		{"POST", "/a/*/*", "1", 400, "key: contains more than one glob pattern"},
		{"POST", "/a*", "1", 400, "key: glob pattern must be at the end of the path"},
		{"PATCH", "/a/*", "{}", 400, "ooo: glob pattern not allowed for this operation"},
		{"POST", "/box", "", 400, "EOF"},
		{"POST", "/box", "nope", 400, "at byte 1: unexpected 'o', expected null"},
		{"POST", "/", "1", 405, "Method Not Allowed\n"},
	} {
		f.do(c.method, c.target, c.body).is(c.status, c.text)
	}
}

// The older merge, which is neither of the RFCs.
func TestOlderPatch(t *testing.T) {
	f := serve(t, server.Options{})
	for _, c := range []struct{ data, patch, want string }{
		{`{"age":3,"name":"a"}`, `{"name":null}`, `{"age":3,"name":null}`},
		{`{"o":{"x":1}}`, `{"o":{"y":2}}`, `{"o":{"x":1,"y":2}}`},
		{`{"l":[1,2]}`, `{"l":{"0":9}}`, `{"l":[9,2]}`},
		{`{"l":[1,2]}`, `{"l":[3]}`, `{"l":[3]}`},
	} {
		f.do("POST", "/p", c.data).is(200, "*")
		f.do("PATCH", "/p", c.patch).is(200, `{"index":"p"}`)
		if got := f.do("GET", "/p", "").object(); string(got.Data) != c.want {
			t.Errorf("%s patched with %s is %s, want %s", c.data, c.patch, got.Data, c.want)
		}
	}
	f.do("POST", "/p", `{"o":{"x":1}}`).is(200, "*")
	before := f.do("GET", "/p", "")
	f.do("PATCH", "/p", `{"o":5}`).is(400, `invalid patch, patch value must be object for key "o"`)
	f.do("PATCH", "/p", `[]`).is(400, `invalid patch, it is not an object`)
	f.do("PATCH", "/p", `5`, "Content-Type: application/json").is(400, `invalid patch, it is not an object`)
	f.do("GET", "/p", "").is(200, before.body).has("Etag: " + before.header.Get("Etag"))
}

func TestRootOfOlderClients(t *testing.T) {
	f := serve(t, server.Options{})
	for i := range 120 {
		f.do("POST", fmt.Sprintf("/k/%03d", i), "1").is(200, "*")
	}
	f.do("POST", "/box", "1", "Idempotency-Key: x").is(200, "*")
	var all struct{ Keys []string }
	if err := json.Unmarshal([]byte(f.do("GET", "/", "", "Accept: application/json").is(200, "*").body), &all); err != nil || len(all.Keys) != 121 || all.Keys[0] != "box" {
		t.Errorf("all keys: %v, %v", all.Keys, err)
	}
	var page struct {
		Keys               []string
		Total, Page, Limit int
		Filter             string
	}
	for _, c := range []struct {
		query, first       string
		count, page, limit int
	}{
		{"", "box", 50, 1, 50},
		{"&page=3", "k/099", 21, 3, 50},
		{"&page=4", "", 0, 4, 50},
		{"&limit=500", "box", 121, 1, 500},
		{"&limit=501&page=0", "box", 50, 1, 50},
		{"&filter=k/01*&limit=5", "k/010", 5, 1, 5},
		{"&page=2147483647", "", 0, 2147483647, 50},
	} {
		got := f.do("GET", "/?api=keys"+c.query, "").is(200, "*")
		if err := json.Unmarshal([]byte(got.body), &page); err != nil || len(page.Keys) != c.count || page.Page != c.page || page.Limit != c.limit {
			t.Errorf("keys%s: %s, %v", c.query, got.body, err)
		}
		if c.count > 0 && page.Keys[0] != c.first {
			t.Errorf("keys%s begin with %s, want %s", c.query, page.Keys[0], c.first)
		}
	}
	for _, api := range []string{"info", "filters", "state", "pivot", "endpoints", "proxies", "orphan-keys"} {
		if got := f.do("GET", "/?api="+api, "").is(200, "*"); !json.Valid([]byte(got.body)) || !strings.HasSuffix(got.body, "\n") {
			t.Errorf("%s: %q", api, got.body)
		}
	}
	f.do("GET", "/", "", "Accept: text/html,application/xhtml+xml").is(200, "*").has("Content-Type: text/html; charset=utf-8")
}

func TestResources(t *testing.T) {
	f := serve(t, server.Options{})
	made := f.do("PUT", "/a/b", `{"n":1}`).is(201, `{"index":"b"}`)
	tag := made.header.Get("Etag")
	if !regexp.MustCompile(`^"[0-9a-f]{16}-[1-9][0-9]*"$`).MatchString(tag) {
		t.Errorf("the entity tag %s", tag)
	}
	f.do("GET", "/a/b", "").is(200, "*").has("Etag: "+tag, "Cache-Control: no-cache", "X-Content-Type-Options: nosniff")
	f.do("GET", "/a/b", "", "If-None-Match: "+tag).is(304, "").has("Etag: " + tag)
	f.do("GET", "/a/b", "", "If-None-Match: W/"+tag).is(304, "")
	f.do("GET", "/a/b", "", `If-None-Match: "x", `+tag).is(304, "")
	f.do("GET", "/a/b", "", "If-None-Match: *").is(304, "")
	f.do("GET", "/a/b", "", `If-None-Match: "x-1"`).is(200, "*")
	f.do("PUT", "/a/b", `{"n":2}`).is(200, `{"index":"b"}`)
	f.do("GET", "/a/b", "", "If-None-Match: "+tag).is(200, "*")
	head := f.do("HEAD", "/a/b", "").is(200, "")
	head.has("Content-Length: "+fmt.Sprint(len(f.do("GET", "/a/b", "").body)), "Content-Type: application/json")
	f.do("HEAD", "/a/nope", "").is(404, "")
	f.do("OPTIONS", "/a/b", "").is(204, "").has("Allow: GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS", "Accept-Patch: application/merge-patch+json, application/json-patch+json")
	f.do("OPTIONS", "/a/*", "").is(204, "").has("Allow: GET, HEAD, POST, DELETE, OPTIONS", "Accept-Patch:")

	obj := f.do("PUT", "/a/b", `{"n":3}`, "Prefer: return=representation").is(200, "*").has("Preference-Applied: return=representation").object()
	if string(obj.Data) != `{"n":3}` || obj.Path != "a/b" {
		t.Errorf("the representation: %+v", obj)
	}
	full := f.do("GET", "/a/b", "", "Accept: application/vnd.oolith+json").is(200, "*").has("Content-Type: application/vnd.oolith+json").object()
	if full.Revision == 0 || full.Data == nil {
		t.Errorf("in full: %+v", full)
	}
	f.do("DELETE", "/a/b", "", "Accept: application/json").is(204, "")
	f.do("DELETE", "/a/b", "", asProblem).isProblem(server.NotFound, `"a/b"`)
	f.do("GET", "/a/b", "", "Accept: application/json").isProblem(server.NotFound, `"a/b"`)
}

func TestPatches(t *testing.T) {
	f := serve(t, server.Options{})
	const merge, operations = "Content-Type: application/merge-patch+json", "Content-Type: application/json-patch+json; charset=utf-8"
	f.do("PATCH", "/new", `{"a":1,"b":null}`, merge).is(201, `{"index":"new"}`)
	f.do("PATCH", "/new", `{"a":null,"c":2}`, merge, "Prefer: return=representation").is(200, "*").has("Content-Type: application/json")
	f.do("PATCH", "/new", `[{"op":"test","path":"/c","value":2},{"op":"add","path":"/d","value":[]}]`, operations).is(200, "*")
	if got := f.do("GET", "/new", "").object(); string(got.Data) != `{"c":2,"d":[]}` {
		t.Errorf("patched: %s", got.Data)
	}
	f.do("PATCH", "/nope", `[]`, operations).isProblem(server.NotFound, "nope")
	f.do("PATCH", "/new", `[{"op":"remove","path":"/d"},{"op":"remove","path":"/x"}]`, operations).
		isProblem(server.PatchDoesNotApply, "operation 1").member(t, "operation", 1)
	f.do("PATCH", "/new", `[{"op":"test","path":"/c","value":3}]`, operations).
		isProblem(server.PatchTestFailed, "operation 0").member(t, "operation", 0)
	f.do("PATCH", "/new", `[{"op":"nope","path":"/c"}]`, operations).isProblem(server.InvalidPatch, "nope")
	f.do("PATCH", "/new", `{"c":`, merge).isProblem(server.InvalidPatch, "at byte 5").member(t, "offset", 5)
	f.do("PATCH", "/new", `c=1`, "Content-Type: application/x-www-form-urlencoded").isProblem(server.UnsupportedType, "application/merge-patch+json")
	f.do("PATCH", "/new", `c=1`, "Content-Type: text/plain").has("Accept-Patch: application/merge-patch+json, application/json-patch+json")
	if got := f.do("GET", "/new", "").object(); string(got.Data) != `{"c":2,"d":[]}` {
		t.Errorf("after patches that failed: %s", got.Data)
	}
}

// Lists and their pages.
func TestLists(t *testing.T) {
	f := serve(t, server.Options{Limits: server.Limits{ListObjects: 20, ListBytes: 400}})
	var times []int64
	for i := range 10 {
		obj := f.do("POST", "/l/*", fmt.Sprint(i), "Prefer: return=representation").is(200, "*").object()
		times = append(times, obj.Created)
	}
	for _, c := range []struct{ query, want string }{
		{"", "9 8 7 6 5 4 3 2 1 0"},
		{"?limit=3", "9 8 7"},
		{"?limit=3&order=asc", "0 1 2"},
		{"?order=desc", "9 8 7 6 5 4 3 2 1 0"},
		{fmt.Sprintf("?from=%d&to=%d", times[2], times[4]), "4 3 2"},
		{fmt.Sprintf("?from=%d&limit=2&order=asc", times[2]), "2 3"},
		{"?to=2001-01-01T00:00:00Z", ""},
		{"?at=3&limit=2", "6 5"},
		{"?at=8&order=asc", "8 9"},
		{"?at=10", ""},
		{"?from=2001-01-01T00:00:00%2B02:00&limit=1", "9"},
	} {
		if got := f.do("GET", "/l/*"+c.query, "").is(200, "*").data(); got != c.want {
			t.Errorf("/l/*%s: %s, want %s", c.query, got, c.want)
		}
	}
	// Every page, by its Link, whatever is pushed meanwhile.
	var all []string
	next := regexp.MustCompile(`^<([^>]*)>; rel="next"$`)
	for target := "/l/*?limit=4"; target != ""; {
		page := f.do("GET", target, "").is(200, "*")
		all = append(all, page.data())
		f.do("POST", "/l/*", "100").is(200, "*")
		link := next.FindStringSubmatch(page.header.Get("Link"))
		if target = ""; link != nil {
			target = link[1]
		}
	}
	if got := strings.Join(all, " "); got != "9 8 7 6 5 4 3 2 1 0" {
		t.Errorf("the pages: %s", got)
	}

	for _, c := range []struct{ query, parameter string }{
		{"?limit=0", "limit"}, {"?limit=21", "limit"}, {"?limit=x", "limit"}, {"?limit=", "limit"},
		{"?order=up", "order"}, {"?from=yesterday", "from"}, {"?to=x", "to"}, {"?from=5&to=4", "to"},
		{"?at=-1", "at"}, {"?at=x", "at"}, {"?at=1&cursor=x", "at"}, {"?cursor=", "cursor"}, {"?cursor=nope", "cursor"}, {"?nope=1", "nope"}, {"?limit=1&limit=2", "limit"},
	} {
		f.do("GET", "/l/*"+c.query, "").isProblem(server.InvalidParameter, "").member(t, "parameter", c.parameter)
	}
	link := next.FindStringSubmatch(f.do("GET", "/l/*?limit=1", "").header.Get("Link"))
	u, err := url.Parse(link[1])
	if err != nil {
		t.Fatal(err)
	}
	f.do("GET", "/m/*?cursor="+u.Query().Get("cursor"), "").isProblem(server.InvalidParameter, "another list").member(t, "parameter", "cursor")

	// Never a cut list.
	for range 20 {
		f.do("POST", "/l/*", "1").is(200, "*")
	}
	f.do("GET", "/l/*", "", asProblem).isProblem(server.ListTooLarge, "ListObjects").member(t, "parameter", "limit").member(t, "limit", 20)
	for range 3 {
		f.do("POST", "/big/*", `"`+strings.Repeat("x", 150)+`"`).is(200, "*")
	}
	f.do("GET", "/big/*", "").isProblem(server.ListTooLarge, "ListBytes").member(t, "parameter", "limit").member(t, "limit", 400)
	f.do("GET", "/big/*?limit=2", "").is(200, "*")

	full := f.do("GET", "/big/*?limit=1", "", "Accept: application/vnd.oolith+json").is(200, "*")
	if !strings.Contains(full.body, `"revision":`) {
		t.Errorf("a list in full: %s", full.body)
	}
	tag := f.do("GET", "/big/*?limit=1", "").header.Get("Etag")
	f.do("GET", "/big/*?limit=1", "", "If-None-Match: "+tag).is(304, "")
	f.do("POST", "/big/*", "1").is(200, "*")
	f.do("GET", "/big/*?limit=1", "", "If-None-Match: "+tag).is(200, "*")
}

// The tag of a list is the same as long as the list is, whatever is written elsewhere and whenever it is read.
func TestTagsOfLists(t *testing.T) {
	f := serve(t, server.Options{})
	tag := func(target string) string {
		t.Helper()
		a := f.do("GET", target, "").is(200, "*")
		f.do("GET", target, "", "If-None-Match: "+a.header.Get("Etag")).is(304, "").has("Etag: " + a.header.Get("Etag"))
		return a.header.Get("Etag")
	}
	none := tag("/a/*")
	f.do("PUT", "/a/1", "1")
	one := tag("/a/*")
	f.do("PUT", "/b/1", "1")
	f.do("PUT", "/a/1/below", "1")
	if elsewhere := tag("/a/*"); elsewhere != one {
		t.Errorf("a write elsewhere makes %s of %s", elsewhere, one)
	}
	f.do("PUT", "/a/1", "2")
	other := tag("/a/*")
	f.do("PUT", "/a/2", "1")
	page := tag("/a/*?limit=1&order=asc")
	f.do("DELETE", "/a/2", "")
	if again := tag("/a/*"); again != other || other == one || one == none {
		t.Errorf("the tags %s, %s, %s, %s", none, one, other, again)
	}
	if last := tag("/a/*?limit=1&order=asc"); last == page {
		t.Error("a page behind which there is more has the tag of the last one")
	}
	f.do("GET", "/a/*", "", "If-Match: "+other).is(200, "*")
	f.do("GET", "/a/*", "", "If-Match: "+one).has("Etag: "+other).isProblem(server.ConditionFailed, "the list has changed")
	f.do("DELETE", "/a/*", "")
	if empty := tag("/a/*"); empty != none {
		t.Errorf("an empty list has the tags %s and %s", none, empty)
	}
	revision := f.do("GET", "/a/*", "").header.Get("Oolith-Revision")
	if want := fmt.Sprint(f.store.Revision()); revision != want {
		t.Errorf("the list is of the revision %s, want %s", revision, want)
	}
}

func TestCompression(t *testing.T) {
	f := serve(t, server.Options{})
	big := `"` + strings.Repeat("x", 5000) + `"`
	f.do("PUT", "/big", big).is(201, "*")
	got := f.do("GET", "/big", "", "Accept-Encoding: br, gzip;q=0.5").is(200, "*").has("Content-Encoding: gzip")
	unzip, err := gzip.NewReader(strings.NewReader(got.body))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(unzip)
	if err != nil || !strings.Contains(string(plain), big) {
		t.Errorf("unzipped: %.100s, %v", plain, err)
	}
	f.do("GET", "/big", "", "Accept-Encoding: identity").is(200, string(plain)).has("Content-Encoding:")
	f.do("GET", "/big", "", "Accept-Encoding: gzip;q=0").is(200, string(plain)).has("Content-Encoding:")

	var zipped strings.Builder
	w := gzip.NewWriter(&zipped)
	if _, err := io.WriteString(w, `{"zipped": true}`); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f.do("PUT", "/z", zipped.String(), "Content-Encoding: gzip").is(201, "*")
	if got := f.do("GET", "/z", "").object(); string(got.Data) != `{"zipped":true}` {
		t.Errorf("a compressed body was stored as %s", got.Data)
	}
}

// What the store says of an object's end.
func TestEnds(t *testing.T) {
	f := serve(t, server.Options{})
	for _, ttl := range []string{"3600", "60m", "1h"} {
		f.do("POST", "/t", "1", "Oolith-TTL: "+ttl).is(200, "*")
		f.do("GET", "/t", "").is(200, "*").lives(3600)
	}
	f.do("PATCH", "/t", `{"a":1}`).is(200, "*")
	f.do("GET", "/t", "").is(200, "*").lives(3600)
	f.do("PATCH", "/t", `{"a":2}`, "Oolith-TTL: 1d").is(200, "*")
	f.do("GET", "/t", "").is(200, "*").lives(86400)
	f.do("PUT", "/t", "1").is(200, "*")
	f.do("GET", "/t", "").is(200, "*").has("Oolith-Ttl:")
	for _, ttl := range []string{"0", "-1", "x", "1.5", "99999999999999999999", "10675200d"} {
		f.do("PUT", "/t", "2", "Oolith-TTL: "+ttl).isProblem(server.InvalidHeader, "Oolith-TTL").member(t, "header", "Oolith-TTL")
	}
	if got := f.do("GET", "/t", "").object(); string(got.Data) != "1" {
		t.Errorf("after writes that failed: %s", got.Data)
	}
	if _, err := f.store.SetWith("gone", []byte("1"), storage.SetOptions{TTL: time.Nanosecond}); err != nil {
		t.Fatal(err)
	}
	f.do("GET", "/gone", "").is(404, "ooo: empty key")
}

// lives demands a time to live in seconds, of which some may have passed.
func (a answer) lives(seconds int) {
	a.t.Helper()
	if got, err := strconv.Atoi(a.header.Get("Oolith-Ttl")); err != nil || got > seconds || got < seconds-600 {
		a.t.Errorf("%s: Oolith-TTL is %d, %v, want about %d", a.asked, got, err, seconds)
	}
}
