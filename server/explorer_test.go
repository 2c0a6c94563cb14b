package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/storage"
)

// rowsAnswer is what /~/rows answers.
type rowsAnswer struct {
	Total    *int
	At       int
	Examined int
	Next     string
	Rows     []struct {
		Path string
		Size int
		Data json.RawMessage
		Head *string
	}
}

func (f *fixture) rows(query string) (rows rowsAnswer) {
	f.t.Helper()
	if err := json.Unmarshal([]byte(f.do("GET", "/~/rows?"+query, "").is(200, "*").body), &rows); err != nil {
		f.t.Fatal(err)
	}
	return rows
}

func (r rowsAnswer) paths() (paths []string) {
	for _, row := range r.Rows {
		paths = append(paths, row.Path)
	}
	return paths
}

// Every way to read rows gives the rows of a plain model: by ranks, within times, by text, over pages, with objects of the server's
// own among them.
func TestRows(t *testing.T) {
	f := serve(t, server.Options{})
	var model []string // newest first
	for i := range 300 {
		path := fmt.Sprintf("%c/%d", "ab"[i%2], i)
		if _, err := f.store.SetWith(path, fmt.Appendf(nil, `{"n":%d,"text":"Word%d"}`, i, i%7), storage.SetOptions{Times: &storage.Times{Created: int64(1000 + i)}}); err != nil {
			t.Fatal(err)
		}
		model = append([]string{path}, model...)
		if i%10 == 0 { // leaves an outcome in the directory of the server
			f.do("PUT", fmt.Sprintf("/c/%d", i), "1", fmt.Sprintf("Idempotency-Key: %d", i)).is(201, "*")
		}
	}
	matching := func(pattern string, more func(path string, n int) bool) (paths []string) {
		for i, path := range model {
			if n := 299 - i; (pattern == "" || strings.HasPrefix(path, pattern)) && more(path, n) {
				paths = append(paths, path)
			}
		}
		return paths
	}
	all := func(string, int) bool { return true }
	of := matching("a/", all)
	for _, at := range []int{0, 1, 77, 149, 150, 5000} {
		got := f.rows(fmt.Sprintf("pattern=a/*&limit=40&at=%d", at))
		if want := of[min(at, 150):min(at+40, 150)]; *got.Total != 150 || got.At != at || !slices.Equal(got.paths(), want) {
			t.Errorf("at %d: total %d, at %d\n got %q\nwant %q", at, *got.Total, got.At, got.paths(), want)
		}
	}
	got := f.rows("pattern=a/*&limit=1000&from=1100&to=1199")
	if want := matching("a/", func(_ string, n int) bool { return n >= 100 && n < 200 }); *got.Total != len(want) || !slices.Equal(got.paths(), want) {
		t.Errorf("within times: total %d\n got %q\nwant %q", *got.Total, got.paths(), want)
	}
	// What is the server's own has no rank, and leaves no page empty.
	got = f.rows("pattern=**&limit=1000")
	if *got.Total != 330 || len(got.Rows) != 330 || strings.Contains(strings.Join(got.paths(), " "), "_oolith") {
		t.Errorf("everything: total %d, %d rows: %q", *got.Total, len(got.Rows), got.paths())
	}
	for _, at := range []int{0, 3, 29, 31, 200, 329} {
		if one := f.rows(fmt.Sprintf("pattern=**&limit=1&at=%d", at)); len(one.Rows) != 1 || one.Rows[0].Path != got.Rows[at].Path {
			t.Errorf("everything at %d: %q, want %q", at, one.paths(), got.Rows[at].Path)
		}
	}
	// A search, over its pages.
	var found []string
	for query := "pattern=*/*&text=wORD3&limit=5"; ; {
		part := f.rows(query)
		if part.Total != nil {
			t.Fatalf("a search has the total %d", *part.Total)
		}
		found = append(found, part.paths()...)
		if part.Next == "" {
			break
		}
		query = "pattern=*/*&text=wORD3&limit=5&cursor=" + part.Next
	}
	if want := matching("", func(_ string, n int) bool { return n%7 == 3 }); !slices.Equal(found, want) {
		t.Errorf("a search\n got %q\nwant %q", found, want)
	}
	if got := f.rows("pattern=*/*&text=b/17"); !slices.Equal(got.paths(), matching("b/17", all)) {
		t.Errorf("a search of paths: %q", got.paths())
	}
	f.do("GET", "/~/rows?pattern=a/*&text=x&at=5", "").isProblem(server.InvalidParameter, "")
	for _, query := range []string{"", "pattern=a", "pattern=a//*", "pattern=a/*&limit=1001", "pattern=a/*&clip=-1", "pattern=a/*&cursor=abc", "pattern=a/*&x=1", "pattern=a/*&from=2&to=1"} {
		f.do("GET", "/~/rows?"+query, "").isProblem(server.InvalidParameter, "")
	}
	f.do("POST", "/~/rows?pattern=a/*", "1").isProblem(server.MethodNotAllowed, "")
}

