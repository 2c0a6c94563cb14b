package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
	} {
		c.input(test.stdin, "set", "x/y", test.argument).ok().prints("x/y\n")
		c.run("get", "x/y").ok().prints(test.want + "\n")
	}
	c.run("set", "x/y", "--", "-5").ok()
	c.run("get", "x/y").ok().prints("-5\n")
	c.run("set", "new", "1", "--json").ok().contains(`"updated":0,"index":"new","path":"new","data":1,"revision":7}`)
}

func TestSetRefuses(t *testing.T) {
	c := newCLI(t)
	for _, test := range []struct {
		path, data, stdin, want string
	}{
		{"a", "blue", "", `data: no valid JSON: invalid character 'b' looking for beginning of value, at column 1; a string has quotes`},
		{"a", "", "", "data: it is empty, expected one JSON value"},
		{"a", "1 2", "", "data: no valid JSON: invalid character '2' after top-level value, at column 3"},
		{"a", "-", "", "standard input: it is empty"},
		{"a", "-", "{", "standard input: no valid JSON: unexpected end of JSON input"},
		{"a", "@" + c.file("bad.json", "{x}"), "", "bad.json: no valid JSON: invalid character 'x'"},
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

// TestWrongDataMakesNoStore shows that the data is checked before a store is made.
func TestWrongDataMakesNoStore(t *testing.T) {
	c := newCLI(t)
	c.run("set", "a", "blue").is(exitUsage, "no valid JSON")
	c.run("push", "*", "blue").is(exitUsage, "no valid JSON")
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
