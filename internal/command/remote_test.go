package command

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/servertest"
)

// onBoth runs a test on a store of files, and on one that a server has.
func onBoth(t *testing.T, test func(t *testing.T, c *cli)) {
	t.Helper()
	t.Run("files", func(t *testing.T) { test(t, newCLI(t)) })
	t.Run("server", func(t *testing.T) {
		c := newCLI(t)
		c.store = servertest.Start(t, server.Options{}).URL
		test(t, c)
	})
}

// Each command does the same on a store of files and on a server.
func TestOnBoth(t *testing.T) {
	onBoth(t, func(t *testing.T, c *cli) {
		c.run("set", "config/colours", `{"sky":"<blue>"}`).ok().prints("config/colours\n")
		c.run("get", "config/colours").ok().prints(`{"sky":"<blue>"}` + "\n")
		c.run("get", "config/colours", "nope").is(exitNotFound, "not").prints(`{"sky":"<blue>"}` + "\n")
		c.run("get", "config/*").is(exitUsage, "glob")
		c.run("get", "a//b").is(exitUsage, "empty segment")
		c.run("set", "config/colours", "1", "--if-absent").is(exitConflict, `conflict at "config/colours", expected no object, found revision `)
		c.run("set", "config/colours", "1", "--if-revision", "9").is(exitConflict, "expected revision 9, found revision ")
		c.run("set", "config/colours", "1", "--if-revision", "9", "--json").is(exitConflict, "expected revision 9")
		c.run("patch", "config/colours", `{"sky":"grey","sea":1}`).ok().prints("config/colours\n")
		c.run("patch", "config/colours", `[{"op":"test","path":"/sea","value":1},{"op":"remove","path":"/sea"}]`, "--json-patch").ok()
		c.run("get", "config/colours").ok().prints(`{"sky":"grey"}` + "\n")
		c.run("patch", "config/colours", `[{"op":"test","path":"/sky","value":"red"}]`, "--json-patch").is(exitConflict, "test")
		c.run("patch", "config/colours", `[{"op":"remove","path":"/nope"}]`, "--json-patch").is(exitConflict, "does not apply")
		c.run("patch", "config/colours", `[{"op":"fly","path":"/nope"}]`, "--json-patch").is(exitUsage, "invalid patch")
		c.run("patch", "config/colours", `[1]`).is(exitUsage, "add --json-patch")
		c.run("patch", "config/colours", `{}`, "--json-patch").is(exitUsage, "array of operations")
		c.run("patch", "nope", `[]`, "--json-patch").is(exitNotFound, "not")
		c.run("patch", "config/made", `{"a":1,"b":null}`, "--json").ok().contains(`"path":"config/made","data":{"a":1}`)
		c.run("patch", "config/made", `{}`, "--if-revision", "1").is(exitConflict, "conflict")

		c.run("ttl", "config/made").ok().prints("none\n")
		before := c.object("config/made")
		c.run("ttl", "config/made", "2h").ok().prints("config/made\n")
		after := c.object("config/made")
		if after.Expires == 0 || after.Created != before.Created || after.Updated != before.Updated || string(after.Data) != string(before.Data) {
			t.Errorf("a time to live: %+v before, %+v behind", before, after)
		}
		if got := c.run("ttl", "config/made").ok().out; !regexp.MustCompile(`^(2h0m0s|1h59m5\ds)\n$`).MatchString(got) {
			t.Errorf("what is left: %s", got)
		}
		c.run("ttl", "config/made", "none", "--json").ok().contains(`"data":{"a":1}`)
		c.run("ttl", "config/made").ok().prints("none\n")
		c.run("ttl", "config/made", "0").is(exitUsage, "above zero")
		c.run("ttl", "config/made", "soon").is(exitUsage, "expected")
		c.run("ttl", "nope", "1h").is(exitNotFound, "not")
		c.run("ttl", "nope").is(exitNotFound, "not")
		c.run("ttl", "config/made", "1h", "--if-revision", "1").is(exitConflict, "conflict")

		c.run("ttl", "config/made", "5h").ok()
		before = c.object("config/made")
		c.run("mv", "config/made", "deep/er/made").ok().prints("deep/er/made\n")
		after = c.object("deep/er/made")
		if after.Created != before.Created || after.Updated != before.Updated || after.Expires != before.Expires || string(after.Data) != string(before.Data) {
			t.Errorf("moved: %+v became %+v", before, after)
		}
		c.run("get", "config/made").is(exitNotFound, "not")
		c.run("mv", "config/made", "x").is(exitNotFound, "not")
		c.run("mv", "config/colours", "deep/er/made").is(exitConflict, "expected no object")
		c.run("mv", "deep/er/made", "config/colours", "--replace", "--new-times", "--json").ok().contains(`"path":"config/colours","data":{"a":1}`)
		if obj := c.object("config/colours"); obj.Created == before.Created {
			t.Errorf("with new times: %+v", obj)
		}
		c.run("mv", "a", "a").is(exitUsage, "expected two")
		c.run("mv", "a", "b/*").is(exitUsage, "pattern")

		for range 3 {
			c.run("push", "log/*", `"line"`).ok().contains("log/")
		}
		c.run("count").ok().prints("4\n")
		c.run("count", "log/*", "--json").ok().prints(`{"count":3}` + "\n")
		c.run("count", "log").is(exitUsage, "no '*'")
		if got := c.run("keys", "**").ok().out; strings.Count(got, "\n") != 4 || !strings.HasPrefix(got, "config/colours\nlog/") {
			t.Errorf("keys: %s", got)
		}
		c.run("keys").ok().contains("config/colours\n")
		if got := c.run("list", "log/*", "--limit", "2").ok().out; strings.Count(got, "\n") != 2 {
			t.Errorf("a list: %s", got)
		}
		if got := c.run("list", "log/*", "--limit", "0", "--oldest", "--from", "yesterday", "--json").ok().out; strings.Count(got, "\n") != 3 {
			t.Errorf("a list: %s", got)
		}
		c.run("list", "*").is(exitOK, "try '**'")
		c.run("set", "top", "1").ok()
		c.run("ls").ok().contains("config/\t1 object\t\n", "log/\t3 objects\t\n", "top\t")
		c.run("ls", "log").ok().contains("\t6 B\n")
		c.run("ls", "config/", "--json").ok().contains(`{"name":"colours","created":`, `"bytes":7}`)
		c.run("ls", "nope").is(exitNotFound, "nothing below")
		c.run("ls", "a/*").is(exitUsage, "pattern")
		c.run("set", "deep/a/b/c", "1").ok()
		c.run("tree").ok().prints("config/  1 object\ndeep/\n  a/\n    b/  1 object\nlog/  3 objects\n")
		c.run("tree", "--depth", "1").ok().prints("config/  1 object\ndeep/  1 directory\nlog/  3 objects\n")
		c.run("tree", "deep", "--json").ok().prints(`{"path":"deep/a","objects":0,"directories":1}` + "\n" + `{"path":"deep/a/b","objects":1,"directories":0}` + "\n")
		c.run("tree", "nope").is(exitNotFound, "no directories")
		c.run("tree", "--depth", "0").is(exitUsage, "1 or more")
		c.run("info").ok().contains("objects          6\n", "directories      3\n", "  log            3 objects in 1 directory\n", "  top            1 object\n")
		c.run("info", "--json").ok().contains(`{"name":"top","objects":1,"directories":0}`, `"data_bytes":`)
		c.run("stats").ok().contains("objects      6\n")
		c.run("stats", "--json").ok().contains(`"objects":6`)

		exported := c.run("export").ok().out
		if strings.Count(exported, "\n") != 6 {
			t.Errorf("an export: %s", exported)
		}
		c.run("export", "top").ok().contains(`"path":"top"`)
		c.run("export", "log/*", "--out", filepath.Join(t.TempDir(), "log.jsonl")).ok().contains("exported 3 objects")
		c.run("del", "log/*").is(exitUsage, "add --yes")
		c.run("del", "log/*", "--yes").ok().prints("deleted 3 objects\n")
		c.run("del", "top", "nope").is(exitNotFound, "not").prints("deleted 1 object\n")
		c.run("del", "deep/a/b/c", "--if-revision", "1").is(exitConflict, "conflict")
		c.run("del", "config/**", "--yes", "--json").ok().prints(`{"deleted":1}` + "\n")
		c.run("del", "deep/**", "--yes").ok()
		c.input(exported, "import", "-").ok().contains("stored 6 records")
		if again := c.run("export").ok().out; withoutRevisions(again) != withoutRevisions(exported) {
			t.Errorf("an export that was imported:\n%s\nwas\n%s", again, exported)
		}
		c.input(exported, "import", "-", "--if-exists", "skip", "--json").ok().contains(`"stored":0`, `"skipped":6`)
		c.input(exported, "import", "-", "--if-exists", "fail", "--quiet").is(exitFailure, "--if-exists fail stops")
		if r := c.input(`{"id":1}`+"\n"+`{"id":[]}`+"\n"+`{"id":2}`, "import", "-", "--as", "i/{id}", "--quiet"); r.code != exitRefused {
			t.Errorf("an import with a bad record: exit code %d", r.code)
		}
		c.run("count", "i/*").ok().prints("2\n")
		c.run("set", "x", "1", "--read-only").is(exitFailure, "read-only")

		out := c.run("bench", "--objects", "50", "--clients", "2", "--json").ok().contains(`{"step":"write","calls":50,`, `{"step":"read","calls":50,`, `"list of 100"`).out
		if strings.Count(out, "\n") != 3 {
			t.Errorf("bench: %s", out)
		}
		c.run("count").ok().prints("8\n")
		c.run("bench", "--clients", "0").is(exitUsage, "--clients 0")
	})
}

