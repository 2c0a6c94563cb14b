package command

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

func TestSet(t *testing.T) {
	c := newCLI(t)
	file := c.file("data.json", "\n {\"from\": \"file\"} \n")
	for _, test := range []struct {
		argument, stdin, want string
	}{
		{`{"a":1}`, "", `{"a":1}`},
		{`"text"`, "", `"text"`},
		{` null `, "", "null"},
		{"-", "[1,\n2]\n", "[1,\n2]"},
		{"@" + file, "", `{"from": "file"}`},
		{"@" + c.file("marked.json", byteOrderMark+"[3]"), "", "[3]"},
	} {
		c.input(test.stdin, "set", "x/y", test.argument).ok().prints("x/y\n")
		c.run("get", "x/y").ok().prints(test.want + "\n")
	}
	c.run("set", "x/y", "--", "-5").ok()
	c.run("get", "x/y").ok().prints("-5\n")
	c.run("set", "new", "1", "--json").ok().contains(`"updated":0,"index":"new","path":"new","data":1,"revision":8}`)
}

func TestSetRefuses(t *testing.T) {
	c := newCLI(t)
	for _, test := range []struct {
		path, data, stdin, want string
	}{
		{"a", "blue", "", `data: invalid JSON at column 1, unexpected 'b', expected a value; a string has quotes`},
		{"a", "", "", "data: it is empty, expected one JSON value"},
		{"a", "1 2", "", "data: invalid JSON at column 3, unexpected '2' after the value"},
		{"a", "-", "", "standard input: it is empty"},
		{"a", "-", "{", "standard input: invalid JSON at column 1, the JSON is incomplete"},
		{"a", "@" + c.file("bad.json", "{x}"), "", "bad.json: invalid JSON at column 2, unexpected 'x'"},
		{"a/*", "1", "", `"a/*"`},
		{"a/../b", "1", "", `"a/../b"`},
		{"", "1", "", `""`},
		{strings.Repeat("a", 1025), "1", "", "1025 bytes"},
	} {
		c.input(test.stdin, "set", test.path, test.data).is(exitUsage, test.want).prints("")
	}
	c.run("set", "a", "@"+t.TempDir()).is(exitFailure, "is a directory, expected a file")
	c.run("set", "a", "@/no/such/file").is(exitFailure, "/no/such/file: no such file or directory")
}

func TestSetWithConditions(t *testing.T) {
	c := newCLI(t)
	c.run("set", "a", "1", "--if-revision", "1").is(exitConflict, `"a", expected revision 1, found no object`)
	c.run("get", "a").is(exitNotFound, `"a"`)
	c.run("set", "a", "1", "--if-absent").ok().prints("a\n")
	c.run("set", "a", "2", "--if-absent").is(exitConflict, `"a", expected no object, found revision 1`)
	c.run("set", "a", "3", "--if-revision", "7").is(exitConflict, `"a", expected revision 7, found revision 1`)
	c.run("get", "a").ok().prints("1\n")
	c.run("set", "a", "4", "--if-revision", "1").ok()
	c.run("get", "a").ok().prints("4\n")
	c.run("del", "a", "--if-revision", "1").is(exitConflict, `"a", expected revision 1, found revision 2`)
	c.run("get", "a").ok().prints("4\n")
	c.run("del", "a", "--if-revision", "2").ok().prints("deleted 1 object\n")
	c.run("del", "*", "--yes", "--if-revision", "2").is(exitUsage, "needs a path")
	for _, command := range [][]string{{"set", "a", "1"}, {"del", "a"}} {
		c.run(append(command, "--if-revision", "0")...).is(exitUsage, "--if-revision 0: expected a revision, from 1 on")
		c.run(append(command, "--if-revision", "-1")...).is(exitUsage, "--if-revision")
	}
	c.run("set", "a", "1", "--if-absent", "--if-revision", "1").is(exitUsage, "IfAbsent")
	c.run("keys").ok().prints("")
}

func TestTimeToLive(t *testing.T) {
	c := newCLI(t)
	c.run("set", "a", "1", "--ttl", "1h", "--json").ok().contains(`"expires":`)
	c.run("set", "a", "1", "--ttl", "7d", "--json").ok().contains(`"expires":`)
	c.run("push", "b/*", "1", "--ttl", "48h", "--json").ok().contains(`"expires":`)
	if r := c.run("set", "a", "2", "--json").ok(); strings.Contains(r.out, `"expires":`) {
		t.Errorf("a write without a time to live keeps the one before: %s", r.out)
	}
	c.run("set", "gone", "1", "--ttl", "1ns").ok()
	c.run("set", "gone", "1", "--ttl", "1ns", "--json").ok().contains(`"path":"gone"`)
	c.run("get", "gone").is(exitNotFound, `"gone"`)
	for _, command := range [][]string{{"set", "a", "1"}, {"push", "b/*", "1"}} {
		c.run(append(command, "--ttl", "0")...).is(exitUsage, "expected a time above zero")
		c.run(append(command, "--ttl", "-5s")...).is(exitUsage, "expected a time above zero")
		c.run(append(command, "--ttl", "soon")...).is(exitUsage, `"soon"`)
	}
}

// TestWrongDataMakesNoStore shows that the data is checked before a store is made.
func TestWrongDataMakesNoStore(t *testing.T) {
	c := newCLI(t)
	c.run("set", "a", "blue").is(exitUsage, "invalid JSON")
	c.run("push", "*", "blue").is(exitUsage, "invalid JSON")
	if _, err := os.Stat(filepath.Clean(c.directory())); !os.IsNotExist(err) {
		t.Errorf("the store is there: %v", err)
	}
}

// TestSetInterrupted shows that a set that waits for its data can be left.
func TestSetInterrupted(t *testing.T) {
	c := newCLI(t)
	pipe, silent := io.Pipe()
	t.Cleanup(func() { _ = silent.Close() })
	var cancel context.CancelFunc
	c.ctx, cancel = context.WithCancel(c.ctx)
	c.stdin = pipe
	go cancel()
	c.run("set", "a", "-").is(exitInterrupted, "standard input")
}

// TestConditionOnWhatHasNoRevision changes an object of older software on the revision that get shows, twice.
func TestConditionOnWhatHasNoRevision(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	layer, err := engine.Open(c.store, engines...)
	if err != nil {
		t.Fatal(err)
	}
	err = layer.Start(storage.LayerOptions{})
	for _, path := range []string{"d/a", "d/b"} {
		err = joinErrors(err, layer.Set(path, &meta.Object{Created: 5, Data: []byte(`{"of":"old"}`)}))
	}
	layer.Close()
	if err != nil {
		t.Fatal(err)
	}
	var read meta.Object
	if err := json.Unmarshal([]byte(c.run("get", "d/a", "--json").ok().out), &read); err != nil || read.Revision == 0 {
		t.Fatalf("get shows %+v, %v, want a revision", read, err)
	}
	revision := fmt.Sprint(read.Revision)
	c.run("list", "d/*", "--json").ok().contains(`"revision":` + revision)
	c.run("set", "d/a", "1", "--if-revision", revision).ok()
	c.run("set", "d/a", "2", "--if-revision", revision).is(exitConflict, `"d/a", expected revision `+revision+`, found revision `)
	c.run("del", "d/a", "--if-revision", revision).is(exitConflict, "expected revision "+revision)
	c.run("get", "d/a").ok().prints("1\n")
	c.run("del", "d/b", "--if-revision", revision).is(exitConflict, `"d/b", expected revision `+revision)
}
