package command

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// goTextsNotForUsers are texts of Go's libraries. None may reach a user.
var goTextsNotForUsers = []string{
	"strconv.", "context canceled", "context deadline exceeded", "time: ", "time: unknown unit", "invalid duration", "unexpected end of JSON input",
	"invalid character", "looking for beginning", "json:", "unexpected EOF", "dial tcp", "no such host", "listen tcp", "connection refused",
	"invalid URL escape", "x509", "tls:", "flag provided", "%!", "<nil>", "0x0", "goroutine ", "panic",
}

// checkErrorText fails the test unless an error is one line of the form that CONTRIBUTING.md demands.
func checkErrorText(t *testing.T, what, text string) {
	t.Helper()
	line, ends := strings.CutSuffix(text, "\n")
	message, named := strings.CutPrefix(line, "oolith: ")
	switch {
	case !ends || !named || strings.Contains(line, "\n"):
		t.Errorf("%s: %q, want one line that begins with oolith:", what, text)
	case strings.TrimSpace(message) == "" || strings.ContainsAny(message[len(message)-1:], ".!,; "):
		t.Errorf("%s: %q ends with punctuation", what, text)
	}
	if parts := splitColons(message); len(parts) > 2 {
		t.Errorf("%s: %q has more than two colons", what, text)
	}
	for _, raw := range goTextsNotForUsers {
		if strings.Contains(message, raw) {
			t.Errorf("%s: %q has %q, a text of a Go library", what, text, raw)
		}
	}
}