// withoutRevisions is an export whose objects can be compared with another's, whatever their order.
func withoutRevisions(export string) string {
	lines := strings.Split(regexp.MustCompile(`,"revision":\d+`).ReplaceAllString(export, ""), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// What works on files says so of a server, and what to do instead.
func TestOnlyFiles(t *testing.T) {
	c := newCLI(t)
	url := servertest.Start(t, server.Options{}).URL
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"check"}, "when no server uses it"}, {[]string{"compact"}, "when no server uses it"},
		{[]string{"backup", filepath.Join(t.TempDir(), "b")}, "oolith copy " + url + " pebble:./copy"},
		{[]string{"serve"}, "expected the files to serve"}, {[]string{"token", "list"}, "--tokens DIRECTORY"},
	} {
		c.run(append(test.args, "--store", url)...).is(exitUsage, test.want)
	}
	c.run("watch", "a/*", "--from", "x", "--store", "memory:").is(exitUsage, "--from needs a server")
	for _, url := range []string{"http://", "http://x/path", "https://x?y", "http://a:b@c"} {
		c.run("keys", "--store", url).is(exitUsage, "expected the address of a server")
	}
	c.run("keys", "--store", "http://127.0.0.1:1").is(exitFailure, "no server answers at")
}

func TestCopyServers(t *testing.T) {
	c := newCLI(t)
	c.days()
	c.run("set", "x/ttl", "1", "--ttl", "5h").ok()
	want := withoutRevisions(c.run("export").ok().out)
	s := servertest.Start(t, server.Options{})
	c.run("copy", c.store, s.URL).ok().contains("copied 5 objects", "acknowledged: 5 objects, checksum ")
	c.run("copy", c.store, s.URL).is(exitFailure, "it holds 5 objects")
	c.run("copy", c.store, s.URL, "--into", "--if-exists", "skip").ok().contains("skipped 5 that exist")
	c.run("copy", c.store, s.URL, "--into", "--if-exists", "fail").ok() // they are the same
	c.run("copy", s.URL, s.URL+"/").is(exitUsage, "are the same store")
	back := "sqlite:" + filepath.Join(t.TempDir(), "back.db")
	c.run("copy", s.URL, back).ok().contains("copied 5 objects", "read back and compared: 5 objects")
	if got := withoutRevisions(c.run("export", "--store", back).ok().out); got != want {
		t.Errorf("there and back:\n%s\nwas\n%s", got, want)
	}
	c.run("copy", s.URL, back, "--into", "--only", "days/*").ok().contains("merged 3 objects")
	other := servertest.Start(t, server.Options{})
	c.run("copy", s.URL, other.URL, "--only", "days/*", "--json").ok().contains(`"copied":3`)
	if n, err := other.Store.Count("days/*"); err != nil || n != 3 {
		t.Errorf("from a server to a server: %d objects, %v", n, err)
	}
	// A copy that ends early says what is there.
	failing := servertest.Start(t, server.Options{BeforeWrite: func(any, *server.Change) error {
		return &server.Problem{Kind: server.Unavailable, Detail: "no room"}
	}})
	c.run("copy", c.store, failing.URL).is(exitFailure, "run the copy again with --into")
}