// Long data is cut short between characters, and says how long it is.
func TestRowsAreClipped(t *testing.T) {
	f := serve(t, server.Options{})
	f.do("PUT", "/a/1", `"`+strings.Repeat("é", 100)+`"`).is(201, "*")
	for clip := range 12 {
		row := f.rows(fmt.Sprintf("pattern=a/*&clip=%d", clip)).Rows[0]
		if want := (`"` + strings.Repeat("é", 100))[:max(0, clip-(clip+1)%2)]; row.Head == nil || *row.Head != want && clip > 0 || row.Size != 202 || row.Data != nil {
			t.Errorf("clip %d: %v, size %d, want %q", clip, row.Head, row.Size, want)
		}
	}
	if row := f.rows("pattern=a/*").Rows[0]; row.Head != nil || len(row.Data) != 202 {
		t.Errorf("short data: %+v", row)
	}
}

// A view decides what rows, directories' lists and changes show.
func TestRowsThroughAView(t *testing.T) {
	f := serve(t, server.Options{View: func(_ any, obj *meta.Object) (*meta.Object, bool) { return obj, obj.Path != "a/2" }})
	for i := range 4 {
		f.do("PUT", fmt.Sprintf("/a/%d", i), "1").is(201, "*")
	}
	if got := f.rows("pattern=a/*"); got.Total != nil || !slices.Equal(got.paths(), []string{"a/3", "a/1", "a/0"}) {
		t.Errorf("%+v", got)
	}
}