// Every command answers every wrong input with one plain line.
func TestErrorTexts(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.days()
	records := c.file("records.jsonl", `{"id":1}`+"\n")
	broken := c.file("broken.jsonl", `{"id":`)
	text := c.file("text", "hello")
	none := filepath.Join(t.TempDir(), "none")
	const dead = "http://127.0.0.1:1"
	long := strings.Repeat("x", 2000)

	wrong := [][]string{
		{"nope"}, {"rm", "a"}, {"--nope"}, {"--store"}, {"help", "nope"}, {"--json=maybe", "keys"},
		{"backup"}, {"backup", filepath.Join(none, "x")}, {"backup", t.TempDir()}, {"backup", "x", "--only", "a b"}, {"backup", "x", "--store", dead},
		{"bench", "--objects", "0"}, {"bench", "--objects", "x"}, {"bench", "--time", "x"}, {"bench", "--time", "-1s"}, {"bench", "--size", "1"}, {"bench", "--clients", "99999999999999999999"},
		{"check", "nope:"}, {"check", none}, {"check", "a", "b"}, {"check", "--store", dead},
		{"compact", "pebble:"}, {"compact", "memory:"}, {"compact", "--store", dead},
		{"completion", "--nope"},
		{"copy"}, {"copy", "a"}, {"copy", "a", "b", "c"}, {"copy", "memory:", "pebble:x"}, {"copy", "pebble:" + none, "pebble:x"}, {"copy", c.store, c.store},
		{"copy", c.store, "pebble:x", "--only", "a b"}, {"copy", c.store, "pebble:x", "--if-exists", "skip"}, {"copy", c.store, "pebble:x", "--if-exists", "x"}, {"copy", c.store, dead},
		{"count", "//"}, {"count", "a", "b"},
		{"del"}, {"del", "a b"}, {"del", "nope"}, {"del", "days/*"}, {"del", "a", "b/*", "--yes"}, {"del", "a", "--if-revision", "x"}, {"del", "days/a", "--if-revision", "99"},
		{"edit"}, {"edit", "a b"}, {"edit", "a/*"},
		{"export", "a b"}, {"export", "nope"}, {"export", "--out", filepath.Join(none, "x")}, {"export", "--out", t.TempDir()},
		{"get"}, {"get", "a b"}, {"get", "a/"}, {"get", ".."}, {"get", "a/*"}, {"get", "nope"}, {"get", long}, {"get", "a", "--store", dead}, {"get", "a", "--store", "https://127.0.0.1:1"},
		{"get", "a", "--store", "http://no.such.host.invalid"}, {"get", "a", "--store", "http://"}, {"get", "a", "--token", "@" + none, "--store", dead}, {"get", "a", "--token", "ü", "--store", dead},
		{"get", "a", "--tls-ca", none, "--store", "https://127.0.0.1:1"}, {"get", "a", "--tls-ca", text, "--store", "https://127.0.0.1:1"}, {"get", "a", "--store", "etcd://a/b"}, {"get", "a", "--store", ""},
		{"import"}, {"import", none}, {"import", t.TempDir()}, {"import", records, "--as", "x/{"}, {"import", records, "--as", "x/{}"}, {"import", records, "--as", "a b"}, {"import", records, "--as", "x/*/y"},
		{"import", records, "--at", "x"}, {"import", records, "--at", ""}, {"import", records, "--csv"}, {"import", records, "--csv", "--at", "x"}, {"import", records, "--numbers"},
		{"import", records, "--if-exists", "x"}, {"import", records, "--only", "a b"}, {"import", text, "--csv", "--as", "x/{hello}", "--at", "y"},
		{"info", "nope"}, {"info", "a", "b"}, {"info", dead},
		{"keys", "a*b**"}, {"keys", "a", "b"},
		{"list"}, {"list", "days"}, {"list", "days/*", "--limit", "x"}, {"list", "days/*", "--limit", "-1"}, {"list", "days/*", "--from", "x"}, {"list", "days/*", "--to", "2026-13-45"},
		{"list", "days/*", "--from", "99999-01-01"}, {"list", "days/*", "--from", "2026-01-02", "--to", "2026-01-01"}, {"list", "days/*", "--from", "9999999d"},
		{"ls", "a b"}, {"ls", "a/*"}, {"ls", "nope"},
		{"mv", "a"}, {"mv", "a", "a"}, {"mv", "nope", "b"}, {"mv", "a*", "b"}, {"mv", "days/a", "days/b"},
		{"patch", "days/a"}, {"patch", "days/a", "{"}, {"patch", "days/a", "[]"}, {"patch", "days/a", `[{"op":"x"}]`, "--json-patch"}, {"patch", "days/a", `[{"op":"remove","path":"/nope"}]`, "--json-patch"},
		{"patch", "days/a", `[{"op":"test","path":"","value":1}]`, "--json-patch"}, {"patch", "days/a", `{}`, "--json-patch"}, {"patch", "a b", "1"},
		{"push"}, {"push", "a", "1"}, {"push", "a/**", "1"}, {"push", "a*/b", "1"}, {"push", "a/*", "blue"}, {"push", "a/*", "1", "--ttl", "5x"},
		{"restore"}, {"restore", none}, {"restore", text}, {"restore", t.TempDir()}, {"restore", broken, "--store", "pebble:" + none},
		{"serve", "--addr", "x"}, {"serve", "--addr", "127.0.0.1:99999"}, {"serve", "--addr", "0.0.0.0:0"}, {"serve", "--admin-addr", "x"}, {"serve", "--admin-addr", "0.0.0.0:1"}, {"serve", "--log-level", "x"},
		{"serve", "--max-body", "x"}, {"serve", "--rate", "x"}, {"serve", "--max-staleness", "x"}, {"serve", "--tls-cert", "x"}, {"serve", "--tls-cert", none, "--tls-key", none}, {"serve", "--tls-cert", text, "--tls-key", text},
		{"serve", "--audit", filepath.Join(none, "x"), "--addr", "127.0.0.1:0"}, {"serve", "--origin", "x", "--addr", "127.0.0.1:0"}, {"serve", "--host", "a/b", "--addr", "127.0.0.1:0"}, {"serve", "--require-if-match", "a b", "--addr", "127.0.0.1:0"},
		{"serve", "extra"}, {"serve", "--store", dead},
		{"set", "a"}, {"set", "a*", "1"}, {"set", "a b", "1"}, {"set", "a", ""}, {"set", "a", "{"}, {"set", "a", "blue"}, {"set", "a", `{"a":1,}`}, {"set", "a", "tru"}, {"set", "a", "1 2"}, {"set", "a", "\"\xff\""}, {"set", "a", "\"\n\""},
		{"set", "a", strings.Repeat("[", 20_000)}, {"set", "a", "@" + none}, {"set", "a", "@" + broken}, {"set", "a", "1", "--ttl", "5x"}, {"set", "a", "1", "--ttl", "-5s"}, {"set", "a", "1", "--ttl", "300y"}, {"set", "a", "1", "--if-revision", "x"},
		{"set", "a", "1", "--if-revision", "-1"}, {"set", "a", "1", "--if-revision", "0"}, {"set", "a", "1", "--if-revision", "99999999999999999999999"}, {"set", "days/a", "1", "--if-absent"}, {"set", "days/a", "1", "--if-revision", "99"},
		{"set", "a", "1", "--if-absent", "--if-revision", "1"}, {"set", "a", "1", "--read-only"}, {"set", "a", "1", "--store", dead},
		{"stats", "nope"}, {"stats", dead},
		{"token", "nope"}, {"token", "create"}, {"token", "create", "--scope", "x"}, {"token", "create", "--scope", "fly:a"}, {"token", "create", "--scope", "read:a b"}, {"token", "create", "--scope", ":a"},
		{"token", "create", "--scope", "read:**", "--ttl", "x"}, {"token", "revoke"}, {"token", "revoke", "x"}, {"token", "revoke", "0123456789ab"}, {"token", "list", "x"},
		{"tree", "a b"}, {"tree", "nope"}, {"tree", "--depth", "x"}, {"tree", "--depth", "0"},
		{"ttl"}, {"ttl", "nope"}, {"ttl", "days/a", "5x"}, {"ttl", "days/a", "-1s"}, {"ttl", "nope", "1h"}, {"ttl", "days/a", "--if-revision", "1"},
		{"verify"}, {"verify", none}, {"verify", text}, {"verify", t.TempDir()},
		{"version", "x"},
		{"watch"}, {"watch", "a b"}, {"watch", "a", "--from", "x"}, {"watch", "a", "--store", dead},
	}
	// Every option of every URL.
	for _, location := range []string{
		"", "nope:x", "mysql:x", "pebble:", "pebble://x/y", "pebble:~/x", "pebble: x", "pebble:x ", "pebble:%zz", "pebble:%00", "pebble:x?%zz", "pebble:x?nope=1", "pebble:x?sync=maybe", "pebble:x?sync",
		"pebble:x?sync=on&sync=off", "pebble:x?cache=x", "pebble:x?cache=-1", "pebble:x?cache=99999999999999999999", "pebble:x?cache=", "pebble:x?readonly=x", "sqlite::memory:", "sqlite:file:x", "sqlite:x?sync=x", "sqlite:x?cache=x",
		"badger:x?gc=5m", "badger:x?min-free=x", "badger:x?verify=x", "badger:x?key-file=" + none, "badger:x?key-env=NOPE", "ko:x?recover=x", "ko:x?invalid=x", "ko:x?sync=x", "memory:x", "memory:?x=1",
		"pebble:" + text, "sqlite:" + text, "badger:" + text, "ko:" + text, "pebble:" + none + "?readonly=on", "sqlite:" + none + "?readonly=on", text, none,
	} {
		wrong = append(wrong, []string{"keys", "--store", location}, []string{"set", "a", "1", "--read-only", "--store", location})
	}

	named := map[string]bool{}
	for _, args := range wrong {
		r := c.run(args...)
		what := strings.Join(args, " ")
		if len(what) > 100 {
			what = what[:100] + "..."
		}
		if r.code == exitOK {
			t.Errorf("%s: it succeeds", what)
			continue
		}
		checkErrorText(t, what, r.errors)
		named[args[0]] = true
	}
	for _, cmd := range (&app{environment: c.env}).rootCommand().Commands() {
		if cmd.Runnable() && !cmd.Hidden && !named[cmd.Name()] && cmd.Name() != "token" {
			t.Errorf("no wrong input of %s is tried", cmd.Name())
		}
	}
	if entries, err := os.ReadDir("."); err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == "x" }) {
		t.Errorf("a wrong input made a store: %v", err)
	}
}

func TestPlainLine(t *testing.T) {
	for text, want := range map[string]string{
		"a":                                   "a",
		"a: b":                                "a: b",
		"a: b: c":                             "a: b, c",
		`get "a: b": x: y`:                    `get "a: b": x, y`,
		`say "\": ": x: y`:                    `say "\": ": x, y`,
		`unexpected '"': x: y`:                `unexpected '"': x, y`,
		`client: get "a": storage: not found`: `get "a": not found`,
		"store x: start: persistent layer: pebble: open x: the disk is bad": "store x: open x, the disk is bad",
		"backup: 0 arguments given":                                         "backup: 0 arguments given",
		"import: context canceled":                                          "import: interrupted",
		"http://127.0.0.1:8800 is 10:30":                                    "http://127.0.0.1:8800 is 10:30",
		"storage: not found":                                                "not found",
		"":                                                                  "",
	} {
		if got := plainLine(text); got != want {
			t.Errorf("plainLine(%q) = %q, want %q", text, got, want)
		}
	}
}