// A token is a flag, a variable or a file; certificates are those of a file.
func TestRemoteAccess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tokens")
	_, token, err := server.CreateToken(dir, "one", []server.Scope{{Pattern: "**", Verbs: []server.Verb{server.Read}}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := server.OpenTokens(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tokens.Close()
	s := servertest.Start(t, server.Options{Tokens: tokens})
	c := newCLI(t)
	c.store = s.URL
	c.run("keys").is(exitFailure, "(401 ")
	c.run("keys", "--token", token).ok()
	c.run("keys", "--token", "@"+c.file("token", token+"\n")).ok()
	c.run("keys", "--token", "@/nope").is(exitFailure, "--token")
	c.run("keys", "--token", "@"+c.file("token", "")).is(exitUsage, "is empty")
	c.run("keys", "--token", "a b").is(exitUsage, "character")
	c.run("set", "a", "1", "--token", token).is(exitFailure, "(403 ")
	c.run("info", "--token", token).ok().contains("objects          0\n")
	getenv := c.env.getenv
	c.env.getenv = func(name string) string {
		if name == tokenVariable {
			return token
		}
		return getenv(name)
	}
	c.run("keys").ok()
	if r := c.input(`{"path":"a","data":1,"created":1}`, "import", "-"); r.code != exitRefused || !strings.Contains(r.errors, "does not allow write") {
		t.Errorf("an import without the right: exit code %d, %s", r.code, r.errors)
	}

	secure := httptest.NewTLSServer(s.Handler)
	defer secure.Close()
	c.store = secure.URL
	c.run("keys").is(exitFailure, "certificate")
	ca := c.file("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})))
	c.run("keys", "--tls-ca", ca).ok()
	c.run("keys", "--tls-ca", c.file("none.pem", "x")).is(exitUsage, "no certificate")
	c.run("keys", "--tls-ca", "/nope").is(exitFailure, "--tls-ca")
}

// An import into a server that goes away ends there, and says what is stored.
func TestImportServerGone(t *testing.T) {
	s := servertest.Start(t, server.Options{})
	c := newCLI(t)
	c.store = s.URL
	var lines strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&lines, `{"id":%d}`+"\n", i)
	}
	batches := 0
	s.Faults(func(r *http.Request) servertest.Fault {
		if r.Method == http.MethodPost {
			batches++ // one behind the other
		}
		return servertest.Fault{Lost: batches > 2}
	})
	r := c.input(lines.String(), "import", "-", "--as", "i/{id}")
	if r.code != exitFailure || strings.Count(r.errors, "\n") != 1 || !strings.Contains(r.errors, "the server did not answer") {
		t.Errorf("exit code %d, %s", r.code, r.errors)
	}
	stored, err := s.Store.Count("i/*")
	if err != nil || stored == 0 || !strings.Contains(r.errors, plural(int64(stored), "record")+" stored") {
		t.Errorf("%d are stored, %v; it says %s", stored, err, r.errors)
	}
}

// object reads an object.
func (c *cli) object(path string) (obj struct {
	Created, Updated, Expires int64
	Revision                  uint64
	Data                      json.RawMessage
}) {
	c.t.Helper()
	if err := json.Unmarshal([]byte(c.run("get", path, "--json").ok().out), &obj); err != nil {
		c.t.Fatal(err)
	}
	return obj
}