// Directories come in pages by name and by rank, without that of the server.
func TestDirectoriesResource(t *testing.T) {
	f := serve(t, server.Options{})
	type page struct {
		Total, Offset int
		Next          string
		Directories   []storage.Directory
	}
	ask := func(query string) (p page) {
		if err := json.Unmarshal([]byte(f.do("GET", "/~/directories?"+query, "").is(200, "*").body), &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	names := []string{"A", "B", "a", "b", "z"}
	for _, hidden := range []bool{false, true} {
		for _, name := range names {
			headers := []string{}
			if hidden {
				headers = append(headers, "Idempotency-Key: "+name)
			}
			f.do("PUT", "/"+name+"/x/1", "1", headers...)
			f.do("PUT", "/"+name+"/1", "1")
		}
		for at := range 7 {
			p := ask(fmt.Sprintf("at=%d&limit=2", at))
			var got []string
			for _, d := range p.Directories {
				got = append(got, d.Name)
				if d.Objects != 1 || d.Directories != 1 {
					t.Errorf("%+v", d)
				}
			}
			// A page in which the hidden one stands may have one less.
			want := names[min(at, 5):min(at+2, 5)]
			if p.Total != 5 || p.Offset != min(at, 5) || len(got) == 0 && len(want) > 0 || !slices.Equal(got, want[:min(len(got), len(want))]) {
				t.Errorf("hidden %v, at %d: %+v, want %q", hidden, at, p, want)
			}
		}
		for at, name := range names {
			if p := ask(fmt.Sprintf("at=%d&limit=1", at)); len(p.Directories) != 1 || p.Directories[0].Name != name {
				t.Errorf("hidden %v: the one at %d is %+v, want %s", hidden, at, p, name)
			}
		}
		var walked []string
		for after := ""; ; {
			p := ask("limit=2&after=" + after)
			for _, d := range p.Directories {
				walked = append(walked, d.Name)
			}
			if after = p.Next; after == "" {
				break
			}
		}
		if !slices.Equal(walked, names) {
			t.Errorf("hidden %v: pages show %q", hidden, walked)
		}
	}
	if p := ask("path=a"); p.Total != 1 || p.Directories[0].Name != "x" {
		t.Errorf("below a: %+v", p)
	}
	for _, query := range []string{"path=a//b", "path=a/*", "limit=0", "at=-1", "at=1&after=a", "x=1"} {
		f.do("GET", "/~/directories?"+query, "").isProblem(server.InvalidParameter, "")
	}
}

// A stream of changes begins with an event, tells of each change once, and ends with the server.
func TestChanges(t *testing.T) {
	f := serve(t, server.Options{Limits: server.Limits{Streams: 1}, View: func(_ any, obj *meta.Object) (*meta.Object, bool) { return obj, obj.Path != "a/hidden" }})
	for _, query := range []string{"", "watch=a//b", "x=1", strings.Repeat("&watch=a", 17)} {
		f.do("GET", "/~/changes?"+query, "").isProblem(server.InvalidParameter, "")
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", f.url+"/~/changes?watch=a/*&watch=b", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	type event struct {
		Revision uint64
		Changed  []struct {
			Pattern          string
			Changes, Removed int
		}
	}
	next := func() (e event) {
		t.Helper()
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(data), &e); err != nil {
					t.Fatal(err)
				}
				return e
			}
		}
		t.Fatal("the stream ends: ", lines.Err())
		return e
	}
	if first := next(); len(first.Changed) != 0 {
		t.Errorf("the first event: %+v", first)
	}
	f.do("GET", "/~/changes?watch=a", "").isProblem(server.TooManyStreams, "")
	f.do("PUT", "/a/hidden", "1").is(201, "*")
	f.do("PUT", "/a/1", "1").is(201, "*")
	f.do("PUT", "/c", "1").is(201, "*")
	f.do("DELETE", "/a/1", "").is(204, "*")
	f.do("PUT", "/b", "1").is(201, "*")
	count := map[string][2]int{}
	for count["b"][0] == 0 || count["a/*"][0] < 2 {
		for _, one := range next().Changed {
			c := count[one.Pattern]
			count[one.Pattern] = [2]int{c[0] + one.Changes, c[1] + one.Removed}
		}
	}
	if count["a/*"] != [2]int{2, 1} || count["b"] != [2]int{1, 0} {
		t.Errorf("counted %v", count)
	}
	go f.handler.Close()
	for lines.Scan() {
	}
	if lines.Err() != nil && lines.Err() != io.ErrUnexpectedEOF {
		t.Error(lines.Err())
	}
}

// Streams are named with what they follow, and end one by one.
func TestStreamsAreListed(t *testing.T) {
	tokens, err := server.OpenTokens(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tokens.Close)
	made, text, err := tokens.Create("watcher", []server.Scope{{Pattern: "**", Verbs: []server.Verb{server.Read, server.Admin}}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := serve(t, server.Options{Tokens: tokens})
	authorized := "Authorization: Bearer " + text
	type list struct {
		Total       int
		Connections []struct {
			ID                         uint64
			Protocol, Identity, Remote string
			Patterns                   []string
			Messages                   int
			Since                      time.Time
		}
	}
	ask := func() (l list) {
		if err := json.Unmarshal([]byte(f.do("GET", "/~/connections", "", authorized).is(200, "*").body), &l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	if l := ask(); l.Total != 0 || l.Connections == nil {
		t.Errorf("none: %+v", l)
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", f.url+"/~/live?watch=a/*&watch=b", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Authorization", "Bearer "+text)
	resp, err := f.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() && !strings.Contains(lines.Text(), `"type":"live"`) {
	}
	l := ask()
	if l.Total != 1 || l.Connections[0].Identity != made.Name || !slices.Equal(l.Connections[0].Patterns, []string{"a/*", "b"}) ||
		l.Connections[0].Protocol != "sse" || l.Connections[0].Remote == "" || l.Connections[0].Messages == 0 || time.Since(l.Connections[0].Since) > time.Hour {
		t.Fatalf("one: %+v", l)
	}
	target := fmt.Sprintf("/~/connections/%d", l.Connections[0].ID)
	f.do("GET", target, "", authorized).isProblem(server.MethodNotAllowed, "")
	f.do("DELETE", target, "").isProblem(server.Unauthenticated, "")
	f.do("DELETE", target, "", authorized).is(204, "*")
	for lines.Scan() { // until it ends
	}
	for ask().Total > 0 { // the server notices a moment after its client
	}
	f.do("DELETE", target, "", authorized).isProblem(server.NotFound, "")
	f.do("DELETE", "/~/connections/x", "", authorized).isProblem(server.NotFound, "")
}

// Tokens are made and revoked over the network, and none grants more than its maker has.
func TestTokensResource(t *testing.T) {
	tokens, err := server.OpenTokens(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tokens.Close)
	scope := func(pattern string, verbs ...server.Verb) server.Scope {
		return server.Scope{Pattern: pattern, Verbs: verbs}
	}
	_, text, err := tokens.Create("admin", []server.Scope{scope("**", server.Admin), scope("a/**", server.Read)}, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, reader, err := tokens.Create("reader", []server.Scope{scope("a/**", server.Read)}, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := serve(t, server.Options{Tokens: tokens})
	authorized := "Authorization: Bearer " + text
	for _, refused := range []string{`{"scopes":["write:a/**"]}`, `{"scopes":["read:**"]}`, `{"scopes":["read:a/**","read:b"]}`} {
		f.do("POST", "/~/tokens", refused, authorized).isProblem(server.Forbidden, "")
	}
	for _, bad := range []string{`{}`, `[]`, `{"scopes":["read"]}`, `{"scopes":["read:a/**"],"ttl":"soon"}`, `{"scopes":["read:a//b"]}`} {
		f.do("POST", "/~/tokens", bad, authorized).isProblem(server.InvalidJSON, "")
	}
	for _, method := range []string{"GET", "POST"} {
		f.do(method, "/~/tokens", `{"scopes":["read:a/**"]}`, "Authorization: Bearer "+reader).isProblem(server.Forbidden, "")
	}
	var made struct {
		Token server.Token
		Text  string
	}
	answer := f.do("POST", "/~/tokens", `{"name":"new","scopes":["read:a/*"],"ttl":"1h"}`, authorized).is(201, "*")
	if err := json.Unmarshal([]byte(answer.body), &made); err != nil {
		t.Fatal(err)
	}
	f.do("GET", "/a/*", "", "Authorization: Bearer "+made.Text).is(200, "*")
	who := f.do("GET", "/~/whoami", "", "Authorization: Bearer "+made.Text).is(200, "*").body
	if !strings.Contains(who, `"name":"new"`) || !strings.Contains(who, `"read":false`) || strings.Contains(who, "hash") {
		t.Errorf("whoami: %s", who)
	}
	if list := f.do("GET", "/~/tokens", "", authorized).is(200, "*").body; !strings.Contains(list, made.Token.ID) || strings.Contains(list, "hash") || strings.Contains(list, made.Text) {
		t.Errorf("the tokens: %s", list)
	}
	f.do("DELETE", "/~/tokens/"+made.Token.ID, "", "Authorization: Bearer "+reader).isProblem(server.Forbidden, "")
	f.do("DELETE", "/~/tokens/"+made.Token.ID, "", authorized).is(204, "*")
	f.do("DELETE", "/~/tokens/"+made.Token.ID, "", authorized).isProblem(server.NotFound, "")
	f.do("GET", "/a/*", "", "Authorization: Bearer "+made.Text).is(401, "not authorized")
	open := serve(t, server.Options{})
	open.do("GET", "/~/tokens", "").isProblem(server.NoSuchResource, "")
	open.do("DELETE", "/~/tokens/x", "").isProblem(server.NoSuchResource, "")
}

// The explorer asks for no token, has its files under an address that is theirs for ever, and lets nothing else run.
func TestExplorer(t *testing.T) {
	tokens, err := server.OpenTokens(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tokens.Close)
	f := serve(t, server.Options{Tokens: tokens})
	page := f.do("GET", "/", "", "Accept: text/html").is(200, "*").has("Cache-Control: no-cache").has("Content-Type: text/html; charset=utf-8")
	for _, target := range []string{"/~/ui", "/~/ui/", "/~/ui/list/a/*?text=x", "/~/ui/inside/tokens", "/~/ui/list/a%00"} {
		if other := f.do("GET", target, "").is(200, "*"); other.body != page.body {
			t.Errorf("%s is another page", target)
		}
	}
	policy := page.header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'self';") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %q", policy)
	}
	if inline := regexp.MustCompile(`<script>|<style|style=|\son[a-z]+=|https?://`).FindString(page.body); inline != "" {
		t.Errorf("the page has %q", inline)
	}
	files := regexp.MustCompile(`"(/~/ui/v-[^"]+)"`).FindAllStringSubmatch(page.body, -1)
	if len(files) < 10 {
		t.Fatalf("the page names %d files", len(files))
	}
	for _, file := range files {
		got := f.do("GET", file[1], "").is(200, "*").has("Cache-Control: public, max-age=31536000, immutable")
		f.do("GET", file[1], "", "If-None-Match: "+got.header.Get("Etag")).is(304, "*")
	}
	f.do("GET", "/~/ui/v-0000/app.js", "").isProblem(server.NoSuchResource, "")
	f.do("GET", strings.Replace(files[0][1], "icon", "other", 1), "").isProblem(server.NoSuchResource, "")
	f.do("POST", "/~/ui", "").isProblem(server.MethodNotAllowed, "")
	f.do("GET", "/", "").is(401, "not authorized")
	f.do("GET", "/?api=keys", "", "Accept: text/html").isProblem(server.Unauthenticated, "")
}

// The figures of the last minutes are there, and where a server has an address for operators they are only there.
func TestHistoryAndAbout(t *testing.T) {
	f := serve(t, server.Options{StoreURL: "pebble:./somewhere"})
	f.do("PUT", "/a", "1").is(201, "*")
	var history struct {
		IntervalSeconds float64
		Samples         []struct{ Time, Objects, Changes int64 }
	}
	if err := json.Unmarshal([]byte(f.do("GET", "/~/history", "").is(200, "*").body), &history); err != nil {
		t.Fatal(err)
	}
	last := history.Samples[len(history.Samples)-1]
	if len(history.Samples) < 2 || last.Objects != 1 || last.Changes != 1 || history.Samples[0].Objects != 0 || last.Time < history.Samples[0].Time {
		t.Errorf("%+v", history)
	}
	if about := f.do("GET", "/~/about", "").is(200, "*").body; !strings.Contains(about, `"engine":"pebble"`) || !strings.Contains(about, `"Body":10485760`) || !strings.Contains(about, `"name":"writes"`) {
		t.Errorf("about: %s", about)
	}
	apart := serve(t, server.Options{SeparateAdmin: true})
	for _, target := range []string{"/~/history", "/~/about", "/~/connections"} {
		apart.do("GET", target, "").isProblem(server.NoSuchResource, "")
	}
	apart.do("DELETE", "/~/connections/1", "").isProblem(server.NoSuchResource, "")
}
